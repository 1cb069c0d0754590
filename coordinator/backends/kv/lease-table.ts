/**
 * Leases in any compare-and-set store, JetStream KV in practice: `session.<id>` is rewritten by its process while it lives,
 * `lease.<key>` says which session holds the key. The index of a grant is the revision of that entry.
 *
 * A session ends when somebody removes its entry by the very revision that he last saw and that did not change for the
 * session's time to live, by his own monotonic clock: a renewal that races with it wins or is refused, so no clocks are
 * compared (C2, C3). Only then are its leases taken, each by compare-and-set on what was read (C1).
 */
import { hashText } from "../../../runtime/hash.ts";
import type { Cancel, Clock } from "../../../runtime/ports/clock.ts";
import type { Logger } from "../../../runtime/ports/logger.ts";
import type { Random } from "../../../runtime/ports/random.ts";
import type { ActorStore, Revision, StoreChange, StoredEntry } from "../../../runtime/ports/store.ts";
import { Seldom } from "../../../runtime/seldom.ts";
import { LeaseInvalidOption, SessionNotOpened } from "../../lease/errors.ts";
import { type Renewed, SessionLife, unanswered } from "../../lease/session-life.ts";
import { expiresMs, sessionProblem, ttlProblem } from "../../lease/validity.ts";
import type {
  AcquireOutcome,
  Holding,
  LeaseService,
  LeaseView,
  Session,
  SessionAttributes,
  SessionInfo,
  SessionOptions,
} from "../../ports/lease-service.ts";

/** Of keys that are each of one life of a process: nothing is to be left of them. */
export const sessionPrefix = "session.";
const leasePrefix = "lease.";
/** Tokens come from here; the entries that they come from are not fenced by any. */
const token = [Number.MAX_SAFE_INTEGER, 0] as const;

export type LeaseTablePorts = {
  /** Of the leases alone. */
  readonly store: ActorStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
};

type SeenSession = { readonly info: SessionInfo; readonly revision: Revision; readonly seenMs: number };

type CasResult =
  /** `sentMs`: by the monotonic clock, before the attempt that was written was sent, or an earlier one. */
  | { readonly kind: "written"; readonly revision: Revision; readonly sentMs: number }
  /** What stands there instead. */
  | { readonly kind: "conflict"; readonly entry: StoredEntry | undefined }
  /** Surely not written. */
  | { readonly kind: "full"; readonly why: string }
  | { readonly kind: "unknown" };

type Written = Extract<CasResult, { kind: "written" }>;

/** How often everything is read again, so that nothing rests on the watch alone. */
const rereadMs = 15_000;
/** A watch that has not shown what we have written ourselves for so long may be silent for much longer. */
const unshownMs = 500;
const longestUnshownMs = 4_000;
const firstPauseMs = 25;
const longestPauseMs = 250;

export class LeaseTable implements LeaseService<"kv-revision"> {
  readonly fencing = "kv-revision";
  readonly identity: string;
  readonly #ports: LeaseTablePorts;
  readonly #seldom: Seldom;
  readonly #sessions = new Map<string, SeenSession>();
  readonly #leases = new Map<string, Holding>();
  /** The latest revision seen of each key, so that what is older, listed late, changes nothing. */
  readonly #latest = new Map<string, Revision>();
  readonly #listeners = new Set<() => void>();
  readonly #open = new Set<KvSession>();
  readonly #unwatch: () => void;
  #sweep: Cancel | undefined;
  #reread: Cancel | undefined;
  #reading: Promise<void> | undefined;
  /** The latest revision that the watch has shown, and the latest of our own. */
  #shown: Revision = 0;
  #ours: Revision = 0;
  #unshown: Cancel | undefined;
  #closed = false;

  /** Rejects when the store cannot be read. The store stays the caller's to close. */
  static async open(ports: LeaseTablePorts): Promise<LeaseTable> {
    const table = new LeaseTable(ports);
    try {
      await table.#readAll();
    } catch (error) {
      await table.close();
      throw error;
    }
    return table;
  }

