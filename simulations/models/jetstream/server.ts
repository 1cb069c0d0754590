/**
 * A NATS server (or three that act as one) as its clients meet it: subjects, JetStream's API, streams, consumers, and
 * the moments at which it loses, forgets or repeats something. Everything happens at the moment at which it arrives
 * here; delays and losses on the way are the connection's (connection.ts). Start reading at `receive`.
 */
import { type KeysOf, refuseUnknown } from "../../../runtime/options.ts";
import type { DiceTable, RangeMs } from "../../world/dice.ts";
import { type Batch, batchIn, judgeBatch, takeIntoBatch } from "./batch.ts";
import { type ApiLevel, refusalOf, type StreamSettings, settingsOf } from "./config.ts";
import { type ConsumerConfig, ConsumerModel } from "./consumer.ts";
import { type ApiError, apiErrors } from "./errors.ts";
import { directGet, messageGet, type StoredAnswer } from "./reading.ts";
import { names, nothingUnderWay, type Published, type Stored, StreamModel, type UnderWay } from "./stream.ts";
import { bytesOf, fieldOf, instantOf, matchesSubject, noBytes, overlap, textOf, type WireMessage } from "./wire.ts";

export type ServerSettings = {
  /** Such as "2.15.1". */
  readonly version: string;
  /** 1, or 3 that hold replicas. */
  readonly servers?: number;
  /** `sync_interval: always`. */
  readonly synced?: boolean;
  /** How long a write lies in memory alone, without it. */
  readonly syncEveryMs?: number;
  /** What all streams together may take. */
  readonly maxStoreBytes?: number;
  /** From a write's arrival at a replicated stream to its commit. */
  readonly commitMs?: RangeMs;
  readonly maxPayload?: number;
};

const serverSettings: KeysOf<ServerSettings> = {
  version: true,
  servers: true,
  synced: true,
  syncEveryMs: true,
  maxStoreBytes: true,
  commitMs: true,
  maxPayload: true,
};

export type ServerPorts = {
  /** The server's wall clock. */
  readonly nowMs: () => number;
  readonly after: (delayMs: number, label: string, run: () => void, background: boolean) => () => void;
  readonly dice: DiceTable;
  readonly note: (text: string) => void;
};

/** One connection as the server sees it. */
export type Client = {
  readonly deliver: (message: WireMessage, subscription: number) => void;
  /** The server is gone, or has closed this connection. */
  readonly closed: () => void;
};

type Subscription = { readonly client: Client; readonly id: number; readonly pattern: string };

/** What replicas have not agreed on yet. */
type Proposal = {
  readonly messages: readonly Published[];
  readonly acknowledge: (stored: readonly Stored[]) => void;
  readonly refuse: (error: ApiError) => void;
  readonly cancel: () => void;
  isDue: boolean;
};

type Hosted = {
  readonly model: StreamModel;
  readonly consumers: Map<string, ConsumerModel>;
  readonly batches: Map<string, Batch>;
  readonly underWay: Set<Proposal>;
  /** The message that each subject had before its last one: what a replica that is behind still answers with. */
  readonly previous: Map<string, Stored>;
  leaderless: boolean;
};

export class ServerModel {
  readonly settings: Required<ServerSettings>;
  readonly level: ApiLevel;
  /** How often a direct get of a replicated stream is answered by a replica that is behind. */
  staleReads = 0;
  /** For judges: told of every message that a stream has taken. */
  onStored: ((stream: string, stored: Stored) => void) | undefined;
  readonly #ports: ServerPorts;
  readonly #streams = new Map<string, Hosted>();
  readonly #subscriptions = new Set<Subscription>();
  #isUp = true;

