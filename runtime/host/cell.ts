/**
 * One actor on this host: its mailbox, and the loop that takes inputs, steps, commits and lets effects begin. One write
 * is in flight at a time; what is not committed is shown to nobody. Start reading at `#turn`.
 *
 * States: empty (not in memory), loaded (under a token), parked (set aside, untouched). A lost lease, a conflict or a
 * refusal all lead back to empty, with the inputs still queued.
 */
import type { ActorDefinition } from "../definition.ts";
import { NewerDocumentError } from "../document.ts";
import type { Sender } from "../inbox.ts";
import type { ActorName } from "../keys.ts";
import type { OutsideEvent } from "../machine/system.ts";
import { Tree } from "../machine/tree.ts";
import { IncompatibleDocumentError, identityOf } from "../migration.ts";
import type { SendItem } from "../outbox.ts";
import type { Bus } from "../ports/bus.ts";
import type { Random } from "../ports/random.ts";
import { compareTokens, type Token } from "../ports/store.ts";
import type { Telemetry } from "../ports/telemetry.ts";
import type { Seldom } from "../seldom.ts";
import { type Actor, dueMs, type Input, load, type Reply, type Step, step } from "../step.ts";
import { Alarm } from "./alarm.ts";
import { type CommitResult, isOurs, pause, tokenOf } from "./commit.ts";
import { Effects } from "./effects.ts";
import type { Gate } from "./gate.ts";
import { answerCallers, isCallers, Mailbox, type Waiting } from "./mailbox.ts";
import type { Messenger } from "./messenger.ts";
import { failed, type Outcome } from "./outcome.ts";
import {
  describeInput,
  notByRuntime,
  type Parking,
  type ParkReason,
  parkMessage,
  whyParked,
  whyUnreadable,
} from "./parking.ts";
import type { PendingEntry, PendingSlot } from "./pending-index.ts";
import { StoredDocument, type StoredDocumentEnv } from "./stored-document.ts";
import { TurnSpans } from "./turn-spans.ts";

export type CellEnv = Omit<StoredDocumentEnv, "count"> & {
  readonly random: Random;
  readonly bus: Bus;
  readonly telemetry: Telemetry | undefined;
  readonly effectGate: Gate;
  readonly messenger: Messenger;
  readonly parking: Parking;
  /** For what would be said of each actor, and each time that it is looked at. */
  readonly seldom: Seldom;
  readonly partition: (key: string) => number;
  /** A new identity of a commit: of this host's life, and a running number. */
  readonly commitId: () => string;
  /** The store says that this host is not the owner of the epoch any more. */
  readonly fenced: (detail: string) => void;
  /** The actor left memory; `dueMs` is when it must be looked at again. */
  readonly left: (cell: Cell, dueMs: number | undefined) => void;
  /** What of a changed machine may never begin, in words; told once for each type and version. */
  readonly doubt: (type: string, definition: ActorDefinition, doubts: readonly string[]) => void;
  /** Asks the owners of these senders what is settled. */
  readonly ask: (cell: Cell, senders: readonly { key: string; born: string; upTo: number }[]) => void;
  readonly count: (
    what:
      | "events"
      | "commits"
      | "conflicts"
      | "unknown"
      | "refusals"
      | "expired"
      | "deadLetters"
      | "evictedKeys"
      | "unparked",
  ) => void;
};

export class Cell {
  readonly key: string;
  readonly name: ActorName;
  readonly definition: ActorDefinition;
  readonly partition: number;
  readonly #env: CellEnv;
  readonly #slot: PendingSlot;
  /** Made when the actor has its first effect; most actors at rest have none. */
  #effects: Effects | undefined;
  readonly #mailbox: Mailbox;
  readonly #document: StoredDocument;
  readonly #alarm: Alarm;
  #actor: Actor | undefined;
  /** The token under which the actor was loaded. */
  #token: Token | undefined;
  #looping = false;
  #parkedWhy: string | undefined;
  #leaving = false;
  #lastUsedMs: number;
  #closed = false;
  #recover = false;
  #recovered: (() => void)[] = [];
  readonly #settled = new Set<() => void>();
  /** The entry in the index is being put right. */
  #relaxing: Promise<void> | undefined;
  /** The loop waits for nothing else, and goes on at this. */
  #wanted: (() => void) | undefined;
  /** Effects want the actor set aside; the loop sees to it. */
  #toPark: { readonly reason: ParkReason; readonly error: unknown } | undefined;
  /** A writer with this token has been met: with a lower one this node may not run the actor (R3). */
  #deposedBy: Token = [0, 0];
  /** Since when, by the monotonic clock, the actor is known not to exist. */
  #missingSinceMs: number | undefined;

