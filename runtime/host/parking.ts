/**
 * Actors that are set aside: a record under `_parked.<actor>` says why, the document stays untouched. As long as the
 * record stands, nobody runs the actor; removing it, by `resume`, lets it go on. The host knows them all by watching.
 */
import { DamagedDocumentError } from "../document.ts";
import { hashText } from "../hash.ts";
import { parkedKey, parkedPrefix, parseActorKey } from "../keys.ts";
import { DamagedValueError } from "../machine/codec.ts";
import type { Event } from "../machine/internals.ts";
import type { Clock } from "../ports/clock.ts";
import type { Logger } from "../ports/logger.ts";
import type { Random } from "../ports/random.ts";
import type { ActorStore, Revision, StoredEntry, Token } from "../ports/store.ts";
import type { Input } from "../step.ts";
import { pause } from "./commit.ts";
import type { HostSettings } from "./settings.ts";

export type ParkReason =
  /** The machine threw on a timer, a result or another actor's message. */
  | "threw"
  /** A custom action failed after all its attempts. */
  | "action"
  /** A pending action cannot be found in the machine any more. */
  | "missing"
  /** The document has not the hash of what a runtime wrote: a person did, or it has rotted on the disk. */
  | "foreign"
  | "damaged"
  | "incompatible";

export type ParkedRecord = {
  readonly actor: string;
  readonly reason: ParkReason;
  readonly message: string;
  readonly at: string;
  /** The document's revision in the store when it was parked. */
  readonly revision: Revision;
  readonly token: Token;
  /** What it was doing. */
  readonly input?: string;
};

export type ParkingEnv = {
  readonly store: ActorStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly settings: HostSettings;
  readonly onChange: (actor: string, why: string | undefined) => void;
};

type Known = { readonly record: ParkedRecord; readonly revision: Revision };

export class Parking {
  readonly #env: ParkingEnv;
  readonly #known = new Map<string, Known>();
  /** The latest revision seen of each record, so that what is older, listed or told late, changes nothing. */
  readonly #latest = new Map<string, Revision>();
  #unwatch: (() => void) | undefined;
  #stopped = false;

  constructor(env: ParkingEnv) {
    this.#env = env;
  }

