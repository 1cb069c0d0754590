/**
 * Who belongs to the cluster, as one member has it from the log, and how that changes: the wishes of people, which whoever
 * leads carries out, and what a member tells of itself. A request is answered when its change is in the log, or refused.
 */
import type { Clock } from "../../../runtime/ports/clock.ts";
import type { Random } from "../../../runtime/ports/random.ts";
import type { MemberId } from "../../ports/peers.ts";
import { whyUnsafe } from "../../raft/membership-rules.ts";
import { type ConfChange, type ConfChangeSingle, type ConfState, emptyConfState } from "../../raft/messages.ts";
import type { RawNode } from "../../raft/raw-node.ts";
import {
  type ChangeNote,
  changedRoster,
  emptyRoster,
  formatNote,
  idsOf,
  listedAs,
  noteOf,
  type Roster,
} from "../../raft/roster.ts";
import type { Frame, Wish } from "./wire.ts";

/** One member as another one sees it. */
export type MemberView = {
  readonly id: MemberId;
  /** Leaving: a voter until the change that is under way is done. */
  readonly role: "voter" | "learner" | "leaving";
  /** Empty: not told yet. */
  readonly address: string;
  readonly replaces: MemberId | undefined;
  /** Up to where its log is known to be the leader's, and whether it was heard of lately. Undefined unless asked at the leader. */
  readonly match: number | undefined;
  readonly isHeard: boolean | undefined;
};

export type ManageOutcome =
  | { readonly kind: "done" }
  | { readonly kind: "refused"; readonly reason: string }
  /** No answer in time: it may have been done, which `members` shows. */
  | { readonly kind: "unknown" };

/** What the member is for it. */
export type MembershipEnv = {
  readonly self: MemberId;
  /** Empty: not to be told. */
  readonly address: string;
  readonly life: string;
  readonly clock: Clock;
  readonly random: Random;
  /** How long one waits for an answer before one tells again of oneself. */
  readonly againMs: number;
  /** Undefined: none runs. */
  readonly core: () => RawNode | undefined;
  readonly leads: () => boolean;
  /** 0: none is known. */
  readonly leader: () => MemberId;
  readonly tell: (to: MemberId, frame: Frame) => void;
  readonly pump: () => void;
};

/** How far behind the end of the log a learner may be to be made a voter. */
const caughtUpWithin = 100;

export class Membership {
  readonly #env: MembershipEnv;
  #confState: ConfState = emptyConfState;
  #roster: Roster = emptyRoster;
  readonly #wishes = new Map<string, { readonly wish: Wish; readonly resolve: (outcome: ManageOutcome) => void }>();
  readonly #heardMs = new Map<MemberId, number>();
  #nextAnnounceMs = Number.NEGATIVE_INFINITY;
  readonly #listeners = new Set<() => void>();

  constructor(env: MembershipEnv) {
    this.#env = env;
  }

  get confState(): ConfState {
    return this.#confState;
  }

  get roster(): Roster {
    return this.#roster;
  }

