/**
 * Runs the effects of one actor after their commit: actions one after the other, invoked logic concurrently, messages in
 * order per receiver. What ends is told to the actor as an input; until that is committed the effect counts as not done.
 * Everything here may be lost at any moment: it is begun again from the document.
 */
import type { ActorDefinition } from "../definition.ts";
import type { Event } from "../machine/internals.ts";
import { begin, type EffectInfo, type Live, type LiveEvents, perform } from "../machine/live.ts";
import type { Sid } from "../machine/system.ts";
import { rootSid } from "../machine/tree.ts";
import type { ActionItem, EmitItem, OutboxItem, SendItem, StartItem } from "../outbox.ts";
import { type ResolvedPolicy, resolvePolicy, retryDelayMs } from "../policy.ts";
import type { Cancel, Clock } from "../ports/clock.ts";
import type { Hold } from "../ports/fault-points.ts";
import type { Logger } from "../ports/logger.ts";
import type { Random } from "../ports/random.ts";
import type { Token } from "../ports/store.ts";
import type { Span, Telemetry } from "../ports/telemetry.ts";
import type { Actor, Input, Order } from "../step.ts";
import type { Gate } from "./gate.ts";

/** An attempt took longer than its policy allows. It was told to stop; whether it did is its own affair. */
export class EffectTimeoutError extends Error {
  override readonly name = "EffectTimeoutError";
}

/** The owner of an attempt was lost, and the policy says not to begin it again. */
export class EffectInterruptedError extends Error {
  override readonly name = "EffectInterruptedError";
}

export type EffectsEnv = {
  readonly key: string;
  readonly definition: ActorDefinition;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly telemetry: Telemetry | undefined;
  readonly hold: Hold | undefined;
  /** Bounds how much invoked logic runs at once on this host. */
  readonly gate: Gate;
  readonly actor: () => Actor | undefined;
  readonly token: () => Token | undefined;
  /** Puts an input of the actor's own into its reserved lane. */
  readonly tell: (input: Input, trace?: string) => void;
  readonly publish: (event: Event, id: string, trace?: string) => Promise<void>;
  readonly send: (item: SendItem) => void;
  /** An action failed for good, or cannot be found: set the actor aside. */
  readonly park: (reason: "action" | "missing", error: unknown) => void;
};

type Attempt = { readonly end: () => void };

export class Effects {
  readonly #env: EffectsEnv;
  /** Attempts of the outbox that run now, by number. */
  readonly #running = new Map<number, Attempt>();
  /** Numbers whose end is told but not committed, with the attempt that a retry will commit (0: none follows). */
  readonly #told = new Map<number, number>();
  /** Of these, actions that were performed: the next one may begin before their commit. */
  readonly #done = new Set<number>();
  readonly #volatile = new Map<Sid, Live>();
  #actionRuns = false;
  /** Of the action that runs. */
  #actionSpan: Span | undefined;
  /** Grows when everything is aborted: what began before has nothing to say any more. */
  #generation = 0;
  /** Outbox numbers at load: what another owner may have begun. */
  #inherited = new Set<number>();
  /** Items from this number on are not committed yet: a step is under way, whose outcome nobody knows. */
  #uncommittedFrom = 0;

  constructor(env: EffectsEnv) {
    this.#env = env;
  }

  /** Something runs that comes to an end, which is recorded. */
  get isWorking(): boolean {
    return this.#running.size > 0 || this.#actionRuns;
  }

  /** Callbacks and observables live here, as long as their states do: the next owner begins them again. */
  get hasLive(): boolean {
    return this.#volatile.size > 0;
  }

  /** An action runs; invoked logic may take as long as it likes. */
  get isActing(): boolean {
    return this.#actionRuns;
  }

  isRunning(n: number): boolean {
    return this.#running.has(n) || this.#told.has(n);
  }

