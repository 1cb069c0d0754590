/** One stream of a bucket: its writes, reads from whoever decides writes, and whether it is still the same stream. */
import { hashText } from "../../hash.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Revision, StoredEntry, StoreWrite, Token, WriteOutcome } from "../../ports/store.ts";
import type { Api } from "./api.ts";
import { encodeText, entryOf, headerNames, rawOf, subjectOf } from "./entry.ts";
import type { Prepared } from "./setup.ts";
import { impossible, type Publish, Writer, type WriterOptions } from "./writer.ts";

export type LostReason = "replaced" | "wentBack";

export type ShardOptions = {
  readonly api: Api;
  readonly prepared: Prepared;
  readonly journal: string | undefined;
  readonly writer: Omit<WriterOptions, "clock" | "probeSubject" | "onBehind" | "onNobody">;
  /** Keys that come and go, so that what their purges leave is taken away. */
  readonly isFleeting: (key: string) => boolean;
  /** How long that is kept for those who watch; whole seconds. */
  readonly markerMs: number;
  /** The stream is not the one that was opened, or has lost writes that it had confirmed. Told once. */
  readonly onLost: (reason: LostReason, detail: string) => void;
  readonly clock: Clock;
};

const encoder = new TextEncoder();
const probeKey = "_probe";
/** Most revisions that one question for a key's history gives. */
const longestHistory = 10_000;
const readsAtATime = 64;
const sweepsAtATime = 8;
/** How often, and how long apart, a stream says that it ends too early before it is believed. */
const lowerReads = 5;
const lowerReadMs = 100;
/** How long the leader of a new stream is waited for: an election takes up to 9 s. */
const readyMs = 10_000;
const readyEveryMs = 50;

export class Shard {
  readonly bucket: string;
  readonly stream: string;
  readonly created: string;
  readonly #api: Api;
  readonly #writer: Writer;
  readonly #journal: string | undefined;
  readonly #onLost: ShardOptions["onLost"];
  readonly #clock: Clock;
  /** A sequence that was the last of the stream not long ago, or a later one of our own. */
  #floor: Revision;
  #highestConfirmed: Revision = 0;
  #lost: string | undefined;
  readonly #isFleeting: ShardOptions["isFleeting"];
  readonly #markerMs: number;
  /** Whether the server takes away what is given a time to live. */
  readonly #markersExpire: boolean;
  /** What purges of fleeting keys left for ever, by subject: met since the last sweep, and before it. */
  #markers = new Map<string, Revision>();
  #oldMarkers = new Map<string, Revision>();
  #checking: Promise<void> | undefined;

