/**
 * One compare-and-set write, followed until its outcome is known. The identical bytes and commit id are repeated at the
 * same revision; every conflict ends in a read from whoever decides writes, which is compared by commit id (R6).
 */
import { hashText } from "../hash.ts";
import { pendingPrefix } from "../keys.ts";
import type { Clock } from "../ports/clock.ts";
import type { Hold } from "../ports/fault-points.ts";
import {
  type ActorStore,
  compareTokens,
  type RefusalReason,
  type Revision,
  type StoredEntry,
  type StoreWrite,
  type Token,
} from "../ports/store.ts";
import type { HostSettings } from "./settings.ts";

export type CommitResult =
  | { readonly kind: "written"; readonly revision: Revision }
  /** Another valid write stands there: load it and do the inputs again; keys that it holds are answered from it. */
  | { readonly kind: "superseded" }
  /** A writer with a higher token has been here: stop running this actor (R3). */
  | { readonly kind: "steppedDown"; readonly by: Token }
  /** Somebody wrote without a header of ours: a person. */
  | { readonly kind: "foreign"; readonly entry: StoredEntry }
  | { readonly kind: "refused"; readonly reason: RefusalReason; readonly detail: string }
  /** We may not act any more, and do not know whether it landed. */
  | { readonly kind: "abandoned" };

export type CommitPorts = {
  readonly store: ActorStore;
  readonly clock: Clock;
  readonly settings: Pick<HostSettings, "settleFirstMs" | "settleMaxMs">;
  /** False once the right to run this actor, under this token, is gone. */
  readonly mayAct: () => boolean;
  readonly hold?: Hold | undefined;
};

export async function commit(ports: CommitPorts, write: StoreWrite): Promise<CommitResult> {
  let waitMs = ports.settings.settleFirstMs;
  // An attempt without an answer may still be under way: from then on a refusal says nothing of the write as a whole.
  let mayLand = false;
  for (;;) {
    const outcome = await ports.store.write(write);
    switch (outcome.kind) {
      case "written": {
        const held = ports.hold?.(write.key.startsWith(pendingPrefix) ? "index.confirmed" : "commit.confirmed");
        if (held !== undefined) await held;
        return outcome;
      }
      case "refused":
        if (!mayLand) return outcome;
        if (outcome.reason === "fenced" || outcome.reason === "closed") return { kind: "abandoned" };
        break;
      case "conflict": {
        const found = await readBack(ports, write);
        if (found === "unread") mayLand = true;
        else if (found !== "again") return found;
        break;
      }
      case "unknown":
        mayLand = true;
        break;
    }
    if (!ports.mayAct()) return { kind: "abandoned" };
    await pause(ports.clock, waitMs);
    waitMs = Math.min(waitMs * 2, ports.settings.settleMaxMs);
    if (!ports.mayAct()) return { kind: "abandoned" };
  }
}

async function readBack(ports: CommitPorts, write: StoreWrite): Promise<CommitResult | "again" | "unread"> {
  let entry: StoredEntry | undefined;
  try {
    entry = await ports.store.read(write.key);
  } catch {
    return "unread";
  }
  if (entry !== undefined && entry.header?.commit === write.header.commit && isOurs(entry)) {
    return { kind: "written", revision: entry.revision };
  }
  if ((entry?.revision ?? 0) === write.expect) return "again";
  if (entry === undefined) return { kind: "superseded" };
  if (!isOurs(entry)) return { kind: "foreign", entry };
  const by = tokenOf(entry.value);
  return by !== undefined && compareTokens(by, write.token) > 0 ? { kind: "steppedDown", by } : { kind: "superseded" };
}

/** Whether a runtime wrote this value: a person's write has no header, or one that does not fit. */
export function isOurs(entry: StoredEntry): boolean {
  return entry.header !== undefined && entry.header.hash === hashText(entry.value);
}

/** The document's own token: its causes, which stand before it, may hold a field of that name too. */
export function tokenOf(text: string): Token | undefined {
  try {
    const token = (JSON.parse(text) as { token?: unknown } | null)?.token;
    return Array.isArray(token) && token.length === 2 && token.every(Number.isSafeInteger)
      ? [token[0] as number, token[1] as number]
      : undefined;
  } catch {
    return undefined;
  }
}

export function pause(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    clock.after(delayMs, resolve);
  });
}
