/**
 * All actors of this node: finds or makes the cell of an actor, follows the leases, the index of pending work and what
 * is parked, answers requests from the bus, and stops in good order. The only place of the runtime that awaits.
 */
import { type ActorDefinition, defineActor } from "../definition.ts";
import { type Document, readDocument } from "../document.ts";
import { errorOf, type HoldfastError, StoreReplacedError, StoreWentBackError } from "../errors.ts";
import { hashText } from "../hash.ts";
import type { Settlement } from "../inbox.ts";
import { checkType, parseActorKey, pendingPrefix } from "../keys.ts";
import type { Event } from "../machine/internals.ts";
import { Tree } from "../machine/tree.ts";
import { partitionOf } from "../partition.ts";
import type { Bus, BusRequest } from "../ports/bus.ts";
import type { Cancel, Clock } from "../ports/clock.ts";
import type { Hold } from "../ports/fault-points.ts";
import type { LeaseChange, Leases } from "../ports/leases.ts";
import type { Logger } from "../ports/logger.ts";
import type { Random } from "../ports/random.ts";
import type { ActorStore, Revision, StoredEntry } from "../ports/store.ts";
import { isTraceparent, type Telemetry } from "../ports/telemetry.ts";
import type { Input } from "../step.ts";
import { Cell, type CellEnv } from "./cell.ts";
import { isOurs, pause, tokenOf } from "./commit.ts";
import { Gate } from "./gate.ts";
import { Messenger } from "./messenger.ts";
import { type Outcome, refused } from "./outcome.ts";
import { Parking } from "./parking.ts";
import { type PendingEntry, PendingSlot, readPendingEntry } from "./pending-index.ts";
import { defaultSettings, type HostSettings } from "./settings.ts";
import {
  type Body,
  channelOf,
  type MessageAnswer,
  type MessageBody,
  type RequestAnswer,
  type RequestBody,
  readBody,
  readSettlement,
} from "./wire.ts";

export type HostPorts = {
  readonly store: ActorStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly leases: Leases;
  readonly bus: Bus;
  readonly logger: Logger;
  readonly telemetry?: Telemetry | undefined;
  /** A simulator's. */
  readonly hold?: Hold | undefined;
};

export type HostCounts = {
  events: number;
  commits: number;
  conflicts: number;
  unknown: number;
  refusals: number;
  expired: number;
  deadLetters: number;
  /** Idempotency keys forgotten before their window was over, because of a bound. */
  evictedKeys: number;
};

export type HostInfo = {
  readonly counts: Readonly<HostCounts>;
  readonly hotActors: number;
  readonly pendingActors: number;
  readonly parkedActors: number;
  readonly partitionsOwned: number;
};