  /** The actor was loaded: what runs for items that are gone is ended. */
  loaded(actor: Actor, fresh: boolean): void {
    for (const n of [...this.#running.keys()]) if (!actor.outbox.has(n)) this.#end(n);
    this.#forgetCommitted(actor);
    if (!fresh) return;
    this.#inherited = new Set(actor.outbox.keys());
    this.#allCommitted(actor);
  }

  #allCommitted(actor: Actor): void {
    for (const n of actor.outbox.keys()) if (n >= this.#uncommittedFrom) this.#uncommittedFrom = n + 1;
  }

  /** After a commit under our token: the orders of the step, then whatever else is due. */
  apply(actor: Actor, orders: readonly Order[]): void {
    this.#forgetCommitted(actor);
    this.#allCommitted(actor);
    for (const order of orders) {
      switch (order.kind) {
        case "outbox":
          // Messages go in the order of the outbox, in which older ones may still wait to be begun.
          if (order.item.kind !== "send") this.#start(actor, order.item);
          break;
        case "begin":
          this.#beginVolatile(actor, order.sid);
          break;
        case "deliver":
          this.#deliver(order.sid, order.event);
          break;
        case "stop":
          this.#stop(order.sid);
          break;
        case "log":
          this.#env.logger.info(
            order.values.map((value) => (typeof value === "string" ? value : JSON.stringify(value))).join(" "),
            {
              actor: this.#env.key,
            },
          );
          break;
        case "notice":
          this.#env.logger[order.level](order.text, { actor: this.#env.key });
          break;
        case "notify":
          order.run();
          break;
      }
    }
    this.startDue(actor);
  }

  #forgetCommitted(actor: Actor): void {
    for (const [n, attempt] of this.#told) {
      const item = actor.outbox.get(n);
      if (item === undefined || (attempt > 0 && item.attempt >= attempt)) {
        this.#told.delete(n);
        this.#done.delete(n);
      }
    }
  }

