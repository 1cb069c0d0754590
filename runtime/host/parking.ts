/**
 * Actors that are set aside: a record under `_parked.<actor>` says why, the document stays untouched. As long as the
 * record stands, nobody runs the actor; removing it, by `resume`, lets it go on. The host knows them all by watching.
 *
 * Whether a document fits a machine depends on nothing else, so a record of `incompatible` names the machines that have
 * refused it. Another one may try: it reads the document, and only when that fits removes the record (docs/decisions/0014).
 */
import type { ActorDefinition } from "../definition.ts";
import { DamagedDocumentError } from "../document.ts";
import { hashText } from "../hash.ts";
import { parkedKey, parkedPrefix, parseActorKey } from "../keys.ts";
import { DamagedValueError } from "../machine/codec.ts";
import type { Event } from "../machine/internals.ts";
import { identityOf, isSameMachine, type MachineIdentity } from "../migration.ts";
import type { Clock } from "../ports/clock.ts";
import type { Logger } from "../ports/logger.ts";
import type { Random } from "../ports/random.ts";
import { type ActorStore, compareTokens, type Revision, type StoredEntry, type Token } from "../ports/store.ts";
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
  /** Of `incompatible`: the machines that could not run it, the latest last. Records of before this was kept have none. */
  readonly refusedBy?: readonly MachineIdentity[];
};

export type ParkingEnv = {
  readonly store: ActorStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly settings: HostSettings;
  readonly onChange: (actor: string, why: string | undefined) => void;
};

/** `revision` 0: not known to stand in the store yet. */
type Known = {
  readonly record: ParkedRecord;
  readonly revision: Revision;
  /** This node's machine has tried in vain, for a reason that is not for the record. */
  readonly isTried?: true;
};

export class Parking {
  readonly #env: ParkingEnv;
  readonly #known = new Map<string, Known>();
  /** The latest revision seen of each record, so that what is older, listed or told late, changes nothing. */
  readonly #latest = new Map<string, Revision>();
  /** By definition: many actors are asked about at once, and it takes the text of `migrate`. */
  readonly #machines = new WeakMap<ActorDefinition, MachineIdentity>();
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
   * Whether this machine may try to run the actor: another one has refused it, this one has not, and nobody with a higher
   * token set it aside (R3).
   */
  mayTry(actor: string, definition: ActorDefinition, token: Token): boolean {
    const known = this.#known.get(actor);
    if (known === undefined || known.revision === 0 || known.isTried) return false;
    const { refusedBy = [] } = known.record;
    if (!mayReplace(known.record, token)) return false;
    if (refusedBy.length === 0) return true;
    const machine = this.#machines.get(definition) ?? identityOf(definition);
    this.#machines.set(definition, machine);
    return !refusedBy.some((one) => isSameMachine(one, machine));
  }

  /** It was tried, and cannot be told from here: not again, until the record changes. */
  triedInVain(actor: string): void {
    const known = this.#known.get(actor);
    if (known !== undefined) this.#known.set(actor, { ...known, isTried: true });
  }

