/**
 * What a person asks of an actor that does not go its own way: to remove what stands under its key, and to let a parked
 * one go on. The node that may run the actor does it; the actor then starts over from what stands in the store.
 */
import { type Document, readDocument } from "../document.ts";
import { hashText } from "../hash.ts";
import type { Clock } from "../ports/clock.ts";
import type { Random } from "../ports/random.ts";
import type { ActorStore, StoredEntry, Token } from "../ports/store.ts";
import { isOurs, tokenOf } from "./commit.ts";
import { failed, type Outcome, refused } from "./outcome.ts";
import { type Parking, whyParked } from "./parking.ts";

export type InterventionsEnv = {
  readonly store: ActorStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly parking: Parking;
  /** Of the actor's partition; undefined: this node may not run it. */
  readonly tokenFor: (key: string) => Token | undefined;
  /** What is in memory of the actor was before the person's write. */
  readonly forget: (key: string) => void;
  readonly recover: (key: string) => void;
  /** Resolves when the actor has done what is due, or is set aside; or when it takes too long to wait for. */
  readonly settled: (key: string) => Promise<void>;
};

/** `accept` takes a person's write as the document; `discard` puts the last good document back. */
export type ResumeMode = "retry" | "accept" | "discard";

export class Interventions {
  readonly #env: InterventionsEnv;

  constructor(env: InterventionsEnv) {
    this.#env = env;
  }

  /** Removes a tombstone, or with `force` whatever stands there, with its history. */
  async purge(key: string, force: boolean): Promise<Outcome> {
    const entry = await this.#env.store.read(key);
    if (entry === undefined) return refused("NotFound", `${key} does not exist`);
    if (!force) {
      const tombstone = tombstoneIn(entry);
      if (tombstone === undefined)
        return refused("AlreadyExists", `${key} is not deleted: delete it first, or force the purge`);
      const { expires } = tombstone;
      const openUntilMs = expires === undefined ? 0 : Date.parse(expires);
      if (openUntilMs > this.#env.clock.now()) {
        return refused(
          "AlreadyExists",
          `the tombstone of ${key} guards idempotency keys until ${expires}; force the purge to drop them`,
        );
      }
    }
    const token = this.#env.tokenFor(key);
    if (token === undefined) return { kind: "moved" };
    this.#env.forget(key);
    const outcome = await this.#env.store.purge(key, entry.revision, token);
    if (outcome.kind !== "written") return { kind: "unknown" };
    return done;
  }

  /**
   * Lets a parked actor go on. `accept` takes a person's write as the document, and a person's deletion as the end of the
   * actor; `discard` puts the last good document back. Both also for a write that nobody has come upon yet. An actor that is
   * parked again for what it does at once answers so, with the reason.
   */
  async resume(key: string, mode: ResumeMode): Promise<Outcome> {
    const token = this.#env.tokenFor(key);
    if (token === undefined) return { kind: "moved" };
    const parked = this.#env.parking.get(key);
    if (parked === undefined && (mode === "retry" || !(await this.#isForeign(key))))
      return refused("NotFound", `${key} is not parked`);
    if (mode !== "retry") {
      const problem = await this.#settleForeign(key, mode);
      if (problem !== undefined) return refused("InvalidRequest", problem);
    }
    if (parked === undefined) {
      this.#env.forget(key);
      this.#env.recover(key);
    } else await this.#env.parking.resume(key, token);
    await this.#env.settled(key);
    const again = this.#env.parking.get(key);
    return again === undefined ? done : failed("Parked", `${key} is parked again: ${whyParked(again)}`);
  }

  async #isForeign(key: string): Promise<boolean> {
    const entry = await this.#env.store.read(key);
    return entry !== undefined && !isOurs(entry);
  }

  async #settleForeign(key: string, mode: Exclude<ResumeMode, "retry">): Promise<string | undefined> {
    const { store, random } = this.#env;
    const token = this.#env.tokenFor(key);
    const entry = await store.read(key);
    if (entry === undefined || token === undefined) return `${key} has no document`;
    if (mode === "accept" && entry.value === "") {
      const outcome = await store.purge(key, entry.revision, token);
      return outcome.kind === "written" ? undefined : `the removal ended as ${outcome.kind}: try again`;
    }
    let value = entry.value;
    if (mode === "discard") {
      const good = (await store.history(key)).filter(isOurs).at(-1);
      if (good === undefined)
        return `no revision that a runtime wrote is kept of ${key}: restore it from a backup, or accept what stands there`;
      value = good.value;
    }
    const seen = tokenOf(value);
    if (seen === undefined) return `${key} holds no document`;
    const header = { commit: random.id(), hash: hashText(value) };
    const outcome = await store.write({ key, value, header, expect: entry.revision, token });
    return outcome.kind === "written" ? undefined : `the write ended as ${outcome.kind}: try again`;
  }
}

/** Neither changes the actor's own revision. */
const done: Outcome = {
  kind: "reply",
  reply: { kind: "receipt", receipt: { revision: 0, changed: true }, duplicate: false },
};

/** The document of a deleted actor; undefined for any other, and for what cannot be read. */
function tombstoneIn(entry: StoredEntry): Document | undefined {
  try {
    const document = readDocument(entry.value);
    return document.status === "deleted" ? document : undefined;
  } catch {
    return undefined;
  }
}
