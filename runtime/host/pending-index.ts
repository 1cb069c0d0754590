/**
 * The index of pending work: one small entry per actor that has timers or effects pending, so that recovery never reads
 * all actors. An entry's time is never later than its document's; earlier costs one look, later would lose a wake-up.
 *
 * I1 before a document with pending work is committed, an entry not later than its work was confirmed under the
 *    writer's own token. I2 an entry is removed or postponed only after the actor was claimed, by CAS on the entry's
 *    revision, never beside a commit of that actor. I3 after a removal with unknown outcome it is written again.
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
  #known: PendingEntry | undefined;
  /** The revision to expect when nothing is known for sure: that of the entry seen last. */
  #expect: Revision = 0;

  constructor(actor: string, seen: PendingEntry | undefined) {
    this.#key = pendingKey(actor);
    if (seen !== undefined) this.observe(seen);
  }

  /** An entry found by listing or watching. It is only a hint of what to expect, unless it is ours. */
  observe(entry: PendingEntry): void {
    if (entry.revision < this.#expect) return;
    this.#expect = entry.revision;
    if (this.#known !== undefined && this.#known.revision !== entry.revision) this.#known = undefined;
  }

  get exists(): boolean {
    return this.#expect > 0;
  }

  /** Confirms, under this token, an entry due at `dueMs` or earlier (I1). */
  async ensure(ports: CommitPorts, dueMs: number, token: Token, id: string): Promise<CommitResult | { readonly kind: "ready" }> {
    const known = this.#known;
    if (known !== undefined && known.dueMs <= dueMs && compareTokens(known.token, token) === 0) return { kind: "ready" };
    return this.#write(ports, dueMs, token, id);
  }

  /** Removes or postpones the entry of a claimed, idle actor (I2). Best effort: what fails is done another time. */
  async relax(ports: CommitPorts, dueMs: number | undefined, token: Token, id: string): Promise<void> {
    if (dueMs !== undefined) {
      if (this.#known !== undefined && this.#known.dueMs >= dueMs) return;
      await this.#write(ports, dueMs, token, id);
      return;
    }
    if (this.#expect === 0) return;
    const outcome = await ports.store.purge(this.#key, this.#expect, token);
    this.#known = undefined;
    if (outcome.kind === "written") this.#expect = 0;
  }

  async #write(ports: CommitPorts, dueMs: number, token: Token, id: string): Promise<CommitResult> {
    const due = dueMs <= 0 ? "0" : `"${new Date(dueMs).toISOString()}"`;
    const value = `{"due":${due},"token":[${token}],"commit":"${id}"}`;
    const header = { commit: id, hash: hashText(value) };
    for (;;) {
      const expect = this.#expect;
      const result = await commit(ports, { key: this.#key, value, header, expect, token });
      if (result.kind === "written") {
        this.#known = { dueMs: Math.max(dueMs, 0), token, revision: result.revision };
        this.#expect = result.revision;
        return result;
      }
      this.#known = undefined;
      if (result.kind !== "superseded" && result.kind !== "foreign") return result;
      // An entry of an earlier owner, or one that we removed for all we knew: ours goes over it.
      const entry = await readAgain(ports, this.#key);
      if (entry === "abandoned") return { kind: "abandoned" };
      this.#expect = entry;
    }
  }
}

async function readAgain(ports: CommitPorts, key: string): Promise<Revision | "abandoned"> {
  while (ports.mayAct()) {
    try {
      return (await ports.store.read(key))?.revision ?? 0;
    } catch {
      await new Promise<void>((resolve) => void ports.clock.after(ports.settings.settleFirstMs, resolve));
    }
  }
  return "abandoned";
}