  /** Begins every pending item that is due and does not run, and every volatile child that should be alive. */
  startDue(actor: Actor): void {
    if (actor.outbox.size > 0) {
      const nowMs = this.#env.clock.now();
      for (const item of actor.outbox.values()) {
        if (item.kind !== "action" && (item.dueMs ?? 0) <= nowMs && item.n < this.#uncommittedFrom)
          this.#start(actor, item);
      }
      this.#runActions();
    }
    if (actor.head?.status !== "active" || actor.tree === undefined) return;
    for (const sid of actor.tree.volatileSids()) if (!this.#volatile.has(sid)) this.#beginVolatile(actor, sid);
  }

  /** When the next item that does not run is due. */
  nextDueMs(actor: Actor): number | undefined {
    let next: number | undefined;
    let isActionAhead = this.#actionRuns;
    for (const item of actor.outbox.values()) {
      if (item.kind === "action") {
        // Actions wait for the one before them, whose end wakes them.
        if (isActionAhead) continue;
        isActionAhead = !this.#done.has(item.n);
      }
      if (item.dueMs === undefined || this.isRunning(item.n)) continue;
      if (next === undefined || item.dueMs < next) next = item.dueMs;
    }
    return next;
  }

  abort(): void {
    this.#generation++;
    for (const n of [...this.#running.keys()]) this.#end(n);
    for (const live of this.#volatile.values()) live.stop();
    this.#volatile.clear();
    this.#told.clear();
    this.#done.clear();
    this.#actionRuns = false;
    this.#actionSpan?.end();
    this.#actionSpan = undefined;
    this.#uncommittedFrom = 0;
  }

  #start(actor: Actor, item: OutboxItem): void {
    if (this.isRunning(item.n)) return;
    switch (item.kind) {
      case "action":
        this.#runActions();
        break;
      case "start":
        this.#begin(actor, item);
        break;
      case "emit":
        this.#publish(actor, item);
        break;
      case "send":
        // The messenger keeps its own order and repetitions; it forgets what is not in the outbox any more.
        this.#env.send(item);
        break;
    }
  }

  // ---- invoked logic ----

  #begin(actor: Actor, item: StartItem): void {
    const { definition, gate, clock } = this.#env;
    const ref = actor.tree?.ref(item.sid);
    if (ref === undefined) return;
    const policy = resolvePolicy("logic", typeof ref.src === "string" ? definition.effects[ref.src] : undefined);
    const wasInherited = this.#inherited.delete(item.n);
    if (wasInherited && policy.onTakeover === "fail") {
      const error = new EffectInterruptedError(
        `${String(ref.src)} may have begun before a restart; its policy is not to begin it again`,
      );
      this.#told.set(item.n, 0);
      this.#env.tell({ kind: "result", n: item.n, outcome: { ok: false, error } });
      return;
    }
    const generation = this.#generation;
    let live: Live | undefined;
    let timer: Cancel | undefined;
    let over = false;
    let leave = () => {};
    let span: Span | undefined;
    const end = () => {
      over = true;
      timer?.();
      span?.end();
      leave();
    };
    const close = (outcome: Extract<Input, { kind: "result" }>["outcome"]) => {
      if (over || generation !== this.#generation) return;
      this.#running.delete(item.n);
      if (!outcome.ok) span?.fail(outcome.error);
      end();
      const retry = outcome.ok ? undefined : this.#retryOf(item, policy, outcome.error);
      this.#told.set(item.n, retry?.attempt ?? 0);
      const tell = () => this.#env.tell(retry ?? { kind: "result", n: item.n, outcome }, span?.context);
      const held = this.#env.hold?.("effect.ended");
      if (held === undefined) tell();
      else void held.then(() => generation === this.#generation && tell());
    };
    gate.enter((out) => {
      leave = out;
      if (over || generation !== this.#generation) return leave();
      span = this.#span(actor, `effect ${String(ref.src)}`, item, wasInherited);
      const info = this.#info(actor, item.sid, item.n, item.attempt, span);
      const events: LiveEvents = {
        settled: (outcome) => close(outcome),
        failed: (error) => close({ ok: false, error }),
        relayed: (target, event) =>
          this.#env.tell({ kind: "relay", source: item.sid, target: target.sessionId, event }),
        emitted: (event) => this.#emitNow(item.sid, event),
      };
      live =
        span === undefined ? begin(ref, info, events) : this.#env.telemetry?.with(span, () => begin(ref, info, events));
      if (over || !Number.isFinite(policy.timeoutMs)) return;
      timer = clock.after(policy.timeoutMs, () => {
        live?.stop();
        close({
          ok: false,
          error: new EffectTimeoutError(`${String(ref.src)} took longer than ${policy.timeoutMs} ms`),
        });
      });
    });
    if (!over) {
      this.#running.set(item.n, {
        end: () => {
          end();
          live?.stop();
        },
      });
    }
  }

  #retryOf(item: OutboxItem, policy: ResolvedPolicy, error: unknown): Extract<Input, { kind: "retry" }> | undefined {
    const final = (error as { retryable?: unknown } | undefined)?.retryable === false;
    if (final || item.attempt >= policy.attempts) return undefined;
    const attempt = item.attempt + 1;
    const dueMs = this.#env.clock.now() + retryDelayMs(policy, attempt, this.#env.random.next());
    return { kind: "retry", n: item.n, attempt, dueMs };
  }

  // ---- actions, one after the other ----

  #runActions(): void {
    while (!this.#actionRuns) {
      const actor = this.#env.actor();
      const item = actor && this.#nextAction(actor);
      if (actor === undefined || item === undefined) return;
      if (item.missing !== undefined) {
        this.#env.park("missing", new Error(item.missing));
        return;
      }
      this.#perform(actor, item, this.#inherited.delete(item.n));
    }
  }

  #nextAction(actor: Actor): ActionItem | undefined {
    for (const item of actor.outbox.values()) {
      if (item.kind !== "action") continue;
      // An action that ends while a commit is under way meets an outbox that is ahead of the document.
      if (item.n >= this.#uncommittedFrom) return undefined;
      if (this.#told.has(item.n)) {
        // Done, or waiting for its retry to be committed; only what is done lets the next one begin.
        if (this.#done.has(item.n)) continue;
        return undefined;
      }
      return (item.dueMs ?? 0) <= this.#env.clock.now() ? item : undefined;
    }
    return undefined;
  }

  #perform(actor: Actor, item: ActionItem, wasInherited: boolean): void {
    const ref = actor.tree?.ref(item.sid);
    if (ref === undefined) {
      this.#env.park("missing", new Error(`the actor ${item.sid} of action ${item.action.type} is gone`));
      this.#told.set(item.n, 0);
      return;
    }
    const policy = resolvePolicy("action", this.#env.definition.effects[item.action.type]);
    const generation = this.#generation;
    this.#actionRuns = true;
    const span = this.#span(actor, `effect ${item.action.type}`, item, wasInherited);
    this.#actionSpan = span;
    const succeed = () => {
      this.#actionRuns = false;
      this.#actionSpan = undefined;
      span?.end();
      this.#told.set(item.n, 0);
      this.#done.add(item.n);
      this.#env.tell({ kind: "acted", n: item.n }, span?.context);
    };
    const fail = (error: unknown) => {
      this.#actionRuns = false;
      this.#actionSpan = undefined;
      span?.fail(error);
      span?.end();
      const retry = this.#retryOf(item, policy, error);
      this.#told.set(item.n, retry?.attempt ?? 0);
      if (retry !== undefined) this.#env.tell(retry, span?.context);
      else this.#env.park("action", error);
    };
    let returned: unknown;
    try {
      const info = this.#info(actor, item.sid, item.n, item.attempt, span);
      returned =
        span === undefined
          ? perform(item.action, ref, info)
          : this.#env.telemetry?.with(span, () => perform(item.action, ref, info));
    } catch (thrown) {
      fail(thrown);
      return;
    }
    if (typeof (returned as PromiseLike<unknown> | undefined)?.then !== "function") {
      succeed();
      return;
    }
    let over = false;
    const once = (run: () => void) => {
      if (over || generation !== this.#generation) return;
      over = true;
      timer();
      run();
      this.#runActions();
    };
    const timer = Number.isFinite(policy.timeoutMs)
      ? this.#env.clock.after(policy.timeoutMs, () =>
          once(() =>
            fail(new EffectTimeoutError(`action ${item.action.type} took longer than ${policy.timeoutMs} ms`)),
          ),
        )
      : () => {};
    (returned as PromiseLike<unknown>).then(
      () => once(succeed),
      (error: unknown) => once(() => fail(error)),
    );
  }

  // ---- the rest ----

  #publish(actor: Actor, item: EmitItem): void {
    const generation = this.#generation;
    this.#told.set(item.n, 0);
    const id = this.#info(actor, rootSid, item.n, 1).key;
    const done = () => {
      if (generation === this.#generation) this.#env.tell({ kind: "acted", n: item.n });
    };
    this.#env.publish(item.event, id, actor.head?.trace).then(done, (error: unknown) => {
      this.#env.logger.warn("an emitted event could not be published", { actor: this.#env.key, error });
      done();
    });
  }

  #emitNow(sid: Sid, event: Event): void {
    if (sid !== rootSid) return;
    this.#env.publish(event, this.#env.random.id()).catch((error: unknown) => {
      this.#env.logger.warn("an emitted event could not be published", { actor: this.#env.key, error });
    });
  }

  #beginVolatile(actor: Actor, sid: Sid): void {
    const ref = actor.tree?.ref(sid);
    if (ref === undefined || this.#volatile.has(sid)) return;
    const generation = this.#generation;
    const current = () => generation === this.#generation;
    const live = begin(ref, this.#info(actor, sid, 0, 1), {
      settled: () => {},
      failed: (error) => current() && this.#env.tell({ kind: "failed", sid, error }),
      relayed: (target, event) =>
        current() && this.#env.tell({ kind: "relay", source: sid, target: target.sessionId, event }),
      emitted: (event) => current() && this.#emitNow(sid, event),
    });
    this.#volatile.set(sid, live);
  }

  #deliver(sid: Sid, event: Event): void {
    try {
      this.#volatile.get(sid)?.deliver(event);
    } catch (error) {
      this.#env.tell({ kind: "failed", sid, error });
    }
  }

  #stop(sid: Sid): void {
    this.#volatile.get(sid)?.stop();
    this.#volatile.delete(sid);
    const actor = this.#env.actor();
    for (const n of [...this.#running.keys()]) if (!actor?.outbox.has(n)) this.#end(n);
  }

  #end(n: number): void {
    this.#running.get(n)?.end();
    this.#running.delete(n);
  }

  /** Begun at once it is a part of what committed it; begun again, or by another owner, it came later. */
  #span(actor: Actor, name: string, item: OutboxItem, wasInherited: boolean): Span | undefined {
    const { telemetry, key } = this.#env;
    if (telemetry === undefined) return undefined;
    const { trace, origin } = actor.head ?? {};
    const isLater = wasInherited || item.attempt > 1;
    return telemetry.start(name, {
      parent: isLater ? undefined : trace,
      links: [trace, origin],
      attributes: { "holdfast.actor": key, "holdfast.effect": item.n, "holdfast.attempt": item.attempt },
    });
  }

  #info(actor: Actor, sid: Sid, n: number, attempt: number, span?: Span): EffectInfo {
    const { type, id } = actor.name;
    return {
      ...(span !== undefined && { trace: span.context }),
      key: `${type}/${id}/${actor.head?.born}/${sid}/${n}`,
      token: this.#env.token() ?? actor.head?.token ?? [0, 0],
      attempt,
    };
  }
}