  private constructor(ports: LeaseTablePorts) {
    this.#ports = ports;
    this.#seldom = new Seldom(ports.clock);
    this.identity = ports.store.info.identity;
    this.#unwatch = ports.store.watch("", (change) => {
      this.#shown = Math.max(this.#shown, revisionOf(change));
      this.#see(change);
    });
    this.#armReread();
  }

  async openSession(options: SessionOptions): Promise<Session> {
    const problem = sessionProblem(options);
    if (problem !== undefined) throw new LeaseInvalidOption(problem);
    const info: SessionInfo = {
      id: this.#ports.random.id(),
      node: options.node,
      ttlMs: options.ttlMs,
      attributes: options.attributes ?? {},
    };
    const result = await this.cas(sessionPrefix + info.id, JSON.stringify(info), 0, info.ttlMs);
    if (result.kind === "full") throw new SessionNotOpened(result.why);
    if (result.kind !== "written") throw new SessionNotOpened(`the back end does not answer within ${info.ttlMs} ms`);
    const session = new KvSession(this, this.#ports, info, result);
    this.#open.add(session);
    return session;
  }

  view(): LeaseView {
    const sessions = new Map<string, SessionInfo>();
    for (const [id, { info }] of this.#sessions) sessions.set(id, info);
    return { sessions, leases: this.#leases };
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    await Promise.all([...this.#open].map((session) => session.close()));
    this.#closed = true;
    this.#unwatch();
    this.#sweep?.();
    this.#reread?.();
    this.#unshown?.();
    this.#listeners.clear();
  }

  // ---- for sessions ----

  forget(session: KvSession): void {
    this.#open.delete(session);
  }

  read(key: string): Promise<StoredEntry | undefined> {
    return this.#ports.store.read(key);
  }

  /**
   * One write, followed until its outcome is known or the time is over (C8); with `wait`, also until there is room. An
   * empty value removes the key.
   */
  async cas(
    key: string,
    value: string,
    expect: Revision,
    forMs: number,
    whenFull: "wait" | "answer" = "wait",
  ): Promise<CasResult> {
    const { store, clock, random } = this.#ports;
    const header = { commit: random.id(), hash: hashText(value) };
    const firstSentMs = clock.monotonic();
    const untilMs = firstSentMs + forMs;
    let mayHaveLanded = false;
    for (let waitMs = firstPauseMs; ; waitMs = Math.min(waitMs * 2, longestPauseMs)) {
      const sentMs = clock.monotonic();
      const outcome =
        value === "" ? await store.purge(key, expect, token) : await store.write({ key, value, header, expect, token });
      if (outcome.kind === "written") {
        this.#wrote(key, value, outcome.revision, header);
        // An earlier attempt that had landed would have made this one a conflict.
        return { ...outcome, sentMs };
      }
      if (outcome.kind === "refused" && outcome.reason !== "full") return { kind: "unknown" };
      if (outcome.kind === "unknown") mayHaveLanded = true;
      const isOver = clock.monotonic() >= untilMs || this.#closed;
      if (outcome.kind === "refused" && !mayHaveLanded && (isOver || whenFull === "answer"))
        return { kind: "full", why: `the store of the leases has no room: ${outcome.detail}` };
      if (outcome.kind === "conflict") {
        const entry = await store.read(key).catch(() => "unread" as const);
        if (entry !== "unread") {
          if (value !== "" && entry?.header?.commit === header.commit) {
            this.#wrote(key, value, entry.revision, header);
            return { kind: "written", revision: entry.revision, sentMs: firstSentMs };
          }
          if ((entry?.revision ?? 0) !== expect) return { kind: "conflict", entry };
        }
      }
      if (clock.monotonic() >= untilMs || this.#closed) return { kind: "unknown" };
      await new Promise<void>((resolve) => void clock.after(waitMs, resolve));
    }
  }

  #wrote(key: string, value: string, revision: Revision, header: NonNullable<StoredEntry["header"]>): void {
    if (value === "") this.#see({ kind: "purge", key, revision });
    else this.#see({ kind: "put", entry: { key, value, revision, header } });
    this.#ours = Math.max(this.#ours, revision);
    this.#doubtWatch();
  }

  // ---- what is seen ----

  /** One reading at a time: an earlier one, answered late, would bring back what the other has found gone. */
  #readAll(): Promise<void> {
    this.#reading ??= this.#readOnce().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async #readOnce(): Promise<void> {
    const { store } = this.#ports;
    const found = new Set<string>();
    const before = new Map(this.#latest);
    for (let after: string | undefined; ; ) {
      const page = await store.list({ prefix: "", limit: 1_000, ...(after !== undefined && { after }) });
      for (const entry of page) {
        found.add(entry.key);
        this.#see({ kind: "put", entry });
      }
      if (page.length < 1_000) break;
      after = page.at(-1)?.key;
    }
    for (const [key, revision] of before) {
      if (found.has(key)) continue;
      const entry = await store.read(key);
      if (entry !== undefined) this.#see({ kind: "put", entry });
      // What was seen since may be later than the answer.
      else if (this.#latest.get(key) === revision) this.#gone(key);
    }
  }

  #armReread(): void {
    this.#reread = this.#ports.clock.after(
      rereadMs,
      () => {
        void this.#readAll()
          .catch((error: unknown) =>
            this.#seldom.say("reread", (held) =>
              this.#ports.logger.warn("the leases could not be read; trying again", {
                error,
                unsaid: held || undefined,
              }),
            ),
          )
          .finally(() => {
            if (!this.#closed) this.#armReread();
          });
      },
      { background: true },
    );
  }

  /**
   * A server that dies takes watches with it, and those who are connected to others are not told. What was handed over
   * meanwhile would be seen late: while the watch does not show what we write, which we do as long as we hold anything,
   * everything is read. A watch may also lag because the servers are busy: a reading rests four times
   * as long as it took, within bounds.
   */
  #doubtWatch(afterMs = unshownMs): void {
    const { clock, logger } = this.#ports;
    const upTo = this.#ours;
    if (this.#closed || this.#unshown !== undefined || this.#shown >= upTo) return;
    this.#unshown = clock.after(
      afterMs,
      () => {
        const fromMs = clock.monotonic();
        const isSilent = this.#shown < upTo;
        void (isSilent ? this.#readAll() : Promise.resolve())
          .catch((error: unknown) => logger.debug("the leases could not be read; trying again", { error }))
          .finally(() => {
            this.#unshown = undefined;
            this.#doubtWatch(Math.min(longestUnshownMs, Math.max(unshownMs, 4 * (clock.monotonic() - fromMs))));
          });
      },
      { background: true },
    );
  }

  #see(change: StoreChange): void {
    if (this.#closed) return;
    const key = change.kind === "put" ? change.entry.key : change.key;
    const revision = revisionOf(change);
    if ((this.#latest.get(key) ?? 0) >= revision) return;
    if (change.kind === "purge") {
      this.#gone(key);
      // A late older value of it changes nothing either; the mark goes with the next reading of everything.
      this.#latest.set(key, revision);
      return;
    }
    this.#latest.set(key, revision);
    if (key.startsWith(sessionPrefix)) {
      const info = readSession(key, change.entry);
      if (info === undefined) this.#sessions.delete(key.slice(sessionPrefix.length));
      else this.#sessions.set(info.id, { info, revision, seenMs: this.#ports.clock.monotonic() });
    } else if (key.startsWith(leasePrefix)) {
      const name = key.slice(leasePrefix.length);
      const session = readHolder(change.entry);
      if (session === undefined) this.#leases.delete(name);
      else this.#leases.set(name, { key: name, session, index: revision });
    }
    this.#changed();
  }

  #gone(key: string): void {
    this.#latest.delete(key);
    const had = key.startsWith(sessionPrefix)
      ? this.#sessions.delete(key.slice(sessionPrefix.length))
      : this.#leases.delete(key.slice(leasePrefix.length));
    if (had) this.#changed();
  }

  #changed(): void {
    this.#armSweep();
    for (const listener of [...this.#listeners]) listener();
  }

  // ---- sessions that fell silent ----

  #armSweep(): void {
    this.#sweep?.();
    this.#sweep = undefined;
    let first = Number.POSITIVE_INFINITY;
    for (const [id, { info, seenMs }] of this.#sessions)
      if (!this.#isOurs(id)) first = Math.min(first, expiresMs(seenMs, info.ttlMs));
    if (first === Number.POSITIVE_INFINITY) return;
    const inMs = Math.max(10, first - this.#ports.clock.monotonic());
    this.#sweep = this.#ports.clock.after(inMs, () => void this.#expire(), { background: true });
  }

  async #expire(): Promise<void> {
    const now = this.#ports.clock.monotonic();
    const silent = [...this.#sessions].filter(
      ([id, { info, seenMs }]) => !this.#isOurs(id) && expiresMs(seenMs, info.ttlMs) <= now,
    );
    await Promise.all(
      silent.map(async ([id, seen]) => {
        const result = await this.cas(sessionPrefix + id, "", seen.revision, seen.info.ttlMs);
        if (result.kind === "written")
          this.#ports.logger.warn(
            `the session of ${seen.info.node} has ended: nothing was heard for its time to live`,
            {
              session: id,
            },
          );
        else if (result.kind === "conflict" && result.entry === undefined) this.#gone(sessionPrefix + id);
        else if (result.kind === "conflict" && result.entry !== undefined)
          this.#see({ kind: "put", entry: result.entry });
      }),
    );
    if (!this.#closed) this.#armSweep();
  }

  #isOurs(id: string): boolean {
    for (const session of this.#open) if (session.id === id) return true;
    return false;
  }
}

class KvSession implements Session {
  readonly id: string;
  readonly #table: LeaseTable;
  readonly #ports: LeaseTablePorts;
  readonly #life: SessionLife;
  #info: SessionInfo;
  #revision: Revision;
  #beats = 0;

  constructor(table: LeaseTable, ports: LeaseTablePorts, info: SessionInfo, opened: Written) {
    this.#table = table;
    this.#ports = ports;
    this.id = info.id;
    this.#info = info;
    this.#revision = opened.revision;
    const renewOnce = (untilMs: number) => this.#renewOnce(untilMs);
    this.#life = new SessionLife({ clock: ports.clock, ttlMs: info.ttlMs, sentMs: opened.sentMs, renewOnce });
    this.#life.onLost(() => table.forget(this));
  }

  get isValid(): boolean {
    return this.#life.isValid;
  }

  get validUntilMs(): number {
    return this.#life.validUntilMs;
  }

  async acquire(key: string): Promise<AcquireOutcome> {
    if (!this.isValid) return { kind: "lost" };
    let entry: StoredEntry | undefined;
    try {
      entry = await this.#table.read(leasePrefix + key);
      const holder = entry && readHolder(entry);
      if (entry !== undefined && holder === this.id) return this.#granted(entry.revision);
      // Asked of whoever decides: what was only seen may be behind.
      if (holder !== undefined && (await this.#table.read(sessionPrefix + holder)) !== undefined)
        return { kind: "held", by: holder };
    } catch {
      return { kind: "unknown" };
    }
    const leftMs = this.validUntilMs - this.#ports.clock.monotonic();
    const result = await this.#table.cas(leasePrefix + key, holding(this.id), entry?.revision ?? 0, leftMs, "answer");
    if (result.kind === "written") return this.#granted(result.revision);
    if (result.kind !== "conflict") return result;
    const by = result.entry && readHolder(result.entry);
    if (by === this.id && result.entry !== undefined) return this.#granted(result.entry.revision);
    return by === undefined ? { kind: "unknown" } : { kind: "held", by };
  }

  #granted(index: number): AcquireOutcome {
    return this.isValid ? { kind: "granted", index } : { kind: "lost" };
  }

  release(key: string): Promise<boolean> {
    return this.#giveUp(key, "");
  }

  transfer(key: string, to: string): Promise<boolean> {
    return this.#giveUp(key, holding(to));
  }

  async #giveUp(key: string, value: string): Promise<boolean> {
    try {
      const entry = await this.#table.read(leasePrefix + key);
      if (entry === undefined || readHolder(entry) !== this.id) return true;
      const result = await this.#table.cas(leasePrefix + key, value, entry.revision, this.#info.ttlMs);
      return result.kind === "written" || result.kind === "conflict";
    } catch {
      return false;
    }
  }

  update(attributes: SessionAttributes): Promise<void> {
    this.#info = { ...this.#info, attributes };
    return this.#life.renew();
  }

  onLost(listener: (reason: string) => void): () => void {
    return this.#life.onLost(listener);
  }

  async close(): Promise<void> {
    if (!this.#life.close()) return;
    // What removes the entry must name the revision that the renewal leaves.
    await this.#life.settled();
    await this.#table.cas(sessionPrefix + this.id, "", this.#revision, this.#info.ttlMs);
    this.#table.forget(this);
  }

  async #renewOnce(untilMs: number): Promise<Renewed> {
    const value = JSON.stringify({ ...this.#info, beat: ++this.#beats });
    const leftMs = Math.max(0, untilMs - this.#ports.clock.monotonic());
    const result = await this.#table.cas(sessionPrefix + this.id, value, this.#revision, leftMs);
    switch (result.kind) {
      case "written":
        this.#revision = result.revision;
        return { kind: "renewed", sentMs: result.sentMs };
      case "conflict":
        return { kind: "over", reason: "others took it for dead and ended it" };
      case "full":
        return { kind: "over", reason: result.why };
      case "unknown":
        return { kind: "over", reason: unanswered };
    }
  }
}

function revisionOf(change: StoreChange): Revision {
  return change.kind === "put" ? change.entry.revision : change.revision;
}

function holding(session: string): string {
  return JSON.stringify({ session });
}

function readHolder(entry: StoredEntry): string | undefined {
  try {
    const { session } = JSON.parse(entry.value) as { session?: unknown };
    return typeof session === "string" ? session : undefined;
  } catch {
    return undefined;
  }
}

function readSession(key: string, entry: StoredEntry): SessionInfo | undefined {
  try {
    const { id, node, ttlMs, attributes } = JSON.parse(entry.value) as SessionInfo;
    if (key !== sessionPrefix + id || typeof node !== "string" || ttlProblem(ttlMs) !== undefined) return undefined;
    return { id, node, ttlMs, attributes: typeof attributes === "object" && attributes !== null ? attributes : {} };
  } catch {
    return undefined;
  }
}