  async start(): Promise<void> {
    this.#unwatch = this.#env.store.watch(parkedPrefix, (change) => {
      if (change.kind === "put") this.#see(change.entry);
      else if (this.#isLater(change.key, change.revision)) this.#gone(change.key);
    });
    let after: string | undefined;
    for (;;) {
      const page = await this.#env.store.list({
        prefix: parkedPrefix,
        limit: 1_000,
        ...(after !== undefined && { after }),
      });
      for (const entry of page) this.#see(entry);
      if (page.length < 1_000) return;
      after = page.at(-1)?.key;
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#unwatch?.();
  }

  get(actor: string): ParkedRecord | undefined {
    return this.#known.get(actor)?.record;
  }

  all(): ParkedRecord[] {
    return [...this.#known.values()].map(({ record }) => record);
  }

  /**
   * Writes the record, repeating until it stands: the actor stays parked in memory meanwhile. Once the actor is not this
   * node's to run any more (R3), what to think of it is its next owner's affair, and it is forgotten here.
   */
  async park(parked: Omit<ParkedRecord, "at">, mayAct: () => boolean): Promise<void> {
    const { store, clock, random, settings } = this.#env;
    const record: ParkedRecord = { ...parked, at: new Date(clock.now()).toISOString() };
    const value = JSON.stringify(record);
    const header = { commit: random.id(), hash: hashText(value) };
    const key = parkedKey(parked.actor);
    this.#known.set(parked.actor, { record, revision: 0 });
    const isOurs = () => this.#known.get(parked.actor)?.record === record;
    for (let waitMs = settings.settleFirstMs; mayAct(); waitMs = Math.min(waitMs * 2, settings.settleMaxMs)) {
      const outcome = await store.write({ key, value, header, expect: 0, token: parked.token });
      if (outcome.kind === "written") {
        // The watch may have told of it before, and of its removal.
        if (isOurs()) this.#known.set(parked.actor, { record, revision: outcome.revision });
        return;
      }
      // Another owner has set it aside before us, or our own repetition: either way it is parked.
      if (outcome.kind === "conflict") return;
      if (outcome.kind === "refused" && (outcome.reason === "fenced" || outcome.reason === "closed")) return;
      await pause(clock, waitMs);
    }
    if (isOurs()) this.#gone(key);
  }

  /** Removes the record. Answers false when there is none. */
  async resume(actor: string, token: Token): Promise<boolean> {
    const { store, clock, settings } = this.#env;
    const key = parkedKey(actor);
    for (let waitMs = settings.settleFirstMs; !this.#stopped; waitMs = Math.min(waitMs * 2, settings.settleMaxMs)) {
      const entry = await store.read(key);
      if (entry === undefined) {
        this.#gone(key);
        return this.#known.has(actor);
      }
      const outcome = await store.purge(key, entry.revision, token);
      if (outcome.kind === "written") {
        this.#gone(key);
        return true;
      }
      if (outcome.kind === "refused") throw new Error(`the store refused: ${outcome.detail}`);
      await pause(clock, waitMs);
    }
    return false;
  }

  #see(entry: StoredEntry): void {
    if (!this.#isLater(entry.key, entry.revision)) return;
    const actor = entry.key.slice(parkedPrefix.length);
    const record = readParked(entry.value) ?? {
      actor,
      reason: "foreign" as const,
      message: "the parking record itself cannot be read",
      at: "",
      revision: 0,
      token: [0, 0] as const,
    };
    this.#known.set(actor, { record, revision: entry.revision });
    this.#env.onChange(actor, whyParked(record));
  }

  #isLater(key: string, revision: Revision): boolean {
    if ((this.#latest.get(key) ?? 0) >= revision) return false;
    this.#latest.set(key, revision);
    return true;
  }

  #gone(key: string): void {
    const actor = key.slice(parkedPrefix.length);
    if (this.#known.delete(actor)) this.#env.onChange(actor, undefined);
  }
}

export function readParked(text: string): ParkedRecord | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const record = value as ParkedRecord;
    return typeof record.actor === "string" && typeof record.reason === "string" ? record : undefined;
  } catch {
    return undefined;
  }
}

/** Why an actor whose document cannot be loaded is set aside. */
export function whyUnreadable(thrown: unknown): ParkReason {
  return thrown instanceof DamagedDocumentError || thrown instanceof DamagedValueError ? "damaged" : "incompatible";
}

/** As callers are told: what was wrong when it was parked, which may be mended by now, and the way on. */
export function whyParked({ actor, reason, message }: Pick<ParkedRecord, "actor" | "reason" | "message">): string {
  const { type, id } = parseActorKey(actor) ?? { type: "", id: actor };
  const name = /^[\w.-]+$/.test(id) ? `${type}.${id}` : `${type} '${id}'`;
  const way =
    reason === "foreign" || reason === "damaged"
      ? `look with \`holdfast get ${name}\`, then \`holdfast resume ${name} --discard\` puts the last good revision back, and --accept takes what stands there`
      : `this was so when it was parked: once it is mended, \`holdfast resume ${name}\` or \`resume()\` of its handle lets it go on`;
  return `${reason}: ${message}; ${way}`;
}

export function notByRuntime(revision: Revision): Error {
  return new Error(
    `revision ${revision} of the store was not written by a runtime: a person wrote it, or it has rotted on the disk`,
  );
}

/** Of what a parking record says, in characters. */
const longestMessage = 4_000;

/** A record that the store refuses for its size would leave the actor neither parked nor running. */
export function parkMessage(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).slice(0, longestMessage);
}

/** What the actor was doing, as the record tells it. */
export function describeInput(input: Input): string {
  const event = (input as { event?: Event }).event;
  return event === undefined ? input.kind : `${input.kind} ${event.type}`;
}
