/**
 * The index of pending work: one small entry per actor that has timers or effects pending, so that recovery never reads
 * all actors. An entry's time is never later than its document's; earlier costs one look, later would lose a wake-up.
 *
 * I1 before a document with pending work is committed, an entry not later than its work was confirmed under the
 *    writer's own token. I2 an entry is removed or postponed only after the actor was claimed, by CAS on the entry's
 *    revision, never beside a commit of that actor that relies on one. I3 after a removal with unknown outcome it is written
 *    again. I4 an entry of a higher token is never touched: its writer relies on it.
 */
import { hashText } from "../hash.ts";
import { pendingKey } from "../keys.ts";
import { compareTokens, type Revision, type StoredEntry, type Token } from "../ports/store.ts";
import { type CommitPorts, type CommitResult, commit } from "./commit.ts";

export type PendingEntry = { readonly dueMs: number; readonly token: Token; readonly revision: Revision };

export function readPendingEntry(entry: StoredEntry): PendingEntry | undefined {
  try {
    const { due, token } = JSON.parse(entry.value) as { due?: unknown; token?: unknown };
    const dueMs = due === 0 ? 0 : Date.parse(String(due));
    if (Number.isNaN(dueMs) || !Array.isArray(token)) return undefined;
    return { dueMs, token: [Number(token[0]), Number(token[1])], revision: entry.revision };
  } catch {
    return undefined;
  }
}

/** The entry of one actor, as its owner knows it. All calls of one actor come one after the other. */
export class PendingSlot {
  readonly #key: string;
  /** The entry that a write of ours confirmed. */
  #known: PendingEntry | undefined;
  /** The revision to expect when nothing is known for sure: that of the entry seen last. */
  #expect: Revision = 0;
  /** Of the entry seen last: who wrote it, and for when. */
  #writer: Token = [0, 0];
  #seenDueMs = Number.POSITIVE_INFINITY;

  constructor(actor: string, seen: PendingEntry | undefined) {
    this.#key = pendingKey(actor);
    if (seen !== undefined) this.observe(seen);
  }

  /** An entry found by listing or watching. It is only a hint of what to expect, unless it is ours. */
  observe(entry: PendingEntry): void {
    if (entry.revision < this.#expect) return;
    this.#expect = entry.revision;
    this.#writer = entry.token;
    this.#seenDueMs = entry.dueMs;
    if (this.#known !== undefined && this.#known.revision !== entry.revision) this.#known = undefined;
  }

  get exists(): boolean {
    return this.#expect > 0;
  }

  get known(): PendingEntry | undefined {
    return this.#known;
  }

  /** Confirms, under this token, an entry due at `dueMs` or earlier (I1), and never later than the one before it. */
  async ensure(
    ports: CommitPorts,
    dueMs: number,
    token: Token,
    id: string,
  ): Promise<CommitResult | { readonly kind: "ready" }> {
    const known = this.#known;
    if (known !== undefined && known.dueMs <= dueMs && compareTokens(known.token, token) === 0)
      return { kind: "ready" };
    return this.#write(ports, token, id, () => Math.min(dueMs, this.#seenDueMs));
  }

  /** Removes or postpones the entry of a claimed, idle actor (I2). Best effort: what fails is done another time. */
  async relax(ports: CommitPorts, dueMs: number | undefined, token: Token, id: string): Promise<void> {
    if (compareTokens(this.#writer, token) > 0) return;
    if (dueMs !== undefined) {
      if (this.#known !== undefined && this.#known.dueMs >= dueMs) return;
      await this.#write(ports, token, id, () => dueMs);
      return;
    }
    const expect = this.#expect;
    if (expect === 0) return;
    const outcome = await ports.store.purge(this.#key, expect, token);
    this.#known = undefined;
    // The answer may be late: an entry that was seen meanwhile is a later one.
    if (this.#expect !== expect) return;
    if (outcome.kind === "written") this.#meet(undefined);
    else if (outcome.kind === "conflict") this.#meet(await readAgain(ports, this.#key));
  }

  /** Answers who wrote what stands there now, undefined when that was not learnt. */
  #meet(found: StoredEntry | undefined | "abandoned"): Token | undefined {
    if (found === "abandoned") return undefined;
    const entry = found && readPendingEntry(found);
    this.#expect = found?.revision ?? 0;
    this.#writer = entry?.token ?? [0, 0];
    this.#seenDueMs = entry?.dueMs ?? Number.POSITIVE_INFINITY;
    return this.#writer;
  }

  async #write(ports: CommitPorts, token: Token, id: string, time: () => number): Promise<CommitResult> {
    for (;;) {
      const dueMs = time();
      const due = dueMs <= 0 ? "0" : `"${new Date(dueMs).toISOString()}"`;
      const value = `{"due":${due},"token":[${token}],"commit":"${id}"}`;
      const header = { commit: id, hash: hashText(value) };
      if (compareTokens(this.#writer, token) > 0) return { kind: "steppedDown", by: this.#writer };
      const expect = this.#expect;
      const result = await commit(ports, { key: this.#key, value, header, expect, token });
      if (result.kind === "written") {
        if (this.#expect > result.revision) return result;
        this.#known = { dueMs: Math.max(dueMs, 0), token, revision: result.revision };
        this.#expect = result.revision;
        this.#writer = token;
        this.#seenDueMs = this.#known.dueMs;
        return result;
      }
      this.#known = undefined;
      if (result.kind !== "superseded" && result.kind !== "foreign") return result;
      // An entry of an earlier owner, or one that we removed for all we knew: ours goes over it.
      if (this.#meet(await readAgain(ports, this.#key)) === undefined) return { kind: "abandoned" };
    }
  }
}

async function readAgain(ports: CommitPorts, key: string): Promise<StoredEntry | undefined | "abandoned"> {
  while (ports.mayAct()) {
    try {
      return await ports.store.read(key);
    } catch {
      await new Promise<void>((resolve) => void ports.clock.after(ports.settings.settleFirstMs, resolve));
    }
  }
  return "abandoned";
}