  constructor(settings: ServerSettings, ports: ServerPorts) {
    refuseUnknown("settings of ServerModel", settings, serverSettings, RangeError);
    this.settings = {
      servers: 1,
      synced: false,
      syncEveryMs: 120_000,
      maxStoreBytes: Number.POSITIVE_INFINITY,
      commitMs: [0.2, 2],
      maxPayload: 1_048_576,
      ...settings,
    };
    this.level = levelOf(settings.version);
    this.#ports = ports;
    if (!this.settings.synced) this.#syncLater();
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  /** For judges: what a stream really holds. */
  stream(name: string): StreamModel | undefined {
    return this.#streams.get(name)?.model;
  }

  get streams(): readonly StreamModel[] {
    return [...this.#streams.values()].map(({ model }) => model);
  }

  // ---- connections ----

  subscribe(client: Client, id: number, pattern: string): void {
    this.#subscriptions.add({ client, id, pattern });
  }

  unsubscribe(client: Client, id: number): void {
    for (const one of this.#subscriptions) if (one.client === client && one.id === id) this.#subscriptions.delete(one);
  }

  disconnect(client: Client): void {
    for (const one of this.#subscriptions) if (one.client === client) this.#subscriptions.delete(one);
  }

  /** One message of a client, at the moment at which it arrives. */
  receive(message: WireMessage): void {
    if (!this.#isUp) return;
    const { subject, reply } = message;
    const isHeard = this.#deliver(message);
    if (subject.startsWith("$JS.FC.")) return this.#flowControlled(subject);
    const isTaken = subject.startsWith("$JS.API.") ? this.#call(subject.slice(8), message) : this.#store(message);
    if (!isHeard && !isTaken && reply !== undefined)
      this.#deliver({
        subject: reply,
        status: { code: 503, text: "No Responders" },
        fields: this.level >= 1 ? [["Nats-Subject", subject]] : [],
        data: noBytes,
      });
  }

  #deliver(message: WireMessage): boolean {
    let isHeard = false;
    for (const { client, id, pattern } of [...this.#subscriptions]) {
      if (!matchesSubject(pattern, message.subject)) continue;
      isHeard = true;
      client.deliver(message, id);
    }
    return isHeard;
  }

  #answer(reply: string | undefined, answer: unknown): void {
    if (reply === undefined) return;
    this.#deliver({ subject: reply, fields: [], data: bytesOf(JSON.stringify(answer)) });
  }

  // ---- what can happen to a server ----

  /** Its processes end and start again: nothing acknowledged is lost, connections and consumers are. */
  restart(downMs: number): void {
    this.#stop("restart");
    this.#ports.after(downMs, "nats restarts", () => this.#start(), false);
  }

  /** As a restart, and what was not on the disk is lost from some point on, also what was acknowledged. */
  losePower(downMs: number): void {
    this.#stop("power loss");
    for (const [name, { model }] of this.#streams) {
      const lost = model.losePower(this.#ports.dice.at(`nats/${name}/power`));
      if (lost > 0) this.#ports.note(`nats ${name} lost ${lost} changes that were not on the disk`);
    }
    this.#ports.after(downMs, "nats starts after a power loss", () => this.#start(), false);
  }

  /** Another server leads a replicated stream: what was under way is stored or not, and nobody hears of it. */
  changeLeader(name: string, forMs: number): void {
    const hosted = this.#streams.get(name);
    if (hosted?.model.isReplicated !== true) return;
    this.#ports.note(`nats ${name} has no leader for ${forMs} ms`);
    hosted.leaderless = true;
    this.#settleUnderWay(name, hosted);
    hosted.model.changeLeader();
    const dice = this.#ports.dice.at(`nats/${name}/leader`);
    for (const [consumer, model] of hosted.consumers) {
      // A consumer in memory lives on one server, which may be the one that fell.
      if (!dice.chance(0.5)) continue;
      model.end();
      hosted.consumers.delete(consumer);
    }
    this.#ports.after(
      forMs,
      `nats ${name} has a leader`,
      () => {
        hosted.leaderless = false;
        for (const consumer of hosted.consumers.values()) consumer.pump();
      },
      false,
    );
  }

  #stop(why: string): void {
    this.#ports.note(`nats ${why}`);
    this.#isUp = false;
    for (const [name, hosted] of this.#streams) {
      this.#settleUnderWay(name, hosted);
      for (const consumer of hosted.consumers.values()) consumer.end();
      hosted.consumers.clear();
      hosted.batches.clear();
    }
    const clients = new Set([...this.#subscriptions].map(({ client }) => client));
    this.#subscriptions.clear();
    for (const client of clients) client.closed();
  }

  #start(): void {
    this.#isUp = true;
    this.#ports.note("nats is up");
    for (const [name, { model }] of this.#streams) model.restart(this.#ports.dice.at(`nats/${name}/restart`));
  }

  /** Without a leader, what was proposed is decided by whoever leads next. */
  #settleUnderWay(name: string, hosted: Hosted): void {
    const dice = this.#ports.dice.at(`nats/${name}/under-way`);
    // In the order of the log: once one is missing, none after it is there.
    let isStored = true;
    const proposals = [...hosted.underWay];
    hosted.underWay.clear();
    for (const { cancel, messages } of proposals) {
      cancel();
      isStored &&= dice.chance(0.5);
      if (isStored && this.#refusalInLog(hosted, messages) === undefined) this.#append(hosted, messages);
    }
  }

  #syncLater(): void {
    this.#ports.after(
      this.settings.syncEveryMs,
      "nats syncs its files",
      () => {
        for (const { model } of this.#streams.values()) model.sync();
        this.#syncLater();
      },
      true,
    );
  }

  // ---- messages for streams ----

  #hostOf(subject: string): Hosted | undefined {
    for (const hosted of this.#streams.values())
      if (hosted.model.settings.subjects.some((pattern) => matchesSubject(pattern, subject))) return hosted;
    return undefined;
  }

  /** Whether there was a stream to take it. */
  #store(message: WireMessage): boolean {
    const hosted = this.#hostOf(message.subject);
    if (hosted === undefined || hosted.leaderless) return false;
    const { model } = hosted;
    this.#expire(hosted);
    const { name } = model.settings;
    const answer = (outcome: object) => this.#answer(message.reply, outcome);
    const refuse = (error: ApiError) => {
      // Before 2.11 this one is logged by the server and told to nobody.
      if (this.level === 0 && error.description.startsWith("rollup value invalid")) return;
      answer({ error, stream: name, seq: 0 });
    };
    const batch = this.level >= 2 ? batchIn(message.fields) : undefined;
    if (batch !== undefined) {
      const taken = takeIntoBatch(hosted.batches, model.settings, batch, message);
      if (taken.kind === "refused") refuse(taken.error);
      // The first messages of a batch are answered with nothing.
      if (taken.kind === "waiting") this.#answerEmpty(message.reply);
      if (taken.kind !== "whole") return true;
      const judged = judgeBatch(model, taken.messages, this.#underWay(hosted), this.#ports.nowMs(), this.#room());
      if (judged.kind === "refused") refuse(judged.error);
      else
        this.#propose(hosted, judged.messages, refuse, (stored) =>
          answer({ stream: name, seq: stored.at(-1)?.seq, batch: batch.id, count: stored.length }),
        );
      return true;
    }
    const verdict = model.judge(message, this.#underWay(hosted), this.#ports.nowMs(), this.#room());
    switch (verdict.kind) {
      case "duplicate":
        answer({ stream: name, seq: verdict.seq, duplicate: true });
        return true;
      case "refused":
        refuse(verdict.error);
        return true;
      case "store":
        this.#propose(hosted, [message], refuse, ([stored]) => answer({ stream: name, seq: stored?.seq }));
        return true;
    }
  }

  #answerEmpty(reply: string | undefined): void {
    if (reply !== undefined) this.#deliver({ subject: reply, fields: [], data: noBytes });
  }

  /** Stores it now, or when the replicas agree. */
  #propose(
    hosted: Hosted,
    messages: readonly Published[],
    refuse: Proposal["refuse"],
    acknowledge: Proposal["acknowledge"],
  ): void {
    const plain = messages.map(({ subject, fields, data }) => ({ subject, fields, data }));
    if (!hosted.model.isReplicated) return acknowledge(this.#append(hosted, plain));
    const { name } = hosted.model.settings;
    const commitMs = this.#ports.dice.at(`nats/${name}/commit`).ms(this.settings.commitMs);
    const due = () => {
      proposal.isDue = true;
      this.#commitDue(hosted);
    };
    const cancel = this.#ports.after(commitMs, `nats ${name} commits`, due, false);
    const proposal: Proposal = { messages: plain, acknowledge, refuse, cancel, isDue: false };
    hosted.underWay.add(proposal);
  }

  /** One log: nothing is committed before what was proposed before it. */
  #commitDue(hosted: Hosted): void {
    for (const proposal of [...hosted.underWay]) {
      if (!proposal.isDue) return;
      hosted.underWay.delete(proposal);
      const { messages, acknowledge, refuse } = proposal;
      const error = this.#refusalInLog(hosted, messages);
      if (error === undefined) acknowledge(this.#append(hosted, messages));
      else refuse(error);
    }
  }

  #refusalInLog({ model }: Hosted, messages: readonly Published[]): ApiError | undefined {
    for (const message of messages) {
      const error = model.refusalInLog(message, this.#room());
      if (error !== undefined) return error;
    }
    return undefined;
  }

  #append(hosted: Hosted, messages: readonly Published[]): readonly Stored[] {
    const { model } = hosted;
    const nowMs = this.#ports.nowMs();
    for (const { subject } of messages) {
      const last = model.lastOf(subject);
      if (last !== undefined) hosted.previous.set(subject, last);
    }
    const [first] = messages;
    const stored =
      messages.length === 1 && first !== undefined ? [model.append(first, nowMs)] : model.appendAll(messages, nowMs);
    if (this.settings.synced) model.sync();
    if (this.onStored !== undefined) for (const one of stored) this.onStored(model.settings.name, one);
    this.#afterwards(hosted, stored);
    return stored;
  }

