/** Why a member gets no answer from its cluster, as far as it can tell: for whoever reads it, and for whoever would wait. */
import type { MemberId, Refusal } from "../../ports/peers.ts";
import type { MemberStatus } from "./member.ts";

export type Silence = {
  readonly reason: string;
  /** Waiting does not help. */
  readonly isFinal: boolean;
};

export type Situation = {
  readonly status: Pick<MemberStatus, "member" | "role" | "leader" | "isFull">;
  /** What has stopped the member, if something has. */
  readonly failure: unknown;
  /** Whether it is its cluster's only member. */
  readonly isAlone: boolean;
  readonly refusals: ReadonlyMap<MemberId, Refusal>;
};

/** Undefined: nothing is known to be wrong. */
export function whySilent({ status, failure, isAlone, refusals }: Situation): Silence | undefined {
  const { member, role, leader, isFull } = status;
  if (role === "closed") return { reason: "this member is closed", isFinal: true };
  const told = [...refusals].map(([id, { reason }]) => `member ${id} refuses this one, ${member}: ${reason}`);
  // What has stopped it may follow from that nobody lets it in.
  if (failure !== undefined) {
    const why = failure instanceof Error ? failure.message : String(failure);
    return { reason: [...told, why].join("; "), isFinal: true };
  }
  if (isFull) return { reason: "the disk of this member is full", isFinal: false };
  // One that says so has it from the log, or is of a cluster that was recovered without this member. A leader may be known
  // all the same: it sends to a member of which it takes nothing.
  const isOut = [...refusals].some(([id, { isFinal }]) => isFinal && (leader === undefined || leader === id));
  if (role === "damaged") {
    const what = `the log of member ${member} is damaged`;
    if (isAlone)
      return { reason: `${what}, and it has no other to repair it: \`holdfast raft recover\``, isFinal: true };
    return { reason: [`${what}, and no other has repaired it yet`, ...told].join("; "), isFinal: isOut };
  }
  if (told.length > 0) return { reason: told.join("; "), isFinal: isOut };
  if (leader !== undefined) return { reason: `member ${leader}, which leads, does not answer`, isFinal: false };
  return { reason: "no leader is known to this member: most members must run, and reach each other", isFinal: false };
}