  /**
   * Writes the record, repeating until it stands: the actor stays parked in memory meanwhile. One that stands already, and
   * was tried in vain, is replaced. Once the actor is not this node's to run any more (R3), what to think of it is its next
   * owner's affair, and it is forgotten here.
   */
  async park(parked: Omit<ParkedRecord, "at">, mayAct: () => boolean): Promise<void> {
    const { store, clock, random, settings } = this.#env;
    const standing = this.#known.get(parked.actor);
    // Set aside meanwhile for what a machine cannot judge, or by a later owner (R3): that is what has to be mended.
    if (standing !== undefined && !mayReplace(standing.record, parked.token))
      return this.#env.onChange(parked.actor, whyParked(standing.record));
    const at = new Date(clock.now()).toISOString();
    const record: ParkedRecord = { ...parked, at, ...after(standing?.record, parked) };
    const value = JSON.stringify(record);
    const header = { commit: random.id(), hash: hashText(value) };
    const key = parkedKey(parked.actor);
    this.#known.set(parked.actor, { record, revision: 0 });
    const isOurs = () => this.#known.get(parked.actor)?.record === record;
    const expect = standing?.revision ?? 0;
    for (let waitMs = settings.settleFirstMs; mayAct(); waitMs = Math.min(waitMs * 2, settings.settleMaxMs)) {
      const outcome = await store.write({ key, value, header, expect, token: parked.token });
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
    if (!isOurs()) return;
    if (standing === undefined) return this.#gone(key);
    this.#known.set(parked.actor, standing);
    this.#env.onChange(parked.actor, whyParked(standing.record));
  }

  /** Removes the record by which `mayTry` has judged, and no other: the document turned out to fit. Answers whether it is gone. */
  async lift(actor: string, token: Token, mayAct: () => boolean): Promise<boolean> {
    const { store, clock, settings } = this.#env;
    const judged = this.#known.get(actor);
    if (judged === undefined) return true;
    const key = parkedKey(actor);
    for (let waitMs = settings.settleFirstMs; mayAct(); waitMs = Math.min(waitMs * 2, settings.settleMaxMs)) {
      const outcome = await store.purge(key, judged.revision, token);
      const entry = outcome.kind === "conflict" ? await this.#readBack(key) : undefined;
      if (outcome.kind === "written" || (outcome.kind === "conflict" && entry === undefined)) {
        if (this.#known.get(actor)?.revision === judged.revision) this.#gone(key);
        return !this.#known.has(actor);
      }
      if (outcome.kind === "refused") break;
      if (entry !== undefined && entry !== "unread" && entry.revision !== judged.revision) {
        this.#see(entry);
        return false;
      }
      await pause(clock, waitMs);
    }
    if (mayAct()) this.triedInVain(actor);
    return false;
  }

  /** Removes the record. Answers false when there is none. */
  async resume(actor: string, token: Token): Promise<boolean> {
    const { store, clock, settings } = this.#env;
    const key = parkedKey(actor);
    for (let waitMs = settings.settleFirstMs; !this.#stopped; waitMs = Math.min(waitMs * 2, settings.settleMaxMs)) {
      const before = this.#known.get(actor);
      const entry = await store.read(key);
      // One that has been seen since, of another owner, stands.
      if (entry === undefined) {
        if (this.#known.get(actor) === before) this.#gone(key);
        return false;
      }
      const outcome = await store.purge(key, entry.revision, token);
      if (outcome.kind === "written") {
        if ((this.#known.get(actor)?.revision ?? 0) <= entry.revision) this.#gone(key);
        return true;
      }
      if (outcome.kind === "refused") throw new Error(`the store refused: ${outcome.detail}`);
      await pause(clock, waitMs);
    }
    return false;
  }

  async #readBack(key: string): Promise<StoredEntry | undefined | "unread"> {
    try {
      return await this.#env.store.read(key);
    } catch {
      return "unread";
    }
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

/** Whether a machine's verdict may take the place of this record. */
function mayReplace({ reason, token: by }: ParkedRecord, token: Token): boolean {
  return reason === "incompatible" && compareTokens(by, token) <= 0;
}

/** What the record of an actor that was tried once more takes over from the one before: since when, and who refused it. */
function after(
  before: ParkedRecord | undefined,
  now: Pick<ParkedRecord, "reason" | "refusedBy">,
): Partial<ParkedRecord> {
  if (before?.reason !== "incompatible" || now.reason !== "incompatible") return {};
  return { at: before.at, refusedBy: [...(before.refusedBy ?? []), ...(now.refusedBy ?? [])].slice(-mostRefusals) };
}

/** How many machines a record remembers: more than are in use at a time. */
const mostRefusals = 8;

export function readParked(text: string): ParkedRecord | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const record = value as ParkedRecord;
    if (typeof record.actor !== "string" || typeof record.reason !== "string") return undefined;
    if (record.refusedBy === undefined) return record;
    const { refusedBy, ...rest } = record;
    return areMachines(refusedBy) ? record : rest;
  } catch {
    return undefined;
  }
}

function areMachines(given: unknown): boolean {
  const isOne = (one: unknown) => {
    const { version, hash, migrate } = (one ?? {}) as Record<keyof MachineIdentity, unknown>;
    return typeof version === "number" && typeof hash === "string" && ["string", "undefined"].includes(typeof migrate);
  };
  return Array.isArray(given) && given.every(isOne);
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
      : reason === "incompatible"
        ? `this was so when it was parked: it goes on by itself under a release that can run it, and \`holdfast resume ${name}\` or \`resume()\` of its handle tries at once`
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