export class Host {
  readonly #ports: HostPorts;
  readonly #definitions: Map<string, ActorDefinition>;
  readonly #settings: HostSettings;
  readonly #cells = new Map<string, Cell>();
  /** The index of pending work, as far as listing and watching have shown it. */
  readonly #pending = new Map<string, PendingEntry>();
  readonly #parking: Parking;
  readonly #messenger: Messenger;
  readonly #cellEnv: CellEnv;
  readonly #counts: HostCounts = {
    events: 0,
    commits: 0,
    conflicts: 0,
    unknown: 0,
    refusals: 0,
    expired: 0,
    deadLetters: 0,
    evictedKeys: 0,
  };
  readonly #stops: (() => void)[] = [];
  /** Types of existing actors that this node owns and cannot run; each was complained of. */
  readonly #unknownTypes = new Set<string>();
  readonly #recoveryGate: Gate;
  #wake: Cancel | undefined;
  #wakeAtMs = Number.POSITIVE_INFINITY;
  #sweep: Cancel | undefined;
  /** The highest revision that was confirmed, by shard. */
  readonly #highest: Revision[] = [];
  /** Identity of this host's life; with a running number, of its commits. */
  readonly #life: string;
  #commits = 1;
  #relist: Cancel | undefined;
  #isListing = false;
  #mustList = false;
  #state: "new" | "running" | "draining" | "stopped" = "new";
  #failure: HoldfastError | undefined;
  #draining: Promise<void> | undefined;

  constructor(
    ports: HostPorts,
    definitions: Readonly<Record<string, ActorDefinition>>,
    settings: Partial<HostSettings> = {},
  ) {
    this.#ports = ports;
    this.#life = ports.random.id().slice(0, 12);
    this.#settings = { ...defaultSettings, ...settings };
    this.#definitions = bounded(definitions, ports.store.info.maxValueBytes);
    this.#recoveryGate = new Gate(this.#settings.recoveries);
    const { store, clock, random, logger, bus } = ports;
    const partitionOf = (key: string) => this.partitionOf(key);
    const token = (partition: number) => (this.#state === "stopped" ? undefined : ports.leases.token(partition));
    this.#parking = new Parking({
      store,
      clock,
      random,
      logger,
      settings: this.#settings,
      onChange: (actor, why) => this.#parkingChanged(actor, why),
    });
    this.#messenger = new Messenger({ bus, clock, random, logger, settings: this.#settings, partitionOf, token });
    this.#cellEnv = {
      store,
      clock,
      random,
      bus,
      logger,
      telemetry: ports.telemetry,
      hold: ports.hold,
      settings: this.#settings,
      effectGate: new Gate(this.#settings.effects),
      messenger: this.#messenger,
      parking: this.#parking,
      token,
      partition: partitionOf,
      commitId: () => `${this.#life}.${this.#commits++}`,
      confirmed: (key, sentAbove, revision) => this.#confirmed(key, sentAbove, revision),
      highestConfirmed: (key) => this.#highest[this.#shardOf(key)] ?? 0,
      fenced: (detail) => this.#fail(errorOf("Stopped", `another host has opened this store: ${detail}`)),
      left: (cell, due) => this.#left(cell, due),
      ask: (cell, senders) => this.#ask(cell, senders),
      count: (what) => {
        this.#counts[what]++;
      },
    };
  }

  // ---- life ----

  async start(): Promise<void> {
    this.#state = "running";
    const unheard = this.#ports.store.onLoss?.(({ reason, detail }) =>
      this.#fail(reason === "replaced" ? new StoreReplacedError(detail) : new StoreWentBackError(detail)),
    );
    if (unheard !== undefined) this.#stops.push(unheard);
    await this.#parking.start();
    this.#stops.push(this.#ports.leases.onChange((change) => this.#leaseChanged(change)));
    this.#stops.push(
      this.#ports.store.watch(pendingPrefix, (change) => {
        if (change.kind === "put") this.#seePending(change.entry);
        else this.#pending.delete(change.key.slice(pendingPrefix.length));
      }),
    );
    this.#stops.push(this.#ports.bus.serve((request) => this.#serve(request)));
    this.#armSweep();
    await this.#listAgain();
  }

  /** Takes no new requests, and waits until nothing runs here any more, at most this long. */
  drain(drainMs = this.#settings.drainMs): Promise<void> {
    if (this.#state === "stopped") return Promise.resolve();
    this.#state = "draining";
    const { leases } = this.#ports;
    // Other nodes take over one partition after the other; until then its requests are still answered here.
    this.#draining ??= leases.drain === undefined ? this.#drained(drainMs) : leases.drain(drainMs);
    return this.#draining;
  }

  /** Drains, aborts the rest, gives the leases back. */
  async stop(drainMs = this.#settings.drainMs): Promise<void> {
    if (this.#state === "stopped") return;
    await this.drain(drainMs);
    this.#close();
    await this.#ports.leases.release();
  }

  get isRunning(): boolean {
    return this.#state === "running";
  }

  get failure(): HoldfastError | undefined {
    return this.#failure;
  }

  info(): HostInfo {
    let owned = 0;
    for (let partition = 0; partition < this.#ports.leases.partitions; partition++) {
      if (this.#ports.leases.token(partition) !== undefined) owned++;
    }
    return {
      counts: this.#counts,
      hotActors: this.#cells.size,
      pendingActors: this.#pending.size,
      parkedActors: this.#parking.all().length,
      partitionsOwned: owned,
    };
  }

  get parking(): Parking {
    return this.#parking;
  }

  /** Takes one more type; its actors that have work pending are looked at. */
  define(type: string, definition: ActorDefinition): void {
    for (const [name, one] of bounded({ [type]: definition }, this.#ports.store.info.maxValueBytes))
      this.#definitions.set(name, one);
    this.#recoverDue();
  }

  definition(type: string): ActorDefinition | undefined {
    return this.#definitions.get(type);
  }

  partitionOf(key: string): number {
    return partitionOf(key, this.#ports.leases.partitions);
  }

  // ---- requests ----

  /** One request for one actor, answered once by this node, with its outcome or with `moved`. */
  request(key: string, input: Input, answer: (outcome: Outcome) => void, trace?: string): void {
    if (this.#failure !== undefined)
      return answer({ kind: "failed", code: this.#failure.code as "Stopped", message: this.#failure.message });
    if (this.#state !== "running")
      return answer({ kind: "failed", code: "Stopped", message: "the runtime is stopping" });
    this.#offer(key, input, answer, trace);
  }

  #offer(key: string, input: Input, answer: (outcome: Outcome) => void, trace?: string): void {
    const cell = this.#cell(key);
    if (cell === undefined) answer({ kind: "moved" });
    else cell.offer(input, answer, trace);
  }

  #asked(key: string, input: Input, trace: string | undefined): Promise<Outcome> {
    return new Promise((resolve) => this.#offer(key, input, resolve, trace));
  }

  /** Whether this node runs the actor now. */
  owns(key: string): boolean {
    const partition = this.#cells.get(key)?.partition ?? this.partitionOf(key);
    return this.#state === "running" && this.#ports.leases.token(partition) !== undefined;
  }

  /** Removes a tombstone, or with `force` whatever stands there, with its history. */
  async purge(key: string, force: boolean): Promise<Outcome> {
    const entry = await this.#ports.store.read(key);
    if (entry === undefined) return refused("NotFound", `${key} does not exist`);
    if (!force) {
      const tombstone = tombstoneIn(entry);
      if (tombstone === undefined)
        return refused("AlreadyExists", `${key} is not deleted: delete it first, or force the purge`);
      const { expires } = tombstone;
      const openUntilMs = expires === undefined ? 0 : Date.parse(expires);
      if (openUntilMs > this.#ports.clock.now()) {
        return refused(
          "AlreadyExists",
          `the tombstone of ${key} guards idempotency keys until ${expires}; force the purge to drop them`,
        );
      }
    }
    const token = this.#ports.leases.token(this.partitionOf(key));
    if (token === undefined) return { kind: "moved" };
    this.#cells.get(key)?.leaseChanged();
    const outcome = await this.#ports.store.purge(key, entry.revision, token);
    if (outcome.kind !== "written") return { kind: "unknown" };
    return { kind: "reply", reply: { kind: "receipt", receipt: { revision: 0, changed: true }, duplicate: false } };
  }

  /**
   * Lets a parked actor go on. `accept` takes a person's write as the document, and a person's deletion as the end of the
   * actor; `discard` puts the last good document back. Both also for a write that nobody has come upon yet.
   */
  async resume(key: string, mode: "retry" | "accept" | "discard"): Promise<Outcome> {
    const token = this.#ports.leases.token(this.partitionOf(key));
    if (token === undefined) return { kind: "moved" };
    const parked = this.#parking.get(key);
    if (parked === undefined && (mode === "retry" || !(await this.#isForeign(key))))
      return refused("NotFound", `${key} is not parked`);
    if (mode !== "retry") {
      const problem = await this.#settleForeign(key, mode);
      if (problem !== undefined) return refused("InvalidRequest", problem);
    }
    if (parked === undefined) {
      // What is in memory was before the person's write.
      this.#cells.get(key)?.leaseChanged();
      this.#cell(key)?.recover();
    } else await this.#parking.resume(key, token);
    return { kind: "reply", reply: { kind: "receipt", receipt: { revision: 0, changed: true }, duplicate: false } };
  }

  async #isForeign(key: string): Promise<boolean> {
    const entry = await this.#ports.store.read(key);
    return entry !== undefined && !isOurs(entry);
  }

  async #settleForeign(key: string, mode: "accept" | "discard"): Promise<string | undefined> {
    const { store, random } = this.#ports;
    const token = this.#ports.leases.token(this.partitionOf(key));
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

  // ---- cells ----

  #cell(key: string): Cell | undefined {
    const known = this.#cells.get(key);
    if (known !== undefined) return known;
    const name = parseActorKey(key);
    const definition = name && this.#definitions.get(name.type);
    if (name === undefined || definition === undefined) return undefined;
    const cell = new Cell(this.#cellEnv, key, name, definition, new PendingSlot(key, this.#pending.get(key)));
    this.#cells.set(key, cell);
    const parked = this.#parking.get(key);
    if (parked !== undefined) cell.parkingChanged(`${parked.reason}: ${parked.message}`);
    if (this.#cells.size > this.#settings.hotActors) this.#makeRoom();
    return cell;
  }

  /** A tenth of them leaves: the oldest of those that can. */
  #makeRoom(): void {
    let toLeave = Math.ceil(this.#settings.hotActors / 10);
    for (const cell of this.#cells.values()) if (cell.passivate() && --toLeave <= 0) return;
  }

  #left(cell: Cell, dueMs: number | undefined): void {
    if (this.#cells.get(cell.key) === cell) this.#cells.delete(cell.key);
    // What the cell wrote may be known here before the watch tells of it.
    const { exists, known } = cell.slot;
    if (!exists) this.#pending.delete(cell.key);
    else if (known !== undefined) this.#pending.set(cell.key, known);
    if (dueMs !== undefined) this.#wakeBy(dueMs);
    else if (exists) this.#wakeBy(this.#ports.clock.now() + this.#settings.idleMs);
  }

  #armSweep(): void {
    const everyMs = Math.max(50, this.#settings.idleMs / 2);
    this.#sweep = this.#ports.clock.after(
      everyMs,
      () => {
        const before = this.#ports.clock.monotonic() - this.#settings.idleMs;
        for (const cell of this.#cells.values()) if (cell.lastUsedMs < before) cell.passivate();
        if (this.#state === "running") this.#armSweep();
      },
      { background: true },
    );
  }

  // ---- leases ----

  #leaseChanged(change: LeaseChange): void {
    const { partition } = change;
    if (change.kind === "leaving") return this.#leave(partition, change.done);
    for (const cell of this.#cells.values()) if (cell.partition === partition) cell.leaseChanged();
    this.#lookForWork(change.kind === "granted");
  }

  /**
   * Once for all partitions that change hands at the same time. What the owner before left must not wait for our watch,
   * which may lag: it is listed, too.
   */
  #lookForWork(isGranted: boolean): void {
    this.#wakeBy(this.#ports.clock.now());
    if (!isGranted) return;
    this.#relist ??= this.#ports.clock.after(
      relistMs,
      () => {
        this.#relist = undefined;
        void this.#listAgain();
      },
      { background: true },
    );
  }

  /** Nothing is stopped: what runs comes to its end, and the next owner finds it recorded. */
  #leave(partition: number, done: () => void): void {
    for (const cell of this.#cells.values()) {
      if (cell.partition !== partition || cell.idle) continue;
      this.#ports.clock.after(leavingMs, () => this.#leave(partition, done));
      return;
    }
    done();
  }

  #parkingChanged(actor: string, why: string | undefined): void {
    const cell = this.#cells.get(actor);
    if (cell !== undefined) cell.parkingChanged(why);
    else if (why === undefined && this.owns(actor)) this.#cell(actor)?.recover();
  }

  // ---- the index of pending work ----

  /** Whoever asks while a listing is under way gets another one behind it: that one may have passed an entry by. */
  async #listAgain(): Promise<void> {
    this.#mustList = true;
    if (this.#isListing) return;
    this.#isListing = true;
    while (this.#mustList) {
      this.#mustList = false;
      await this.#listPending();
    }
    this.#isListing = false;
    this.#recoverDue();
  }

  async #listPending(): Promise<void> {
    let after: string | undefined;
    for (let waitMs = this.#settings.settleFirstMs; this.#state === "running"; ) {
      try {
        const page = await this.#ports.store.list({
          prefix: pendingPrefix,
          limit: 1_000,
          ...(after !== undefined && { after }),
        });
        for (const entry of page) this.#seePending(entry);
        if (page.length < 1_000) return;
        after = page.at(-1)?.key;
      } catch (error) {
        this.#ports.logger.warn("the index of pending work could not be listed; trying again", { error });
        await pause(this.#ports.clock, waitMs);
        waitMs = Math.min(waitMs * 2, this.#settings.settleMaxMs);
      }
    }
  }

  #seePending(entry: StoredEntry): void {
    const actor = entry.key.slice(pendingPrefix.length);
    const pending = readPendingEntry(entry) ?? { dueMs: 0, token: [0, 0] as const, revision: entry.revision };
    const known = this.#pending.get(actor);
    if (known !== undefined && known.revision >= pending.revision) return;
    this.#pending.set(actor, pending);
    this.#cells.get(actor)?.pendingSeen(pending);
    this.#wakeBy(pending.dueMs);
  }

  /** Looks at every actor that is due and not looked after in memory. */
  #recoverDue(): void {
    if (this.#state !== "running") return;
    this.#wake?.();
    this.#wake = undefined;
    this.#wakeAtMs = Number.POSITIVE_INFINITY;
    const now = this.#ports.clock.now();
    const due: [string, PendingEntry][] = [];
    for (const [actor, entry] of this.#pending) {
      if (this.#cells.get(actor)?.isLoaded) continue;
      if (entry.dueMs <= now) due.push([actor, entry]);
      else this.#wakeBy(entry.dueMs);
    }
    due.sort((a, b) => a[1].dueMs - b[1].dueMs);
    for (const [actor] of due) this.#recover(actor);
  }

  #recover(actor: string): void {
    if (!this.owns(actor) || this.#parking.get(actor) !== undefined) return;
    this.#recoveryGate.enter((leave) => {
      const cell = this.owns(actor) ? this.#cell(actor) : undefined;
      if (cell === undefined) leave();
      else cell.recover(leave);
    });
  }

  #wakeBy(dueMs: number): void {
    if (this.#state !== "running" || dueMs >= this.#wakeAtMs) return;
    this.#wake?.();
    this.#wakeAtMs = dueMs;
    const delayMs = Math.max(0, dueMs - this.#ports.clock.now());
    this.#wake = this.#ports.clock.after(delayMs, () => this.#recoverDue(), { background: true });
  }

  // ---- what the bus brings ----

  async #serve({ partition, body: text, channel, trace: given }: BusRequest): Promise<string> {
    const trace = isTraceparent(given) ? given : undefined;
    const body = readBody(text);
    if (body === undefined)
      return answer({ kind: "refused", code: "InvalidRequest", message: "the request cannot be read" });
    if (channelOf(body.op) !== channel)
      return answer({
        kind: "refused",
        code: "InvalidRequest",
        message: `${body.op} is not asked for as a ${channel}`,
      });
    if (this.#ports.leases.token(partition) === undefined || this.#state === "stopped")
      return answer({ kind: "moved" });
    // Whoever asks from another node goes on looking for an owner, unless this one still hands its partitions over.
    const isServing =
      this.#state === "running" || (this.#state === "draining" && this.#ports.leases.drain !== undefined);
    const needsHost = body.op !== "settled" && body.op !== "ask" && body.op !== "message";
    if (needsHost && !isServing) return answer({ kind: "moved" });
    switch (body.op) {
      case "message":
        return JSON.stringify(await this.#message(body, trace));
      case "settled":
        this.#cell(body.actor)?.later({ kind: "settled", settlement: body.settlement });
        return answer({ kind: "receipt", revision: 0, changed: false, duplicate: false });
      case "ask":
        return JSON.stringify((await this.#settlementFor(body)) ?? { kind: "moved" });
      case "purge":
        return answer(toAnswer(await this.purge(body.actor, body.force)));
      case "resume":
        return answer(toAnswer(await this.resume(body.actor, body.mode)));
      default:
        return answer(toAnswer(await this.#asked(body.actor, this.#inputOf(body), trace)));
    }
  }

  #inputOf(body: Exclude<RequestBody, { op: "purge" | "resume" }>): Input {
    const codec = Tree.codec({});
    switch (body.op) {
      case "create":
        return {
          kind: "create",
          key: body.key,
          input: body.input === undefined ? undefined : codec.decodeValue(body.input),
          ...(body.event !== undefined && { event: codec.decodeValue(body.event) as Event }),
        };
      case "event":
        return { kind: "event", key: body.key, event: codec.decodeValue(body.event) as Event };
      case "delete":
        return { kind: "delete", key: body.key };
      case "barrier":
        return { kind: "barrier" };
    }
  }

  async #message(body: MessageBody, trace: string | undefined): Promise<MessageAnswer> {
    if (this.#state !== "running") return { kind: "later" };
    const cell = this.#cell(body.actor);
    if (cell === undefined) return this.#messageOfUnknownType(body);
    if (body.settlement !== undefined) cell.later({ kind: "settled", settlement: body.settlement });
    const codec = Tree.codec({});
    const items = body.items.map(({ n, event }) => ({ n, event: codec.decodeValue(event) as Event }));
    const sender = { ...body.sender, partition: this.partitionOf(body.sender.key) };
    const { number, life } = body;
    const outcome = await offered(cell, { kind: "message", sender, number, life, items }, trace);
    if (outcome.kind !== "reply") return { kind: "later" };
    const { reply } = outcome;
    return reply.kind === "message" || reply.kind === "renumber" || reply.kind === "life" ? reply : { kind: "later" };
  }

  /** In a rolling deploy the type may be known to other nodes: only what does not exist makes a dead letter. */
  async #messageOfUnknownType(body: MessageBody): Promise<MessageAnswer> {
    const { store, logger } = this.#ports;
    const name = parseActorKey(body.actor);
    let exists: boolean;
    try {
      exists = name !== undefined && (await store.read(body.actor)) !== undefined;
    } catch {
      return { kind: "later" };
    }
    if (name === undefined || !exists) {
      const reason = `${body.actor} does not exist, and this node has no actor type for it`;
      return { kind: "message", upTo: 0, dead: body.items.map(({ n }) => ({ n, reason })) };
    }
    if (!this.#unknownTypes.has(name.type)) {
      this.#unknownTypes.add(name.type);
      logger.warn(
        `messages to actors of type ${name.type} wait in their senders: this node owns some of these actors and has no such type; run the version that has it`,
        { actor: body.actor },
      );
    }
    return { kind: "later" };
  }

  // ---- settling marks ----

  #ask(cell: Cell, senders: readonly { key: string; born: string; upTo: number }[]): void {
    const byPartition = new Map<number, { key: string; born: string; upTo: number }[]>();
    for (const sender of senders) {
      const partition = this.partitionOf(sender.key);
      byPartition.set(partition, [...(byPartition.get(partition) ?? []), sender]);
    }
    for (const [partition, some] of byPartition) {
      const body = JSON.stringify({ op: "ask", actor: cell.key, senders: some.slice(0, 100) });
      void this.#ports.bus
        .request({ partition, body, channel: "node" }, this.#settings.messageTimeoutMs)
        .then((reply) => {
          const settlement = reply.kind === "reply" ? readSettlement(reply.body) : undefined;
          if (settlement !== undefined) cell.later({ kind: "settled", settlement });
        });
    }
  }

  /** What the asked senders have settled: each is claimed first, so that what its document says is final (R3). */
  async #settlementFor(body: Extract<Body, { op: "ask" }>): Promise<Settlement | undefined> {
    const settled: Settlement["senders"][number][] = [];
    let partition: number | undefined;
    for (const sender of body.senders) {
      partition = this.partitionOf(sender.key);
      const cell = this.#cell(sender.key);
      if (cell === undefined) continue;
      if (await cell.askSettled(body.actor, sender)) settled.push(sender);
    }
    return partition === undefined ? undefined : this.#messenger.settlement(partition, body.actor, settled);
  }

  // ---- alarms ----

  #shardOf(key: string): number {
    return this.#ports.store.shardOf?.(key) ?? 0;
  }

  #confirmed(key: string, sentAbove: Revision, revision: Revision): boolean {
    if (revision <= sentAbove) {
      this.#fail(
        new StoreWentBackError(
          `a write was confirmed at revision ${revision} although ${sentAbove} had been confirmed before`,
        ),
      );
      return false;
    }
    const shard = this.#shardOf(key);
    if (revision > (this.#highest[shard] ?? 0)) this.#highest[shard] = revision;
    return true;
  }

  #fail(error: HoldfastError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#ports.logger.error(`the runtime has stopped: ${error.message}`, { error });
    this.#close();
  }

  async #drained(drainMs: number): Promise<void> {
    const busy = () => [...this.#cells.values()].some((cell) => !cell.idle);
    const untilMs = this.#ports.clock.monotonic() + drainMs;
    while (busy() && this.#ports.clock.monotonic() < untilMs) {
      await new Promise<void>((resolve) => void this.#ports.clock.after(10, resolve));
    }
  }

  #close(): void {
    this.#state = "stopped";
    for (const stop of this.#stops.splice(0)) stop();
    this.#parking.stop();
    this.#messenger.stop();
    this.#wake?.();
    this.#sweep?.();
    this.#relist?.();
    for (const cell of this.#cells.values()) cell.close();
    this.#cells.clear();
  }
}

/** How often a partition that is to leave is looked at. */
const leavingMs = 20;

/** How long a grant waits for others, until the index is listed for all of them. */
const relistMs = 250;

/** Definitions under their type names, with no document bound above what the store takes. */
function bounded(
  definitions: Readonly<Record<string, ActorDefinition>>,
  maxBytes: number,
): Map<string, ActorDefinition> {
  const all = new Map<string, ActorDefinition>();
  for (const [type, given] of Object.entries(definitions)) {
    checkType(type);
    const definition = "handles" in given ? given : defineActor(given as never);
    const documentBytes = Math.min(definition.limits.documentBytes, maxBytes);
    all.set(type, { ...definition, limits: { ...definition.limits, documentBytes } });
  }
  return all;
}

/** The document of a deleted actor; undefined for any other, and for what cannot be read. */
function tombstoneIn(entry: StoredEntry): Document | undefined {
  try {
    const document = readDocument(entry.value);
    return document.status === "deleted" ? document : undefined;
  } catch {
    return undefined;
  }
}

function toAnswer(outcome: Outcome): RequestAnswer {
  switch (outcome.kind) {
    case "moved":
    case "unknown":
      return outcome;
    case "failed":
      return { kind: "refused", code: outcome.code, message: outcome.message };
    case "reply": {
      const { reply } = outcome;
      if (reply.kind === "receipt") return { kind: "receipt", ...reply.receipt, duplicate: reply.duplicate };
      if (reply.kind === "refused")
        return { kind: "refused", code: reply.error.code as never, message: reply.error.message };
      return { kind: "receipt", revision: 0, changed: false, duplicate: false };
    }
  }
}

function offered(cell: Cell, input: Input, trace: string | undefined): Promise<Outcome> {
  return new Promise((resolve) => cell.offer(input, resolve, trace));
}

function answer(value: RequestAnswer): string {
  return JSON.stringify(value);
}