  constructor(env: CellEnv, key: string, name: ActorName, definition: ActorDefinition, slot: PendingSlot) {
    this.#env = env;
    this.key = key;
    this.name = name;
    this.definition = definition;
    this.partition = env.partition(key);
    this.#slot = slot;
    this.#lastUsedMs = env.clock.monotonic();
    this.#mailbox = new Mailbox(env, definition.limits, () => this.#kick());
    this.#document = new StoredDocument(env, this);
    this.#alarm = new Alarm(env, () => this.#woken());
  }

  get slot(): PendingSlot {
    return this.#slot;
  }

  // ---- the mailbox ----

  /** A request from a caller or another actor. Answers once, when its outcome is known. */
  offer(input: Input, answer: (outcome: Outcome) => void, trace?: string): void {
    if (this.#closed) return answer({ kind: "moved" });
    if (this.#mailbox.isFull) {
      const { mailbox } = this.definition.limits;
      return answer(
        failed("Overloaded", `${this.key} has ${this.#mailbox.requests} requests waiting; at most ${mailbox} may`),
      );
    }
    this.#mailbox.addRequest(input, answer, trace);
    this.#kick();
  }

  /** An input of the actor's own. The lane is bounded by what the actor has pending. */
  tell(input: Input, trace?: string): void {
    if (this.#closed || this.#token === undefined) return;
    this.#mailbox.addOwn({ input, answer: undefined, token: this.#token, trace });
    this.#kick();
  }

  /** An input that can wait for the next commit. */
  later(input: Input): void {
    if (this.#closed) return;
    this.#mailbox.addSettlement(input);
    this.#kick();
  }

  /** The index says that there is work: load, claim, and see. */
  recover(done?: () => void): void {
    this.#recover = true;
    if (done !== undefined) this.#recovered.push(done);
    this.#kick();
  }

  /** Calls back, once, when the actor is set aside, or when all that is due has been done: what runs longer is not waited for. */
  whenSettled(done: () => void): () => void {
    this.#settled.add(done);
    this.#tellSettled();
    return () => void this.#settled.delete(done);
  }

  #tellSettled(): void {
    if (
      this.#settled.size === 0 ||
      this.#looping ||
      !(this.#closed || this.#parkedWhy !== undefined || this.#isSettled)
    )
      return;
    for (const done of this.#settled) done();
    this.#settled.clear();
  }

  get #isSettled(): boolean {
    const timer = this.#actor?.head?.status === "active" ? this.#actor.tree?.nextDueMs : undefined;
    const isOverdue = timer !== undefined && timer <= this.#env.clock.now();
    return !(isOverdue || this.#mailbox.hasWork || this.#recover || this.#toPark || this.#effects?.isActing);
  }

  /** The lease of the partition changed: nothing that runs or waits under another token counts any more. */
  leaseChanged(): void {
    this.#unload();
    this.#mailbox.dropOwn();
    // What ran, or waits for its time, is the next owner's to go on with; that may be this node again.
    if (this.#slot.exists && this.#env.token(this.partition) !== undefined) this.#recover = true;
    this.#kick();
  }

  /** The index shows an entry. One of an earlier owner may belong to a commit that is still under way. */
  pendingSeen(entry: PendingEntry): void {
    this.#slot.observe(entry);
    const token = this.#env.token(this.partition);
    if (token === undefined || compareTokens(entry.token, token) >= 0) return;
    if (this.#actor !== undefined && this.#claimed(this.#actor, token)) return;
    if (!this.#looping && this.#actor?.head === undefined) this.#unload();
    this.recover();
  }

  /** Somebody parked or resumed the actor, here or elsewhere. */
  parkingChanged(why: string | undefined): void {
    if (why === this.#parkedWhy) return;
    this.#parkedWhy = why;
    this.#document.mostBytes = undefined;
    this.#unload();
    if (why === undefined) this.recover();
    else this.#kick();
  }

  /** Nothing is queued, and nothing runs that comes to an end by itself. */
  get isAtRest(): boolean {
    return !this.isBusy && !this.#looping && this.#relaxing === undefined;
  }

  /** Something is queued or runs that the next owner should find done; a better entry in the index is not worth his waiting. */
  get isBusy(): boolean {
    const hasWork = !this.#mailbox.isEmpty || this.#recover || this.#effects?.isWorking === true;
    return hasWork || (this.#looping && this.#wanted === undefined);
  }

  /** Whether it looks after its own timers and effects. */
  get isLoaded(): boolean {
    return this.#actor !== undefined;
  }

  /** Whether it has left memory for good: requests go elsewhere. */
  get isClosed(): boolean {
    return this.#closed;
  }

  get lastUsedMs(): number {
    return this.#lastUsedMs;
  }

  /** Leaves memory if nothing is to be done soon; the index entry is brought up to date first. Answers whether it goes. */
  passivate(): boolean {
    if (this.#leaving) return true;
    if (!this.isAtRest || this.#hasEffects || this.#isDueSoon) return false;
    if (this.#actor === undefined) {
      this.#closed = true;
      this.#env.left(this, undefined);
    } else {
      this.#leaving = true;
      this.#kick(true);
    }
    return true;
  }

  get #hasEffects(): boolean {
    return this.#effects !== undefined && (this.#effects.isWorking || this.#effects.hasLive);
  }

  get #isDueSoon(): boolean {
    const due = this.#actor && dueMs(this.#actor);
    return due !== undefined && due <= this.#env.clock.now() + this.#env.settings.idleMs;
  }

  /** Stops at once: waiting callers are told that they must go elsewhere. */
  close(): void {
    this.#closed = true;
    this.#unload();
    this.#mailbox.close();
    for (const done of this.#recovered.splice(0)) done();
    for (const done of this.#settled) done();
    this.#settled.clear();
    this.#answerAll(this.#looping ? { kind: "unknown" } : { kind: "moved" });
  }

  // ---- the loop ----

  #kick(evenWithoutInput = false): void {
    this.#wanted?.();
    if (this.#looping) return;
    const some = this.#mailbox.isDue || this.#recover || this.#toPark !== undefined;
    if (!some && !evenWithoutInput) return;
    this.#looping = true;
    void this.#loop();
  }

  async #loop(): Promise<void> {
    // A step changes the actor before its commit: whoever began the loop must be through with it first.
    await undefined;
    try {
      while (!this.#closed && (await this.#turn())) {
        // Everything happens in the turn.
      }
    } catch (error) {
      // A broken invariant: the actor starts over from its document, its callers do not know the outcome.
      this.#env.logger.error("an actor failed inside the runtime; it starts over from its document", {
        actor: this.key,
        error,
      });
      this.#unload();
      this.#mailbox.dropOwn();
      this.#answerAll({ kind: "unknown" });
      this.#env.clock.after(this.#env.settings.settleMaxMs, () => this.recover(), { background: true });
    } finally {
      this.#looping = false;
      for (const done of this.#recovered.splice(0)) done();
    }
    if (!this.#closed) this.#kick();
    this.#tellSettled();
  }

  /** Takes one batch of inputs through step and commit. Answers whether to go on. */
  async #turn(): Promise<boolean> {
    const token = this.#env.token(this.partition);
    if (token === undefined) return this.#giveUp({ kind: "moved" });
    if (this.#parkedWhy !== undefined && !this.#mayTryAgain(token))
      return this.#giveUp(failed("Parked", `${this.key} is parked: ${this.#parkedWhy}`));
    if (this.#actor === undefined || this.#token === undefined || compareTokens(this.#token, token) !== 0) {
      const loaded = await this.#load(token);
      if (loaded !== "loaded") return loaded === "again" || this.#mailbox.hasWork;
    }
    if (this.#toPark !== undefined) return this.#parkAsWished(token);
    const batch = this.#take();
    if (batch.length === 0) return this.#rest(token);
    this.#leaving = false;
    this.#lastUsedMs = this.#env.clock.monotonic();
    return this.#process(batch, token);
  }

  #take(): Waiting[] {
    const claims = this.#needsClaim();
    this.#recover = false;
    return this.#mailbox.take(claims);
  }

  /** A new owner writes its token before it runs an effect or touches the index. */
  #needsClaim(): boolean {
    const actor = this.#actor;
    if (actor?.head === undefined || this.#token === undefined) return false;
    if (this.#claimed(actor, this.#token)) return false;
    if (this.#recover) return true;
    return !this.#onlyExpires(actor) && (dueMs(actor) !== undefined || (this.#leaving && this.#slot.exists));
  }

  /**
   * It has ended, and nothing is to be done for it until its retention is over: it needs no owner. A receipt is true
   * whoever holds the actor now; every other answer is proven to be the latest (`StoredDocument.unchanged`) or is a commit,
   * which installs the token. Its entry in the index is that of whoever committed the end, and not touched before the claim.
   */
  #onlyExpires({ head, outbox, adaptation }: Actor): boolean {
    if (head === undefined || head.status === "active" || outbox.size > 0 || adaptation?.isPending) return false;
    return head.expiresMs !== undefined && head.expiresMs > this.#env.clock.now();
  }

  async #process(batch: Waiting[], token: Token): Promise<boolean> {
    const actor = this.#actor as Actor;
    const live = batch.filter(({ token: arose }) => arose === undefined || compareTokens(arose, token) === 0);
    const id = this.#env.commitId();
    const { telemetry } = this.#env;
    const spans = telemetry?.isRecording() ? new TurnSpans(telemetry, this.key, actor.head, live) : undefined;
    const result = this.#step(actor, live, token, id, spans);
    this.#actor = result.actor;
    const taken = live.slice(0, result.taken);
    this.#mailbox.putBack(live.slice(result.taken));
    spans?.took(result.taken);
    if (result.actor !== actor) this.#effects?.loaded(result.actor, false);
    // What relies on an entry is not written beside the removal of one (I2); everything else goes past it.
    if (result.purge || (result.text !== undefined && dueMs(result.actor) !== undefined)) await this.#relaxing;
    // If the lease went meanwhile, nobody knows whether that entry was written: nothing may follow it under this token (R6).
    const ended: CommitResult = !this.#document.ports(token).mayAct()
      ? { kind: "superseded" }
      : result.purge
        ? await this.#purge(token)
        : result.text === undefined
          ? await this.#document.unchanged(result, taken, token)
          : await this.#document.commit(result.actor, result.text, token, id, spans);
    if (ended.kind === "refused" && ended.reason === "tooLarge")
      this.#document.mostBytes = new TextEncoder().encode(result.text).length - 1;
    spans?.end(result.replies, ended);
    if (this.#closed) {
      answerCallers(taken, { kind: "unknown" });
      return false;
    }
    if (ended.kind !== "written") return this.#notWritten(ended, taken);
    this.#reply(taken, result.replies);
    // The lease may have gone while the write was under way: then the effects are the next owner's.
    const current = this.#env.token(this.partition);
    if (current === undefined || compareTokens(current, token) !== 0) return true;
    const parked = result.replies.findIndex((reply) => reply.kind === "park");
    if (parked >= 0) {
      const reply = result.replies[parked] as Extract<Reply, { kind: "park" }>;
      await this.#park("threw", reply.error, taken[parked]?.input);
      return this.#mailbox.hasWork;
    }
    if (this.#actor === undefined) return this.#mailbox.hasWork;
    if (this.#claimed(this.#actor, token))
      this.#effectsOf(this.#actor, result.orders.length)?.apply(this.#actor, result.orders);
    this.#arm();
    return this.#mailbox.hasWork || (this.#hasEnded(this.#actor, token) && this.#rest(token));
  }

  /** What runs this actor's effects, once there are any. */
  #effectsOf(actor: Actor, orders: number): Effects | undefined {
    if (this.#effects !== undefined) return this.#effects;
    if (orders === 0 && actor.outbox.size === 0 && (actor.tree?.volatileSids().length ?? 0) === 0) return undefined;
    const { key, definition } = this;
    const { clock, random, logger, telemetry, bus, hold, effectGate: gate } = this.#env;
    this.#effects = new Effects({
      key,
      definition,
      clock,
      random,
      logger,
      gate,
      actor: () => this.#actor,
      token: () => this.#token,
      telemetry,
      hold,
      tell: (input, trace) => this.tell(input, trace),
      publish: async (event, id, trace) =>
        bus.publish(key, JSON.stringify(Tree.codec({}).encodeValue(event, "event")), id, trace),
      send: (item) => this.#send(item),
      park: (reason, error) => {
        this.#toPark = { reason, error };
        this.#kick();
      },
    });
    return this.#effects;
  }

  /** Its document has our token, and nothing that a changed machine asks for is still to be committed. */
  #claimed(actor: Actor, token: Token): boolean {
    if (actor.head === undefined || actor.base === undefined || actor.adaptation?.isPending) return false;
    return compareTokens(actor.head.token, token) === 0;
  }

  #step(actor: Actor, live: readonly Waiting[], token: Token, id: string, spans: TurnSpans | undefined): Step {
    try {
      const inputs = live.map(({ input }) => input);
      const nowMs = this.#env.clock.now();
      return step(actor, inputs, {
        nowMs,
        token,
        commit: id,
        born: id,
        traces: spans?.contexts,
        documentBytes: this.#document.mostBytes,
      });
    } catch (error) {
      spans?.fail(error);
      answerCallers(live, { kind: "unknown" });
      throw error;
    }
  }

  // ---- what follows from a commit ----

  async #purge(token: Token): Promise<CommitResult> {
    const ended = await this.#document.purge(token);
    if (ended.kind === "written") {
      this.#env.count("expired");
      this.#unload();
      await this.#relax(undefined, token);
    }
    return ended;
  }

  /**
   * Puts the entry in the index right, best effort: at most one request, or, where it is postponed, until that is written or
   * another owner's affair. Waits for it only while nobody wants anything of the actor; it then goes on by itself.
   */
  async #relax(due: number | undefined, token: Token): Promise<void> {
    this.#relaxing ??= this.#slot.relax(this.#document.ports(token), due, token, this.#env.commitId()).finally(() => {
      this.#relaxing = undefined;
    });
    const relaxing = this.#relaxing;
    await new Promise<void>((resolve, reject) => {
      this.#wanted = resolve;
      relaxing.then(resolve, reject);
      if (this.#mailbox.hasWork) resolve();
    }).finally(() => {
      this.#wanted = undefined;
    });
  }

  async #notWritten(result: Exclude<CommitResult, { kind: "written" }>, taken: Waiting[]): Promise<boolean> {
    this.#unload();
    switch (result.kind) {
      case "superseded":
      case "steppedDown":
        if (result.kind === "steppedDown") this.#deposedBy = result.by;
        // Loading again decides: keys that the new document holds are answered from it.
        this.#env.count("conflicts");
        this.#mailbox.putBack(taken);
        return true;
      case "foreign":
        this.#mailbox.putBack(taken);
        this.#document.revision = result.entry.revision;
        await this.#park("foreign", notByRuntime(result.entry.revision));
        return true;
      case "abandoned":
        this.#env.count("unknown");
        answerCallers(taken, { kind: "unknown" });
        return this.#mailbox.hasWork;
      case "refused":
        return this.#refused(result, taken);
    }
  }

  async #refused(result: Extract<CommitResult, { kind: "refused" }>, taken: Waiting[]): Promise<boolean> {
    this.#env.count("refusals");
    if (result.reason === "fenced" || result.reason === "closed") {
      answerCallers(taken, { kind: "moved" });
      if (result.reason === "fenced") this.#env.fenced(result.detail);
      return false;
    }
    this.#env.seldom.say(`refused ${result.reason}`, (held) =>
      this.#env.logger.error(`a commit was refused: ${result.detail}`, { actor: this.key, unsaid: held || undefined }),
    );
    if (result.reason === "tooLarge") {
      // The same again under the bound that the store has shown: the step finds whose input is too large.
      this.#mailbox.putBack(taken);
      return true;
    }
    answerCallers(taken, failed("StoreFull", `${this.key}: ${result.detail}`));
    const own = taken.filter((waiting) => !isCallers(waiting));
    if (own.length === 0) return this.#mailbox.hasWork;
    // The actor's own inputs stay until there is room.
    this.#mailbox.putBack(own);
    await pause(this.#env.clock, this.#env.settings.settleMaxMs);
    return true;
  }

  // ---- load and unload ----

  /** "again": the right to run the actor changed meanwhile. "not": it cannot be run here now; callers were told. */
  async #load(token: Token): Promise<"loaded" | "not" | "again"> {
    this.#unload();
    const why = this.#parkedWhy;
    const entry = await this.#document.read(token);
    if (entry === "abandoned" || !this.#document.ports(token).mayAct()) return "again";
    // A person may have mended it after it was read, and let it go on.
    if (this.#parkedWhy !== why) return "again";
    this.#token = token;
    this.#document.revision = entry?.revision ?? 0;
    if (entry !== undefined && !isOurs(entry)) {
      await this.#park("foreign", notByRuntime(entry.revision));
      return "not";
    }
    let actor: Actor;
    try {
      actor = load(this.name, this.definition, { onOutside: (event) => this.#outside(event) }, entry?.value);
    } catch (thrown) {
      // What this machine thinks of a document is of no weight where another node runs the actor.
      if (this.#isDeposed(tokenOf(entry?.value ?? ""), token)) this.#stepDown();
      else await this.#unreadable(thrown);
      return "not";
    }
    if (this.#isDeposed(actor.head?.token, token)) {
      this.#stepDown(actor);
      return "not";
    }
    if (this.#parkedWhy !== undefined && !(await this.#unpark(token))) return "again";
    this.#missingSinceMs = actor.head === undefined ? (this.#missingSinceMs ?? this.#env.clock.monotonic()) : undefined;
    this.#actor = actor;
    const effects = this.#effectsOf(actor, 0);
    effects?.loaded(actor, true);
    if (actor.adaptation !== undefined) this.#env.doubt(this.name.type, this.definition, actor.adaptation.doubts);
    if (this.#claimed(actor, token)) {
      // What waits in the own lane may be the result of something that would be begun again here.
      if (!this.#mailbox.hasOwn) effects?.startDue(actor);
      this.#arm();
    } else if (this.#onlyExpires(actor)) {
      this.#arm();
    } else if (dueMs(actor) !== undefined) {
      this.#recover = true;
    }
    return "loaded";
  }

  async #unreadable(thrown: unknown): Promise<void> {
    if (thrown instanceof NewerDocumentError) {
      this.#env.seldom.say(`newer ${this.name.type}`, (held) =>
        this.#env.logger.warn(`left alone: ${thrown.message}`, { actor: this.key, unsaid: held || undefined }),
      );
      this.#answerAll({ kind: "moved" });
      this.#mailbox.dropOwnAndSettlements();
      this.#recover = false;
      if (this.#parkedWhy !== undefined) this.#env.parking.triedInVain(this.key);
      return;
    }
    await this.#park(whyUnreadable(thrown), thrown);
  }

  #mayTryAgain(token: Token): boolean {
    return this.#env.parking.mayTry(this.key, this.definition, token);
  }

  /** Another machine has refused the document, and it fits this one. Whoever sees the record go finds it claimed, or soon. */
  async #unpark(token: Token): Promise<boolean> {
    const { mayAct } = this.#document.ports(token);
    // It may have been set aside, for another reason, while the document was read.
    if (!this.#mayTryAgain(token)) return false;
    if (!(await this.#env.parking.lift(this.key, token, mayAct))) return false;
    this.#env.count("unparked");
    const { version, hash } = this.definition;
    this.#env.logger.info(
      `goes on: version ${version} of the machine (${hash}) can run what was parked as incompatible`,
      {
        actor: this.key,
        storeRevision: this.#document.revision,
      },
    );
    if (this.#parkedWhy !== undefined || !mayAct()) return false;
    this.#token = token;
    this.#recover = true;
    return true;
  }

  #isDeposed(of: Token | undefined, token: Token): boolean {
    if (of !== undefined && compareTokens(of, this.#deposedBy) > 0 && compareTokens(of, token) > 0)
      this.#deposedBy = of;
    return compareTokens(this.#deposedBy, token) > 0;
  }

  /** R3: somebody with a higher token runs this actor. What it holds of our callers' keys is answered from it. */
  #stepDown(actor?: Actor): void {
    this.#env.logger.warn("stepping down: the document has a higher token", { actor: this.key });
    for (const waiting of this.#mailbox.takeRequests()) {
      const { input } = waiting;
      const key = "key" in input ? input.key : undefined;
      const receipt = key && actor?.window.receiptOf(key);
      waiting.answer?.(
        receipt === undefined
          ? { kind: "moved" }
          : { kind: "reply", reply: { kind: "receipt", receipt, duplicate: true } },
      );
    }
    this.#mailbox.dropOwnAndSettlements();
    this.#recover = false;
    this.#unload();
  }

  #unload(): void {
    this.#alarm.clear();
    if (this.#actor !== undefined || this.#token !== undefined) {
      this.#effects?.abort();
      this.#env.messenger.forget(this.key);
    }
    this.#actor = undefined;
    this.#token = undefined;
    this.#toPark = undefined;
  }

  /** Nothing to do: go to rest, and leave memory when asked to. */
  async #rest(token: Token): Promise<boolean> {
    const actor = this.#actor;
    const isLeaving = this.#leaving;
    this.#leaving = false;
    if (actor === undefined || !(isLeaving || this.#hasEnded(actor, token))) return false;
    const due = dueMs(actor);
    if (this.#isDueSoon || this.#hasEffects) return false;
    if (this.#slot.exists && actor.head === undefined && !(await this.#isMissingForGood(token)))
      return this.#mailbox.hasWork || this.#recover;
    if (this.#slot.exists && (actor.head === undefined || this.#claimed(actor, token))) {
      await this.#relax(due, token);
    }
    if (!isLeaving) {
      // It may have rung meanwhile, to no avail.
      this.#arm();
      return this.#mailbox.hasWork;
    }
    const isWanted = !this.#mailbox.isEmpty || this.#recover || this.#toPark !== undefined || this.#actor !== actor;
    if (isWanted || this.#relaxing !== undefined) {
      this.#arm();
      return true;
    }
    this.#unload();
    this.#closed = true;
    this.#env.left(this, due);
    return false;
  }

  /**
   * Whether an entry of an actor that has ended is to be put right at once, and not only when the actor leaves memory:
   * until then, whoever starts would find it due and claim the actor, which is a commit.
   */
  #hasEnded(actor: Actor, token: Token): boolean {
    return this.#slot.exists && this.#claimed(actor, token) && actor.head?.status !== "active";
  }

  /** What does not exist cannot be claimed: a creation that its owner gave up may still land, and needs its entry. */
  async #isMissingForGood(token: Token): Promise<boolean> {
    const found = await this.#document.prove(token);
    if (found.kind !== "written") {
      this.#unload();
      this.#recover = true;
      return false;
    }
    return this.#env.clock.monotonic() - (this.#missingSinceMs ?? 0) > this.#env.settings.orphanMs;
  }

  // ---- waking ----

  #arm(): void {
    const actor = this.#actor;
    this.#alarm.set(actor, actor && this.#effects?.nextDueMs(actor));
  }

  #woken(): void {
    const actor = this.#actor;
    if (actor?.head === undefined || this.#looping) {
      // A turn is under way; it arms the next waking when it ends.
      return;
    }
    const now = this.#env.clock.now();
    const timer = actor.head.status === "active" ? actor.tree?.nextDueMs : undefined;
    if (timer !== undefined && timer <= now) this.tell({ kind: "timers" });
    if (actor.head.expiresMs !== undefined && actor.head.expiresMs <= now) {
      if (this.#token !== undefined && this.#claimed(actor, this.#token)) this.tell({ kind: "expire" });
      else this.recover();
    }
    this.#effects?.startDue(actor);
    const old = this.#alarm.toAsk(actor);
    if (old.length > 0) this.#env.ask(this, old);
    if (!this.#looping) this.#arm();
  }

  #outside(event: OutsideEvent): void {
    const { target } = event;
    this.tell({ kind: "relay", source: event.source, target: target.sessionId, event: event.event });
  }

  // ---- messages ----

  #send(item: SendItem): void {
    const actor = this.#actor;
    if (actor?.head === undefined) return;
    const sender: Sender = { key: this.key, born: actor.head.born, partition: this.partition };
    const token = this.#token;
    const eventText = JSON.stringify(Tree.codec({}).encodeValue(item.event, "event"));
    this.#env.messenger.send({
      trace: actor.head.trace,
      sender,
      item,
      eventText,
      outranked: (by) => {
        this.#deposedBy = by;
        this.leaseChanged();
      },
      delivered: (to, answer) => {
        if (token === undefined || this.#token === undefined || compareTokens(token, this.#token) !== 0) return;
        for (const letter of answer.dead) {
          this.#env.count("deadLetters");
          this.#env.logger.warn(`a message to ${to} can never be delivered: ${letter.reason}`, { actor: this.key });
        }
        this.#mailbox.addOwn({
          input: { kind: "delivered", to, upTo: answer.upTo, dead: answer.dead },
          answer: () => this.#env.messenger.removed(sender, item.to, upToOf(answer)),
          token,
        });
        this.#kick();
      },
    });
  }

  /**
   * Whether the removal of all messages to this receiver up to `upTo` is committed. The actor is claimed first, so that
   * nobody with a lower token can still send them; the answer is taken in the moment of that commit.
   */
  askSettled(receiver: string, sender: { readonly born: string; readonly upTo: number }): Promise<boolean> {
    return new Promise((resolve) => {
      this.offer({ kind: "claim" }, (outcome) =>
        resolve(outcome.kind === "reply" && this.#hasSettled(receiver, sender)),
      );
    });
  }

  #hasSettled(receiver: string, sender: { readonly born: string; readonly upTo: number }): boolean {
    if (this.#actor === undefined) return false;
    const { head, outbox } = this.#actor;
    if (head?.born !== sender.born) return true;
    return ![...outbox.values()].some(
      (item) => item.kind === "send" && item.to.key === receiver && item.n <= sender.upTo,
    );
  }

  // ---- answers ----

  #reply(taken: readonly Waiting[], replies: readonly Reply[]): void {
    for (let index = 0; index < taken.length; index++) {
      const reply = replies[index] as Reply;
      if (reply.kind === "receipt") this.#env.count("events");
      if (reply.kind === "refused" && reply.error.code === "Overloaded" && this.#actor !== undefined) {
        const senders = this.#actor.inbox.olderThan(this.#env.clock.now() - 1_000);
        if (senders.length > 0) this.#env.ask(this, senders);
      }
      taken[index]?.answer?.({ kind: "reply", reply });
    }
  }

  #answerAll(outcome: Outcome): void {
    answerCallers(this.#mailbox.takeRequests(), outcome);
  }

  #giveUp(outcome: Outcome): boolean {
    this.#answerAll(outcome);
    this.#mailbox.dropOwnAndSettlements();
    this.#recover = false;
    this.#unload();
    return false;
  }

  /** Only what is known to be the latest is set aside: a picture of yesterday may fail for reasons of yesterday. */
  async #parkAsWished(token: Token): Promise<boolean> {
    const wish = this.#toPark;
    const proof = await this.#document.prove(token);
    if (this.#toPark === undefined || wish === undefined) return true;
    if (proof.kind === "written") {
      await this.#park(wish.reason, wish.error);
    } else {
      this.#unload();
      this.#recover = true;
    }
    return true;
  }

  async #park(reason: ParkReason, error: unknown, input?: Input): Promise<void> {
    const message = parkMessage(error);
    this.#parkedWhy = whyParked({ actor: this.key, reason, message });
    this.#env.logger.error(`parked (${reason}): ${message}`, {
      actor: this.key,
      storeRevision: this.#document.revision,
      // Its stack is ours, and the message has all of it.
      ...(!(error instanceof IncompatibleDocumentError) && { error }),
    });
    const token = this.#token ?? this.#env.token(this.partition) ?? [0, 0];
    const revision = this.#document.revision;
    this.#unload();
    await this.#env.parking.park(
      {
        actor: this.key,
        reason,
        message,
        revision,
        token,
        ...(input && { input: describeInput(input) }),
        ...(reason === "incompatible" && { refusedBy: [identityOf(this.definition)] }),
      },
      this.#document.ports(token).mayAct,
    );
  }
}

function upToOf(answer: { readonly upTo: number; readonly dead: readonly { readonly n: number }[] }): number {
  return Math.max(answer.upTo, ...answer.dead.map(({ n }) => n));
}
