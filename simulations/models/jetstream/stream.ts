/**
 * One stream as its leader has it: messages by sequence and by subject, the table of message ids, and what of it is on
 * the disk. It judges a message, and stores one; when that happens, and who hears of it, is its server's business.
 */
import type { Dice } from "../../world/dice.ts";
import type { ApiLevel, StreamSettings } from "./config.ts";
import { type ApiError, apiErrors } from "./errors.ts";
import { bytesOf, type Fields, fieldOf, headerBlock, matchesSubject } from "./wire.ts";

export type Published = { readonly subject: string; readonly fields: Fields; readonly data: Uint8Array };

export type Stored = Published & {
  readonly seq: number;
  readonly atMs: number;
  readonly expiresMs: number | undefined;
};

export type Verdict =
  | { readonly kind: "store" }
  | { readonly kind: "duplicate"; readonly seq: number }
  | { readonly kind: "refused"; readonly error: ApiError };

/** What is on its way into the stream and not in it: on a replicated stream, or earlier in the same batch. */
export type UnderWay = {
  readonly subjects: ReadonlySet<string>;
  readonly ids: ReadonlySet<string>;
  /** Subjects that a check of a message under way is about. */
  readonly checked: ReadonlySet<string>;
  /** Those before it in its batch. */
  readonly messages?: readonly Published[];
};

export const nothingUnderWay: UnderWay = { subjects: new Set(), ids: new Set(), checked: new Set() };

export const names = {
  messageId: "Nats-Msg-Id",
  stream: "Nats-Expected-Stream",
  lastSequence: "Nats-Expected-Last-Sequence",
  lastMessageId: "Nats-Expected-Last-Msg-Id",
  lastOfSubject: "Nats-Expected-Last-Subject-Sequence",
  ofSubject: "Nats-Expected-Last-Subject-Sequence-Subject",
  rollup: "Nats-Rollup",
  ttl: "Nats-TTL",
  marker: "Nats-Marker-Reason",
} as const;

const largestHeader = 64 * 1024;

export class StreamModel {
  settings: StreamSettings;
  readonly createdMs: number;
  readonly #level: ApiLevel;
  #messages = new Map<number, Stored>();
  readonly #bySubject = new Map<string, number[]>();
  readonly #ids = new Map<string, { readonly seq: number; readonly atMs: number }>();
  #idsAreLost = false;
  #lastSeq = 0;
  #lastAtMs = 0;
  #lastId = "";
  #bytes = 0;
  /** Nothing expires before. */
  #nextExpiryMs = Number.POSITIVE_INFINITY;
  /** Of all that was ever stored: what is put back lies below it, and must find its place. */
  #highestSeq = 0;
  /** What purges and rollups removed since the last sync: a killed server may have it again. */
  #purged: Stored[] = [];
  /** How each change since the last sync is taken back, oldest first. */
  #unsynced: (() => void)[] = [];

  constructor(settings: StreamSettings, level: ApiLevel, createdMs: number) {
    this.settings = settings;
    this.#level = level;
    this.createdMs = createdMs;
  }

  get lastSeq(): number {
    return this.#lastSeq;
  }

  get lastAtMs(): number {
    return this.#lastAtMs;
  }