  constructor(options: ShardOptions) {
    const { prepared } = options;
    this.bucket = prepared.bucket;
    this.stream = prepared.stream;
    this.created = prepared.info.created;
    this.#api = options.api;
    this.#journal = options.journal;
    this.#onLost = options.onLost;
    this.#clock = options.clock;
    this.#floor = prepared.info.state.last_seq;
    this.#isFleeting = options.isFleeting;
    this.#markerMs = options.markerMs;
    this.#markersExpire = prepared.info.config.allow_msg_ttl === true;
    this.#writer = new Writer({
      ...options.writer,
      clock: options.clock,
      probeSubject: subjectOf(this.bucket, probeKey),
      onBehind: async (_subject, _last, expected) => {
        if (expected !== impossible) await this.check();
        return this.#lost;
      },
      onNobody: () => void this.check().catch(() => {}), // whoever writes tries again, and so does the next check
    });
  }

  /**
   * A new replicated stream has no leader for a moment, and then one that not every server knows. Asks with a write that
   * cannot succeed, until its refusal shows the way to be open.
   */
  ready(): Promise<void> {
    return new Promise((resolve) => {
      const enough = this.#clock.after(readyMs, resolve);
      void this.#knock(this.#clock.monotonic() + readyMs).then(() => {
        enough();
        resolve();
      });
    });
  }

  get floor(): Revision {
    return this.#floor;
  }

  async write({ key, value, header, expect, token }: StoreWrite): Promise<WriteOutcome> {
    const publish: Publish = {
      subject: subjectOf(this.bucket, key),
      data: encoder.encode(value),
      expect,
      headers: [
        [headerNames.commit, encodeText(header.commit)],
        [headerNames.hash, header.hash],
        [headerNames.token, `${token[0]}.${token[1]}`],
        ...(header.trace === undefined ? [] : ([[headerNames.trace, header.trace]] as const)),
      ],
    };
    const outcome = await this.#publish(publish);
    if (outcome.kind !== "conflict" || expect !== 0) return outcome;
    // What our own purge left is no value, but the server counts it as the subject's last message.
    const marker = await this.#ownPurge(key);
    return marker === undefined ? outcome : this.#publish({ ...publish, expect: marker });
  }

  /** A marker is left of the key, which shows the purge to those who watch. */
  async purge(key: string, expect: Revision, token: Token, commit: string): Promise<WriteOutcome> {
    if (expect === 0) return { kind: "conflict" };
    const subject = subjectOf(this.bucket, key);
    const expires = this.#markersExpire && this.#isFleeting(key);
    const outcome = await this.#publish({
      subject,
      data: new Uint8Array(0),
      expect,
      headers: [
        [headerNames.operation, "PURGE"],
        [headerNames.rollup, "sub"],
        [headerNames.commit, commit],
        [headerNames.hash, hashText("")],
        [headerNames.token, `${token[0]}.${token[1]}`],
        ...(expires ? ([[headerNames.ttl, String(this.#markerMs / 1_000)]] as const) : []),
      ],
    });
    if (!expires && outcome.kind === "written" && this.#isFleeting(key)) this.#markers.set(subject, outcome.revision);
    return outcome;
  }

  /**
   * Takes away the markers of fleeting keys that were met before the last sweep, where the server does not do so by
   * itself. A key that was written again keeps what it has. Rejects when that fails; the next sweep goes on.
   */
  async sweep(): Promise<void> {
    if (this.#lost !== undefined) return;
    const due = [...this.#oldMarkers];
    for (const [subject, revision] of this.#markers) this.#oldMarkers.set(subject, revision);
    this.#markers = new Map();
    let next = 0;
    const sweeper = async () => {
      for (let one = due[next++]; one !== undefined && this.#lost === undefined; one = due[next++]) {
        const [subject, revision] = one;
        await this.#api.forget(this.stream, subject, revision);
        if (this.#oldMarkers.get(subject) === revision) this.#oldMarkers.delete(subject);
      }
    };
    await Promise.all(Array.from({ length: Math.min(sweepsAtATime, due.length) }, sweeper));
  }

  async read(key: string): Promise<StoredEntry | undefined> {
    if (this.#lost !== undefined) throw new Error(this.#lost);
    const message = await this.#api.lastOf(this.stream, subjectOf(this.bucket, key));
    if (message === undefined) return undefined;
    const raw = rawOf(this.bucket, message);
    const entry = entryOf(raw);
    // Left by a process that has ended, or before the bucket was given times to live.
    if (entry === undefined && this.#isFleeting(key) && raw.header(headerNames.ttl) === undefined)
      this.#markers.set(message.subject, message.seq);
    return entry;
  }

  /** Each key read from the leader, many at a time; what vanished meanwhile is left out. */
  async readAll(keys: readonly string[]): Promise<StoredEntry[]> {
    const entries: (StoredEntry | undefined)[] = new Array(keys.length);
    let next = 0;
    const reader = async () => {
      for (let index = next++; index < keys.length; index = next++)
        entries[index] = await this.read(keys[index] as string);
    };
    await Promise.all(Array.from({ length: Math.min(readsAtATime, keys.length) }, reader));
    return entries.filter((entry) => entry !== undefined);
  }

  /** All keys under these whole words of a subject ("order."), in no order, also those that are purged. */
  async keys(words: string): Promise<string[]> {
    if (this.#lost !== undefined) throw new Error(this.#lost);
    const prefix = `$KV.${this.bucket}.`;
    const found: string[] = [];
    for (let offset = 0; ; ) {
      const info = await this.#api.streamInfo(this.stream, { subjects_filter: `${prefix}${words}>`, offset });
      const subjects = Object.keys(info?.state.subjects ?? {});
      for (const subject of subjects) found.push(subject.slice(prefix.length));
      offset += subjects.length;
      if (subjects.length === 0 || offset >= (info?.total ?? 0)) return found;
    }
  }

  /** The kept revisions, oldest first: those of the journal, which may have gaps, before those of the bucket. */
  async history(key: string): Promise<StoredEntry[]> {
    const kept = await this.#revisions(this.stream, key, (entry) => entry.revision);
    if (this.#journal === undefined) return sinceLastPurge(kept);
    const older = await this.#revisions(this.#journal, key, (_, headers) => originOf(headers(sourceHeader)));
    const first = kept[0]?.revision ?? Number.POSITIVE_INFINITY;
    return sinceLastPurge([...older.filter(({ revision }) => revision < first), ...kept]);
  }

  /** Whether this is still the stream that was opened, with all that it confirmed. Repeated calls share one answer. */
  check(): Promise<void> {
    this.#checking ??= this.#check().finally(() => {
      this.#checking = undefined;
    });
    return this.#checking;
  }

  close(): Promise<void> {
    return this.#writer.close();
  }

  async #publish(publish: Publish): Promise<WriteOutcome> {
    if (this.#lost !== undefined) return { kind: "refused", reason: "fenced", detail: this.#lost };
    const outcome = await this.#writer.write(publish);
    if (outcome.kind === "written" && outcome.revision > this.#highestConfirmed) {
      this.#highestConfirmed = outcome.revision;
      if (outcome.revision > this.#floor) this.#floor = outcome.revision;
    }
    return outcome;
  }

  async #knock(untilMs: number): Promise<void> {
    const probe = {
      subject: subjectOf(this.bucket, probeKey),
      data: new Uint8Array(0),
      expect: impossible,
      headers: [],
    };
    while (this.#lost === undefined && this.#clock.monotonic() < untilMs) {
      const outcome = await this.#writer.write(probe);
      if (outcome.kind === "conflict") return;
      await this.#pause(readyEveryMs);
    }
  }

  async #ownPurge(key: string): Promise<Revision | undefined> {
    try {
      const message = await this.#api.lastOf(this.stream, subjectOf(this.bucket, key));
      if (message === undefined) return undefined;
      const raw = rawOf(this.bucket, message);
      return entryOf(raw) === undefined ? raw.revision : undefined;
    } catch {
      return undefined; // then it stays a conflict, and whoever writes reads for itself
    }
  }

  async #revisions(
    stream: string,
    key: string,
    revisionOf: (message: { readonly revision: Revision }, header: (name: string) => string | undefined) => Revision,
  ): Promise<(StoredEntry & { readonly isPurge: boolean })[]> {
    const entries: (StoredEntry & { readonly isPurge: boolean })[] = [];
    const subject = subjectOf(this.bucket, key);
    for (let seq = 1; entries.length < longestHistory; ) {
      const message = await this.#api.nextOf(stream, subject, seq);
      if (message === undefined) break;
      seq = message.seq + 1;
      const raw = rawOf(this.bucket, message);
      const entry = entryOf(raw);
      const revision = revisionOf(raw, raw.header);
      entries.push(
        entry === undefined
          ? { key, value: "", revision, header: undefined, isPurge: true }
          : { ...entry, revision, isPurge: false },
      );
    }
    return entries;
  }

  /** A server that has just become the leader may be behind for a moment: a lower read alone is repeated. */
  async #check(): Promise<void> {
    const before = this.#highestConfirmed;
    let lower = 0;
    for (;;) {
      const info = await this.#api.streamInfo(this.stream);
      if (info === undefined) return this.#lose("replaced", `the bucket ${this.bucket} is gone`);
      if (info.created !== this.created) {
        return this.#lose(
          "replaced",
          `the bucket ${this.bucket} was made anew at ${info.created}; this process had opened that of ${this.created}: if a backup was restored, start it again`,
        );
      }
      if (info.state.last_seq >= before) {
        this.#floor = Math.max(this.#floor, info.state.last_seq);
        return;
      }
      if (++lower >= lowerReads) {
        return this.#lose(
          "wentBack",
          `the bucket ${this.bucket} ends at ${info.state.last_seq} although it had confirmed ${before}: it lost writes`,
        );
      }
      await this.#pause(lowerReadMs);
    }
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => void this.#clock.after(delayMs, resolve));
  }

  #lose(reason: LostReason, detail: string): void {
    if (this.#lost !== undefined) return;
    this.#lost = detail;
    this.#writer.abandon(detail);
    this.#onLost(reason, detail);
  }
}

const sourceHeader = "Nats-Stream-Source";

/** `<stream> <sequence> …` in the header of a message that was copied from another stream. */
function originOf(header: string | undefined): Revision {
  return Number((header ?? "").split(" ")[1] ?? 0);
}

/** A purge ends what was before: the key begins a new life after it. */
function sinceLastPurge(entries: readonly (StoredEntry & { readonly isPurge: boolean })[]): StoredEntry[] {
  const last = entries.findLastIndex(({ isPurge }) => isPurge);
  return entries.slice(last + 1).map(({ isPurge: _, ...entry }) => entry);
}