  /** Consumers, copies and expiries of what was just stored. */
  #afterwards(hosted: Hosted, stored: readonly Stored[]): void {
    for (const consumer of hosted.consumers.values()) consumer.pump();
    const { name } = hosted.model.settings;
    for (const other of this.#streams.values()) {
      if (other.model.settings.sources?.some((source) => source.name === name) !== true) continue;
      const delayMs = this.#ports.dice.at(`nats/${name}/source`).ms([0.5, 20]);
      this.#ports.after(delayMs, `nats ${name} is copied`, () => this.#copy(hosted, other), false);
    }
    for (const { expiresMs } of stored) {
      if (expiresMs === undefined) continue;
      const inMs = Math.max(0, expiresMs - this.#ports.nowMs());
      this.#ports.after(inMs, `nats ${name} expires`, () => this.#expire(hosted), true);
    }
  }

  /** What is still there of a source and has not been copied: a gap stays where it was overwritten before. */
  #copy(from: Hosted, to: Hosted): void {
    const source = from.model.settings.name;
    let last = 0;
    for (const stored of to.model.lastOfEach([">"])) {
      const [name, seq] = (fieldOf(stored.fields, "Nats-Stream-Source") ?? "").split(" ");
      if (name === source) last = Math.max(last, Number(seq));
    }
    for (let next = from.model.nextOf([">"], last + 1); next !== undefined; next = from.model.nextOf([">"], last + 1)) {
      last = next.seq;
      const fields = next.fields.filter(([name]) => !name.startsWith("Nats-Expected-"));
      this.#append(to, [
        {
          subject: next.subject,
          data: next.data,
          fields: [...fields, ["Nats-Stream-Source", `${source} ${next.seq} > > ${next.subject}`]],
        },
      ]);
    }
  }

  #expire(hosted: Hosted): void {
    const markers = hosted.model.expire(this.#ports.nowMs());
    if (markers.length > 0) this.#afterwards(hosted, markers);
  }

  #underWay(hosted: Hosted): UnderWay {
    if (hosted.underWay.size === 0) return nothingUnderWay;
    const messages = [...hosted.underWay].flatMap((proposal) => proposal.messages);
    const expecting = messages.filter(({ fields }) => fieldOf(fields, names.lastOfSubject) !== undefined);
    return {
      subjects: new Set(messages.map(({ subject }) => subject)),
      ids: new Set(messages.flatMap(({ fields }) => fieldOf(fields, names.messageId) ?? [])),
      checked: new Set(expecting.map(({ subject, fields }) => fieldOf(fields, names.ofSubject) ?? subject)),
    };
  }

  #room(): number {
    let used = 0;
    for (const { model } of this.#streams.values()) used += model.bytes;
    return this.settings.maxStoreBytes - used;
  }

  // ---- the API ----

  #call(call: string, message: WireMessage): boolean {
    const { reply } = message;
    const words = call.split(".");
    const [area, verb] = words;
    let ask: Record<string, unknown>;
    try {
      ask = message.data.length === 0 ? {} : (JSON.parse(textOf(message.data)) as Record<string, unknown>);
    } catch {
      this.#answer(reply, { error: apiErrors.badRequest });
      return true;
    }
    if (area === "DIRECT" && verb === "GET") return this.#direct(words, ask, reply);
    const name = words[area === "STREAM" && verb === "MSG" ? 3 : 2] ?? "";
    const hosted = this.#streams.get(name);
    if (area === "STREAM" && verb === "CREATE") {
      this.#answer(reply, this.#createStream(ask));
      return true;
    }
    if (hosted === undefined) {
      const paging = area === "STREAM" && verb === "INFO" ? { total: 0, offset: 0, limit: 0 } : {};
      this.#answer(reply, { error: apiErrors.streamNotFound, ...paging });
    }
    if (hosted !== undefined && !hosted.leaderless) {
      this.#expire(hosted);
      this.#answer(reply, this.#asked(hosted, words, ask));
    }
    return true;
  }

  #asked(hosted: Hosted, words: readonly string[], ask: Record<string, unknown>): unknown {
    const { model } = hosted;
    switch (words.slice(0, words[1] === "MSG" ? 3 : 2).join(".")) {
      case "STREAM.INFO":
        return this.#info(hosted, ask);
      case "STREAM.UPDATE":
        model.settings = settingsOf({ ...ask, name: model.settings.name }, this.level);
        return this.#info(hosted, {}, true);
      case "STREAM.DELETE":
        for (const consumer of hosted.consumers.values()) consumer.end();
        this.#streams.delete(model.settings.name);
        return { success: true };
      case "STREAM.PURGE": {
        if (model.settings.deny_purge) return { error: apiErrors.purgeFailed("stream purge not permitted") };
        const { filter, keep, seq } = ask as { filter?: string; keep?: number; seq?: number };
        return { success: true, purged: model.purge(filter, keep ?? 0, seq) };
      }
      case "STREAM.MSG.GET":
        return messageGet(model, ask);
      case "STREAM.MSG.DELETE":
        return { error: apiErrors.deleteFailed("message delete not permitted") };
      case "CONSUMER.CREATE":
        return this.#createConsumer(hosted, ask);
      case "CONSUMER.DELETE": {
        const consumer = hosted.consumers.get(words[3] ?? "");
        if (consumer === undefined) return { error: apiErrors.consumerNotFound };
        consumer.end();
        hosted.consumers.delete(consumer.config.name);
        return { success: true };
      }
      default:
        return { error: apiErrors.badRequest };
    }
  }

  #createStream(ask: Record<string, unknown>): unknown {
    const settings: StreamSettings = settingsOf(ask, this.level);
    const others = [...this.#streams.values()].map(({ model }) => model.settings);
    const error = refusalOf(settings, others, this.settings.servers);
    if (error !== undefined) return { error };
    const found = this.#streams.get(settings.name);
    if (found !== undefined) return this.#info(found, {}, true);
    const model = new StreamModel(settings, this.level, this.#ports.nowMs());
    const hosted: Hosted = {
      model,
      consumers: new Map(),
      batches: new Map(),
      underWay: new Set(),
      previous: new Map(),
      leaderless: false,
    };
    this.#streams.set(settings.name, hosted);
    for (const { name } of settings.sources ?? []) {
      const source = this.#streams.get(name);
      if (source !== undefined) this.#ports.after(1, `nats ${name} is copied`, () => this.#copy(source, hosted), false);
    }
    return { ...this.#info(hosted, {}, true), did_create: true };
  }

  #info({ model, consumers }: Hosted, ask: Record<string, unknown>, isCreated = false): object {
    const counts = typeof ask.subjects_filter === "string" ? model.countsBySubject(ask.subjects_filter) : undefined;
    const offset = Number(ask.offset ?? 0);
    const limit = 100_000;
    const total = counts?.size ?? 0;
    const paging = isCreated ? {} : { total, offset: total > 0 ? offset : 0, limit: total > 0 ? limit : 0 };
    const deleted = model.lastSeq < model.firstSeq ? 0 : model.lastSeq - model.firstSeq + 1 - model.size;
    const subjects = counts && [...counts].sort(([a], [b]) => (a < b ? -1 : 1)).slice(offset, offset + limit);
    return {
      config: model.settings,
      created: instantOf(model.createdMs),
      state: {
        messages: model.size,
        bytes: model.bytes,
        first_seq: model.firstSeq,
        last_seq: model.lastSeq,
        last_ts: instantOf(model.lastAtMs),
        ...(model.size > 0 && deleted > 0 && { num_deleted: deleted }),
        ...(model.subjectCount > 0 && { num_subjects: model.subjectCount }),
        consumer_count: consumers.size,
        ...(subjects !== undefined && subjects.length > 0 && { subjects: Object.fromEntries(subjects) }),
      },
      ts: instantOf(this.#ports.nowMs()),
      ...paging,
    };
  }

  #createConsumer(hosted: Hosted, ask: Record<string, unknown>): unknown {
    const config = ask.config as ConsumerConfig | undefined;
    if (config === undefined) return { error: apiErrors.consumerConfigRequired };
    const filters = config.filter_subjects ?? [];
    const overlaps = filters.some((one, index) => filters.slice(index + 1).some((other) => overlap(one, other)));
    if (overlaps) return { error: apiErrors.filtersOverlap };
    const { max_consumers } = hosted.model.settings;
    if (max_consumers > 0 && hosted.consumers.size >= max_consumers) return { error: apiErrors.maxConsumers };
    const known = hosted.consumers.get(config.name);
    if (known !== undefined && JSON.stringify(known.config) !== JSON.stringify(config))
      return { error: apiErrors.consumerUpdate("deliver policy") };
    known?.end();
    const consumer = new ConsumerModel(hosted.model, config, {
      nowMs: this.#ports.nowMs,
      after: (delayMs, run) => this.#ports.after(delayMs, `nats heartbeat ${config.name}`, run, true),
      deliver: (message) => this.#deliver(message),
      ended: () => void hosted.consumers.delete(config.name),
    });
    hosted.consumers.set(config.name, consumer);
    // The answer goes before the first delivery.
    this.#ports.after(0, `nats ${config.name} begins`, () => consumer.pump(), false);
    return { stream_name: hosted.model.settings.name, name: config.name, config };
  }

  #flowControlled(subject: string): void {
    for (const { consumers } of this.#streams.values())
      for (const consumer of consumers.values()) if (consumer.isWaitingFor === subject) consumer.answered(subject);
  }

  #direct(words: readonly string[], ask: Record<string, unknown>, reply: string | undefined): boolean {
    const hosted = this.#streams.get(words[2] ?? "");
    if (hosted === undefined || !hosted.model.settings.allow_direct) return false;
    this.#expire(hosted);
    const subject = words.length > 3 ? words.slice(3).join(".") : undefined;
    const isStale = hosted.model.isReplicated && this.#ports.dice.at(`nats/${words[2]}/stale`).chance(this.staleReads);
    const answers: readonly StoredAnswer[] = directGet(
      hosted.model,
      subject === undefined ? ask : { last_by_subj: subject },
      this.level,
      isStale ? hosted.previous : undefined,
    );
    if (reply !== undefined) for (const answer of answers) this.#deliver({ subject: reply, ...answer });
    return true;
  }
}

function levelOf(version: string): ApiLevel {
  const [, minor = 0] = version.split(".").map(Number);
  return Math.max(0, minor - 10);
}