  get firstSeq(): number {
    const first = this.#messages.keys().next().value;
    return first ?? (this.#lastSeq === 0 ? 0 : this.#lastSeq + 1);
  }

  get bytes(): number {
    return this.#bytes;
  }

  get size(): number {
    return this.#messages.size;
  }

  get isReplicated(): boolean {
    return this.settings.num_replicas > 1;
  }

  // ---- judging ----

  /** Whether a message is stored, and if not, why; in the order in which a server of this version looks. */
  judge(message: Published, underWay: UnderWay, nowMs: number, roomBytes: number): Verdict {
    const { fields } = message;
    const stream = fieldOf(fields, names.stream);
    if (stream !== undefined && stream !== this.settings.name) return refused(apiErrors.streamMismatch);
    if (this.#level === 0 && this.isReplicated) return this.#judgeBeforeLog(message, nowMs);
    // A lone server looks at the expectations before it looks for a repetition from 2.12 on (reference: fact 1).
    const checksFirst = this.#level >= 2 && !this.isReplicated;
    const early = checksFirst ? this.#expectations(message, underWay) : undefined;
    if (early !== undefined) return refused(early);
    const id = fieldOf(fields, names.messageId);
    if (id !== undefined && id !== "") {
      this.#forgetIds(nowMs);
      const known = this.#ids.get(id);
      if (known !== undefined) return { kind: "duplicate", seq: known.seq };
      if (underWay.ids.has(id)) return refused(apiErrors.duplicateInFlight);
    }
    const late =
      (checksFirst ? undefined : this.#expectations(message, underWay)) ??
      this.#shape(message) ??
      this.#room(message, underWay.messages, roomBytes);
    return late === undefined ? { kind: "store" } : refused(late);
  }

  /**
   * 2.10's replicas: before it asks the log, the leader looks at an expectation only if that is not above the stream's
   * last sequence, and notes the message id; whatever the log then refuses stays noted, with no sequence.
   */
  #judgeBeforeLog(message: Published, nowMs: number): Verdict {
    const expected = numberIn(fieldOf(message.fields, names.lastOfSubject));
    const isEarly = expected !== undefined && expected <= this.#lastSeq;
    const error = this.#size(message) ?? (isEarly ? this.#expectedOfSubject(message, nothingUnderWay) : undefined);
    if (error !== undefined) return refused(error);
    const id = fieldOf(message.fields, names.messageId);
    if (id === undefined || id === "") return { kind: "store" };
    this.#forgetIds(nowMs);
    const known = this.#ids.get(id);
    if (known !== undefined) return { kind: "duplicate", seq: known.seq };
    this.#ids.set(id, { seq: 0, atMs: nowMs });
    return { kind: "store" };
  }

  /** What 2.10's replicas judge only when it is the message's turn in their log. */
  refusalInLog(message: Published, roomBytes: number): ApiError | undefined {
    if (this.#level > 0 || !this.isReplicated) return undefined;
    return (
      this.#expectations(message, nothingUnderWay) ?? this.#shape(message) ?? this.#room(message, undefined, roomBytes)
    );
  }

  /** Another leader knows the ids that are stored, and not what the last one noted beside them. */
  changeLeader(): void {
    for (const [id, { seq }] of this.#ids) if (seq === 0) this.#ids.delete(id);
  }

  #expectations(message: Published, underWay: UnderWay): ApiError | undefined {
    const { fields } = message;
    const lastSequence = numberIn(fieldOf(fields, names.lastSequence));
    if (lastSequence !== undefined && lastSequence !== this.#lastSeq) return apiErrors.wrongLastSequence(this.#lastSeq);
    const lastId = fieldOf(fields, names.lastMessageId);
    // Who asks for the last id, where none is known, makes the server look for all of them.
    if (lastId !== undefined && this.#lastId === "" && this.#idsAreLost) this.#remakeIds();
    if (lastId !== undefined && lastId !== this.#lastId) return apiErrors.wrongLastMessageId(this.#lastId);
    return this.#expectedOfSubject(message, underWay);
  }

  #expectedOfSubject({ subject, fields }: Published, underWay: UnderWay): ApiError | undefined {
    const expected = numberIn(fieldOf(fields, names.lastOfSubject));
    if (expected === undefined) return undefined;
    const other = this.#level >= 1 ? fieldOf(fields, names.ofSubject) : undefined;
    const about = other === undefined || other === "" ? subject : other;
    const isUnderWay = underWay.checked.has(about) || [...underWay.subjects].some((one) => matchesSubject(about, one));
    if (isUnderWay) return apiErrors.wrongLastSequenceInFlight;
    const last = this.lastOf(about)?.seq ?? 0;
    return last === expected ? undefined : apiErrors.wrongLastSequence(last);
  }

  #shape(message: Published): ApiError | undefined {
    const { fields } = message;
    const rollup = fieldOf(fields, names.rollup);
    if (rollup !== undefined) {
      if (!this.settings.allow_rollup_hdrs || this.settings.deny_purge)
        return apiErrors.rollupFailed("rollup not permitted");
      if (rollup !== "sub" && rollup !== "all")
        return apiErrors.rollupFailed(`rollup value invalid: ${JSON.stringify(rollup)}`);
    }
    const size = this.#size(message);
    if (size !== undefined) return size;
    const ttl = this.#level >= 1 ? fieldOf(fields, names.ttl) : undefined;
    if (ttl === undefined) return undefined;
    const isOff = this.settings.allow_msg_ttl !== true;
    if (isOff && this.isReplicated) return apiErrors.ttlDisabled;
    if (ttlMsOf(ttl) === undefined) return apiErrors.ttlInvalid;
    return isOff ? apiErrors.ttlDisabled : undefined;
  }

  #size({ fields, data }: Published): ApiError | undefined {
    const headerBytes = bytesOf(headerBlock(fields)).length;
    const most = this.settings.max_msg_size;
    if (most >= 0 && headerBytes + data.length > most) return apiErrors.messageTooLarge;
    return headerBytes > largestHeader ? apiErrors.headerTooLarge : undefined;
  }

  /** Under limits that refuse what is new. In a batch, and on replicas, what a message would push out makes no room. */
  #room(message: Published, batch: readonly Published[] | undefined, roomBytes: number): ApiError | undefined {
    const { max_bytes, max_msgs, discard, max_msgs_per_subject: most } = this.settings;
    const size = storedBytes(message);
    if (size > roomBytes) return apiErrors.storageResources;
    if (discard !== "new") return undefined;
    const ofSubject = this.#bySubject.get(message.subject) ?? [];
    const oldest = this.#messages.get(ofSubject[0] ?? 0);
    const makesRoom = batch === undefined && !(this.isReplicated && this.#level >= 2);
    const isFull = makesRoom && most > 0 && ofSubject.length >= most && oldest !== undefined;
    const count = this.#messages.size + (batch?.length ?? 0);
    const bytes = this.#bytes + sum(batch ?? []);
    if (max_msgs > 0 && count >= max_msgs && !isFull) return storeFailed("maximum messages exceeded");
    // To 2.10, the limit itself is too much, and what goes must be larger than what comes.
    const slack = this.#level === 0 ? 1 : 0;
    const isTooMuch = bytes + size + slack > max_bytes;
    if (max_bytes > 0 && isTooMuch && !(isFull && storedBytes(oldest) >= size + slack))
      return storeFailed("maximum bytes exceeded");
    return undefined;
  }

  // ---- storing ----

  /** Stores what was judged, and drops what the limits and rollups of it push out. */
  append(message: Published, nowMs: number): Stored {
    const undo: (() => void)[] = [];
    const stored = this.#append(message, nowMs, undo);
    this.#unsynced.push(() => {
      for (const step of undo.reverse()) step();
    });
    return stored;
  }

  /** All of a batch is on the disk, or nothing of it. */
  appendAll(messages: readonly Published[], nowMs: number): Stored[] {
    const undo: (() => void)[] = [];
    const all = messages.map((message) => this.#append(message, nowMs, undo));
    this.#unsynced.push(() => {
      for (const step of undo.reverse()) step();
    });
    return all;
  }