  /** This member's folder is another than the one that the cluster knows it by: it must not take part. */
  get hasForgotten(): boolean {
    const { life } = listedAs(this.#roster, this.#env.self);
    return life !== "" && life !== this.#env.life;
  }

  /** By ascending id; empty for one that has joined and heard of nobody yet. */
  views(): readonly MemberView[] {
    const { voters, learners, learnersNext } = this.#confState;
    const progress = this.#env.leads() ? this.#env.core()?.status().progress : undefined;
    return idsOf(this.#confState).map((id) => {
      const { address, replaces } = listedAs(this.#roster, id);
      const isLearner = learners.includes(id) || learnersNext.includes(id);
      const known = progress?.get(id);
      return {
        id,
        role: voters.includes(id) ? "voter" : isLearner ? "learner" : "leaving",
        address,
        replaces: replaces === 0 ? undefined : replaces,
        match: known?.match,
        isHeard: known && (id === this.#env.self || this.#isHeard(id)),
      };
    });
  }

  /** Something has come from this member. */
  heard(from: MemberId): void {
    this.#heardMs.set(from, this.#env.clock.monotonic());
  }

  /** What the core knows of it is for its own check of the quorum: of a new member it says yes, and now and then no. */
  #isHeard(id: MemberId): boolean {
    const { clock, againMs } = this.#env;
    return clock.monotonic() - (this.#heardMs.get(id) ?? Number.NEGATIVE_INFINITY) <= 2 * againMs;
  }

  /** Why a frame from this id must not be believed; undefined: it may. */
  whyForeign(id: MemberId, life: string): string | undefined {
    if (this.#roster.removed.has(id)) return `member ${id} was removed: an id is never used again`;
    const known = listedAs(this.#roster, id).life;
    if (known === "" || known === life) return undefined;
    return `member ${id} has come back with another folder and has forgotten its votes: remove it, and add it under a new id`;
  }

  /** Called after every change of `views`. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  tellListeners(): void {
    for (const listener of [...this.#listeners]) listener();
  }

  // ---- what the log says ----

  restored(confState: ConfState, roster: Roster): void {
    this.#confState = confState;
    this.#roster = roster;
  }

  /** Whether somebody is new. */
  applied(change: ConfChange, next: ConfState): boolean {
    const before = this.#confState;
    this.#confState = next;
    this.#roster = changedRoster(this.#roster, change, before, next);
    const { ask } = noteOf(change);
    if (ask !== undefined) this.#settle(ask, { kind: "done" });
    return idsOf(next).some((id) => !idsOf(before).includes(id));
  }

  // ---- what is asked here ----

  /** Has the leader do it, wherever it is. Resolves when it is in the log, with unknown after `untilMs`. */
  manage(wish: Wish, untilMs: number): Promise<ManageOutcome> {
    const { clock, random, self } = this.#env;
    const leader = this.#env.leader();
    if (leader === 0)
      return Promise.resolve({ kind: "refused", reason: "no leader is known here: ask again when most members run" });
    const ask = random.id();
    return new Promise((resolve) => {
      const cancel = clock.after(
        Math.max(0, untilMs - clock.monotonic()),
        () => this.#settle(ask, { kind: "unknown" }),
        { background: true },
      );
      this.#wishes.set(ask, {
        wish,
        resolve: (outcome) => {
          cancel();
          resolve(outcome);
        },
      });
      if (this.#env.leads()) this.onWish(self, ask, wish);
      else this.#env.tell(leader, { kind: "manage", ask, wish });
      this.#env.pump();
    });
  }

  /** Told until the log has it: whoever leads may change meanwhile. */
  announceIfNew(nowMs: number): void {
    const { self, address, life, againMs, random } = this.#env;
    const known = listedAs(this.#roster, self);
    const ids = idsOf(this.#confState);
    if (nowMs < this.#nextAnnounceMs || !ids.includes(self)) return;
    if (known.life === life && (address === "" || known.address === address)) return;
    this.#nextAnnounceMs = nowMs + againMs;
    const wish: Wish = { kind: "announce", id: self, address: address || known.address, life };
    const ask = random.id();
    if (this.#env.leads()) return this.onWish(self, ask, wish);
    // Whoever leads cannot reach one that has moved, so that one does not know who leads.
    const leader = this.#env.leader();
    for (const id of leader === 0 ? ids : [leader]) this.#env.tell(id, { kind: "manage", ask, wish });
  }

  refused(ask: string, reason: string): void {
    this.#settle(ask, { kind: "refused", reason });
  }

  onLeader(leader: MemberId): void {
    for (const [ask, { wish }] of [...this.#wishes])
      if (wish.kind === "transfer" && wish.id === leader) this.#settle(ask, { kind: "done" });
  }

  giveUpAll(): void {
    for (const ask of [...this.#wishes.keys()]) this.#settle(ask, { kind: "unknown" });
  }

  #settle(ask: string, outcome: ManageOutcome): void {
    const waiting = this.#wishes.get(ask);
    this.#wishes.delete(ask);
    waiting?.resolve(outcome);
  }

  // ---- leading ----

  onWish(from: MemberId, ask: string, wish: Wish): void {
    const reason = this.#env.leads()
      ? this.#carryOut(from, ask, wish)
      : "this member does not lead any more: ask again";
    if (reason === undefined) return;
    if (from === this.#env.self) this.refused(ask, reason);
    else this.#env.tell(from, { kind: "refused", ask, reason });
  }

  /** One at a time, and only when nothing else is under way. */
  promoteIfCaughtUp(): void {
    const { learners, votersOutgoing } = this.#confState;
    if (learners.length === 0 || votersOutgoing.length > 0) return;
    const core = this.#env.core()!;
    const { progress } = core.status();
    const enough = core.raft.log.lastIndex() - caughtUpWithin;
    for (const id of learners) {
      const { life, replaces } = listedAs(this.#roster, id);
      const known = progress.get(id);
      const isThere = life !== "" && known?.state === "StateReplicate" && known.recentActive;
      if (!isThere || known.match < enough) continue;
      const promoted: ConfChangeSingle = { type: "ConfChangeAddNode", nodeId: id };
      const out = this.#confState.voters.includes(replaces) ? replaces : 0;
      const leaves: ConfChangeSingle[] = out === 0 ? [] : [{ type: "ConfChangeRemoveNode", nodeId: out }];
      // Refused while another change is under way: the next tick tries again.
      this.#propose([promoted, ...leaves], { replaces: 0 });
      return;
    }
  }

  /** Why not; undefined: it is on its way. */
  #carryOut(from: MemberId, ask: string, wish: Wish): string | undefined {
    const { voters } = this.#confState;
    const ids = idsOf(this.#confState);
    const { id } = wish;
    switch (wish.kind) {
      case "add": {
        const { address, replaces } = wish;
        if (ids.includes(id)) return `${id} is a member already`;
        const same = ids.find((one) => listedAs(this.#roster, one).address === address && one !== replaces);
        if (same !== undefined) return `${address} is the address of member ${same}`;
        if (replaces !== 0 && !voters.includes(replaces)) return `${replaces} is no voter, so it cannot be replaced`;
        return this.#propose([{ type: "ConfChangeAddLearnerNode", nodeId: id }], { ask, address, replaces });
      }
      case "remove":
        if (!ids.includes(id)) return `${id} is no member`;
        return this.#propose([{ type: "ConfChangeRemoveNode", nodeId: id }], { ask });
      case "transfer":
        if (!voters.includes(id)) return `${id} is no voter, so it cannot lead`;
        this.#env.core()!.transferLeader(id);
        if (id === this.#env.self) this.#settle(ask, { kind: "done" });
        this.#env.pump();
        return undefined;
      case "announce": {
        if (from !== id || !ids.includes(id)) return `only a member itself says where it is`;
        const known = listedAs(this.#roster, id);
        if (known.life !== "" && known.life !== wish.life) return this.whyForeign(id, wish.life);
        const { address, life } = wish;
        return this.#propose([{ type: "ConfChangeUpdateNode", nodeId: id }], { ask, address, life });
      }
    }
  }

  #propose(changes: readonly ConfChangeSingle[], note: ChangeNote): string | undefined {
    const transition = changes.length > 1 ? "ConfChangeTransitionJointImplicit" : "ConfChangeTransitionAuto";
    const change: ConfChange = { kind: "v2", transition, changes, context: formatNote(note) };
    const unsafe = whyUnsafe(this.#confState, this.#roster.removed, change);
    if (unsafe !== undefined) return unsafe;
    const core = this.#env.core()!;
    const { log } = core.raft;
    const last = log.lastIndex();
    if (core.proposeConfChange(change) !== "stepped") return "the leader is busy or moving: ask again";
    const entries = log.slice(last + 1, last + 2, Number.POSITIVE_INFINITY);
    // What must not be made now is in the log as an empty entry.
    const isAdmitted = entries !== "compacted" && entries[0]?.type === "EntryConfChangeV2";
    this.#env.pump();
    return isAdmitted ? undefined : "another change of the membership is under way: ask again";
  }
}