  #append(message: Published, nowMs: number, undo: (() => void)[]): Stored {
    const before = { lastSeq: this.#lastSeq, lastAtMs: this.#lastAtMs, lastId: this.#lastId };
    const { ttl, fields } = this.#lifetime(message.fields);
    const ageMs = ttl ?? (this.settings.max_age > 0 ? this.settings.max_age / 1e6 : Number.POSITIVE_INFINITY);
    const expiresMs = ageMs === Number.POSITIVE_INFINITY ? undefined : nowMs + ageMs;
    const stored: Stored = { ...message, fields, seq: ++this.#lastSeq, atMs: nowMs, expiresMs };
    this.#lastAtMs = nowMs;
    this.#insert(stored);
    const id = fieldOf(message.fields, names.messageId);
    this.#lastId = id ?? "";
    if (id !== undefined && id !== "") this.#ids.set(id, { seq: stored.seq, atMs: nowMs });
    undo.push(() => {
      this.#remove(stored);
      if (id !== undefined) this.#ids.delete(id);
      this.#lastSeq = before.lastSeq;
      this.#lastAtMs = before.lastAtMs;
      this.#lastId = before.lastId;
    });
    const isRollup = fieldOf(message.fields, names.rollup) !== undefined;
    for (const old of this.#pushedOut(stored)) {
      if (isRollup) this.#purged.push(old);
      this.#remove(old);
      undo.push(() => this.#insert(old));
    }
    return stored;
  }

  /** Nothing lives shorter than the marker that is left of it: the server writes the longer time into the header. */
  #lifetime(fields: Fields): { readonly ttl: number | undefined; readonly fields: Fields } {
    const ttl = this.settings.allow_msg_ttl === true ? ttlMsOf(fieldOf(fields, names.ttl) ?? "") : undefined;
    const markerMs = (this.settings.subject_delete_marker_ttl ?? 0) / 1e6;
    // With a single message per subject nothing older could show through.
    if (ttl === undefined || ttl >= markerMs || this.settings.max_msgs_per_subject === 1) return { ttl, fields };
    const others = fields.filter(([name]) => name !== names.ttl);
    return { ttl: markerMs, fields: [...others, [names.ttl, String(markerMs / 1_000)]] };
  }

  /** By the limit of the subject, then by those of the stream, then by what the message itself asks for. */
  #pushedOut(stored: Stored): Stored[] {
    const ofSubject = (this.#bySubject.get(stored.subject) as number[]).map((seq) => this.#messages.get(seq) as Stored);
    const most = this.settings.max_msgs_per_subject;
    const over = most > 0 ? Math.max(0, ofSubject.length - most) : 0;
    const gone = new Set(ofSubject.slice(0, over));
    const { max_msgs, max_bytes, discard } = this.settings;
    let [count, bytes] = [this.#messages.size - gone.size, this.#bytes - sum([...gone])];
    const isOver = () => (max_msgs > 0 && count > max_msgs) || (max_bytes > 0 && bytes > max_bytes);
    for (const old of this.#messages.values()) {
      if (discard === "new" || !isOver()) break;
      if (gone.has(old)) continue;
      gone.add(old);
      count--;
      bytes -= storedBytes(old);
    }
    const rollup = fieldOf(stored.fields, names.rollup);
    const rolledUp = rollup === "all" ? [...this.#messages.values()] : rollup === "sub" ? ofSubject : [];
    for (const old of rolledUp) if (old.seq !== stored.seq) gone.add(old);
    return [...gone];
  }

  /** Removes what a person (or an API call) asks for; answers how many. */
  purge(filter: string | undefined, keep: number, given: number | undefined): number {
    // To 2.10, a bound of one is no bound.
    const upTo = this.#level === 0 && given === 1 ? undefined : given;
    let gone = [...this.#messages.values()].filter(
      ({ subject, seq }) =>
        (filter === undefined || matchesSubject(filter, subject)) && (upTo === undefined || seq < upTo),
    );
    if (keep > 0) gone = gone.slice(0, -keep);
    this.#drop(gone);
    this.#purged.push(...gone);
    return gone.length;
  }

  /** What has outlived its time goes, and leaves a marker where the stream is told to leave one. */
  expire(nowMs: number): Stored[] {
    const markers: Stored[] = [];
    if (nowMs < this.#nextExpiryMs) return markers;
    const due = [...this.#messages.values()].filter(({ expiresMs }) => expiresMs !== undefined && expiresMs <= nowMs);
    for (const old of due) {
      const wasLast = this.#bySubject.get(old.subject)?.at(-1) === old.seq;
      this.#drop([old]);
      const marker = this.settings.subject_delete_marker_ttl ?? 0;
      if (!wasLast || marker <= 0 || fieldOf(old.fields, names.marker) !== undefined) continue;
      const fields: Fields = [
        [names.marker, "MaxAge"],
        [names.ttl, durationText(marker)],
        [names.rollup, "sub"],
      ];
      markers.push(this.append({ subject: old.subject, fields, data: new Uint8Array(0) }, nowMs));
    }
    this.#nextExpiryMs = Number.POSITIVE_INFINITY;
    for (const { expiresMs } of this.#messages.values())
      this.#nextExpiryMs = Math.min(this.#nextExpiryMs, expiresMs ?? Number.POSITIVE_INFINITY);
    return markers;
  }

  #drop(gone: readonly Stored[]): void {
    for (const old of gone) this.#remove(old);
    this.#unsynced.push(() => {
      for (const old of gone) this.#insert(old);
    });
  }

  #insert(stored: Stored): void {
    const isLast = stored.seq > this.#highestSeq;
    this.#messages.set(stored.seq, stored);
    if (!isLast) this.#messages = new Map([...this.#messages].sort(([a], [b]) => a - b));
    const ofSubject = this.#bySubject.get(stored.subject);
    if (ofSubject === undefined) this.#bySubject.set(stored.subject, [stored.seq]);
    else {
      ofSubject.push(stored.seq);
      ofSubject.sort((a, b) => a - b);
    }
    this.#bytes += storedBytes(stored);
    this.#nextExpiryMs = Math.min(this.#nextExpiryMs, stored.expiresMs ?? Number.POSITIVE_INFINITY);
    this.#highestSeq = Math.max(this.#highestSeq, stored.seq);
  }

  #remove(stored: Stored): void {
    if (!this.#messages.delete(stored.seq)) return;
    const ofSubject = (this.#bySubject.get(stored.subject) ?? []).filter((seq) => seq !== stored.seq);
    if (ofSubject.length === 0) this.#bySubject.delete(stored.subject);
    else this.#bySubject.set(stored.subject, ofSubject);
    this.#bytes -= storedBytes(stored);
  }

  // ---- reading ----

  get(seq: number): Stored | undefined {
    return this.#messages.get(seq);
  }

  /** The last message of a subject, or of all that a pattern names. */
  lastOf(pattern: string): Stored | undefined {
    let last = 0;
    for (const [subject, seqs] of this.#named(pattern)) {
      if (subject === undefined) continue;
      last = Math.max(last, seqs.at(-1) ?? 0);
    }
    return this.#messages.get(last);
  }

  /** The first message of those subjects at or after a sequence. */
  nextOf(patterns: readonly string[], from: number): Stored | undefined {
    const [only] = patterns;
    if (patterns.length === 1 && only !== undefined && !/[*>]/.test(only))
      return this.#messages.get(firstFrom(this.#bySubject.get(only) ?? [], from));
    for (let seq = Math.max(from, this.firstSeq); seq <= this.#lastSeq; seq++) {
      const stored = this.#messages.get(seq);
      if (stored !== undefined && patterns.some((pattern) => matchesSubject(pattern, stored.subject))) return stored;
    }
    return undefined;
  }

  /** The last message of each subject that a pattern names, in the order of sequences. */
  lastOfEach(patterns: readonly string[], upTo = Number.POSITIVE_INFINITY): Stored[] {
    const found = new Map<number, Stored>();
    for (const pattern of patterns)
      for (const [, seqs] of this.#named(pattern)) {
        const seq = seqs.findLast((one) => one <= upTo);
        const stored = seq === undefined ? undefined : this.#messages.get(seq);
        if (stored !== undefined) found.set(stored.seq, stored);
      }
    return [...found.values()].sort((a, b) => a.seq - b.seq);
  }

  countsBySubject(pattern: string): Map<string, number> {
    return new Map([...this.#named(pattern)].map(([subject, seqs]) => [subject, seqs.length]));
  }

  get subjectCount(): number {
    return this.#bySubject.size;
  }

  /** How many messages of those subjects lie at or after a sequence. */
  pendingFrom(patterns: readonly string[], from: number): number {
    const seqs = new Set<number>();
    if (from > this.#lastSeq) return 0;
    for (const pattern of patterns)
      for (const [, ofSubject] of this.#named(pattern)) for (const seq of ofSubject) if (seq >= from) seqs.add(seq);
    return seqs.size;
  }

  *#named(pattern: string): Iterable<[string, readonly number[]]> {
    if (!/[*>]/.test(pattern)) {
      const seqs = this.#bySubject.get(pattern);
      if (seqs !== undefined) yield [pattern, seqs];
      return;
    }
    for (const [subject, seqs] of this.#bySubject) if (matchesSubject(pattern, subject)) yield [subject, seqs];
  }

  // ---- the disk ----

  /** Everything so far is on the disk. */
  sync(): void {
    this.#unsynced = [];
    this.#purged = [];
  }

  /** Of what was not on the disk a beginning stays, of a length by chance; answers how many changes were lost. */
  losePower(dice: Dice): number {
    const kept = dice.whole(0, this.#unsynced.length);
    const lost = this.#unsynced.splice(kept).reverse();
    for (const undo of lost) undo();
    this.#unsynced = [];
    return lost.length;
  }

  /**
   * After a restart the table of ids is made anew from the messages that are still there (reference: fact 2), and what
   * was purged and not yet on the disk as such may be there again, below what came after it.
   */
  restart(dice: Dice): void {
    const back = dice.chance(0.5) ? this.#purged : [];
    this.#purged = [];
    for (const old of back) {
      const most = this.settings.max_msgs_per_subject;
      const count = this.#bySubject.get(old.subject)?.length ?? 0;
      if (old.seq < this.#lastSeq && !this.#messages.has(old.seq) && (most <= 0 || count < most)) this.#insert(old);
    }
    this.#idsAreLost = true;
    this.#lastId = "";
  }

  /** Made anew when it is first asked: what was overwritten between the restart and then is forgotten, too. */
  #remakeIds(): void {
    this.#ids.clear();
    for (const { seq, atMs, fields } of this.#messages.values()) {
      const id = fieldOf(fields, names.messageId);
      if (id !== undefined && id !== "") this.#ids.set(id, { seq, atMs });
      if (seq === this.#lastSeq) this.#lastId = id ?? "";
    }
    this.#idsAreLost = false;
  }

  #forgetIds(nowMs: number): void {
    if (this.#idsAreLost) this.#remakeIds();
    const windowMs = this.settings.duplicate_window / 1e6;
    for (const [id, { atMs }] of this.#ids) {
      if (nowMs - atMs < windowMs) return;
      this.#ids.delete(id);
    }
  }
}

function refused(error: ApiError): Verdict {
  return { kind: "refused", error };
}

function storeFailed(reason: string): ApiError {
  return { code: 503, err_code: 10077, description: reason };
}

function numberIn(text: string | undefined): number | undefined {
  return text === undefined || !/^\d+$/.test(text) ? undefined : Number(text);
}

/** What a message takes in a file, as the server counts. */
function storedBytes({ subject, fields, data }: Published): number {
  const header = bytesOf(headerBlock(fields)).length;
  return 30 + subject.length + data.length + (header === 0 ? 0 : 4 + header);
}

function sum(messages: readonly Published[]): number {
  return messages.reduce((total, message) => total + storedBytes(message), 0);
}

function firstFrom(seqs: readonly number[], from: number): number {
  let [low, high] = [0, seqs.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((seqs[middle] as number) < from) low = middle + 1;
    else high = middle;
  }
  return seqs[low] ?? Number.POSITIVE_INFINITY;
}

/** Milliseconds of `Nats-TTL`: whole seconds, a duration in Go's way, or "never"; undefined: not one. */
function ttlMsOf(text: string): number | undefined {
  if (text === "never") return Number.POSITIVE_INFINITY;
  if (/^\d+$/.test(text)) return Number(text) >= 1 ? Number(text) * 1_000 : undefined;
  const units: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1 };
  if (!/^(\d+(\.\d+)?(h|ms|m|s))+$/.test(text)) return undefined;
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(h|ms|m|s)/g))
    total += Number(amount) * (units[unit as string] as number);
  return total >= 1_000 ? total : undefined;
}

/** As Go prints a duration of whole seconds. */
function durationText(nanoseconds: number): string {
  const seconds = Math.floor(nanoseconds / 1e9);
  const [hours, minutes, rest] = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60, seconds % 60];
  if (hours > 0) return `${hours}h${minutes}m${rest}s`;
  return minutes > 0 ? `${minutes}m${rest}s` : `${rest}s`;
}
