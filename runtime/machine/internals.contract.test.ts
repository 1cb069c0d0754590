/**
 * What this folder leans on inside XState, pinned for the oldest and the newest supported version. A failure here means
 * that a release of XState needs our attention before it may be used; it says nothing about our own code.
 */
import assert from "node:assert/strict";
import { describe, test } from "vitest";
import * as newest from "xstate";
import * as oldest from "xstate-oldest";

type Event = { readonly type: string; readonly [field: string]: unknown };
type Snapshot = Record<string, unknown> & { status: string };
type Action = {
  type: string;
  params: unknown;
  info: Record<string, unknown>;
  exec: ((...args: unknown[]) => void) | undefined;
};
type Scope = Record<string, unknown> & { defer(fn: () => void): void; actionExecutor(action: Action): void };
type Ref = Record<string, unknown> & {
  sessionId: string;
  options: Record<string, unknown>;
  mailbox: { _active: boolean; start(): void; clear(): void; enqueue(event: Event): void };
  observers: Set<unknown>;
  _snapshot: Snapshot;
  _actorScope: Scope;
  _deferred: unknown[];
  start(): Ref;
  send(event: Event): void;
  update(snapshot: Snapshot, event: Event): void;
  getSnapshot(): Snapshot;
  _send(event: Event): void;
  _stop(): Ref;
  _error(error: unknown): void;
};

/** A system like ours: gives ids, takes every effect, and writes down each call. */
function stage() {
  const calls: string[] = [];
  const relayed: { source: unknown; target: unknown; event: Event }[] = [];
  const scheduled: { source: unknown; target: unknown; event: Event; delay: unknown; id: unknown }[] = [];
  const adopted: Ref[] = [];
  let booked = 0;
  const parent: Record<string, unknown> = { id: "parent", sessionId: "parent" };
  const system = {
    onActor: (_ref: Ref) => {},
    deliver: true,
    _bookId: () => {
      calls.push("_bookId");
      return `s${booked++}`;
    },
    _sendInspectionEvent: (event: Event & { actorRef?: Ref }) => {
      calls.push(event.type);
      if (event.type !== "@xstate.actor" || event.actorRef === undefined) return;
      adopted.push(event.actorRef);
      system.onActor(event.actorRef);
    },
    _register: (id: string) => {
      calls.push(`_register ${id}`);
      return id;
    },
    _unregister: (ref: Ref) => void calls.push(`_unregister ${ref.sessionId}`),
    _set: (systemId: string, ref: Ref) => void calls.push(`_set ${systemId} ${ref.sessionId}`),
    get: (systemId: string) => void calls.push(`get ${systemId}`),
    _relay: (source: unknown, target: Ref, event: Event) => {
      relayed.push({ source, target, event });
      if (system.deliver && typeof target._send === "function") target._send(event);
    },
    scheduler: {
      schedule: (source: unknown, target: unknown, event: Event, delay: unknown, id: unknown) =>
        void scheduled.push({ source, target, event, delay, id }),
      cancel: (ref: Ref, id: string) => void calls.push(`cancel ${ref.sessionId} ${id}`),
      cancelAll: (ref: Ref) => void calls.push(`cancelAll ${ref.sessionId}`),
    },
    _logger: () => {},
    _clock: {},
    _snapshot: { _scheduledEvents: {} },
    start: () => void calls.push("start"),
  };
  parent.system = system;
  return { system, parent, calls, relayed, scheduled, adopted };
}

/** A context factory that writes down when it runs. */
const noting = (calls: string[]) => () => {
  calls.push("context");
  return {};
};

for (const [name, given] of [
  ["the newest XState", newest],
  ["the oldest XState", oldest],
] as const) {
  const { setup, createMachine, createActor, fromPromise, fromCallback, fromObservable, fromTransition, ...actions } =
    given as typeof newest;
  const machineOf = (config: unknown, implementations?: unknown) =>
    createMachine(config as never, implementations as never);
  const actorOf = (logic: unknown, options: unknown) => createActor(logic as never, options as never) as unknown as Ref;

  describe(`${name}: the actor`, () => {
    test("books its id, then is announced, then computes its first snapshot", () => {
      const { system, parent, calls } = stage();
      system.onActor = (ref) => assert.equal(ref._snapshot, undefined);
      const machine = machineOf({ context: noting(calls) });
      const ref = actorOf(machine, { parent, id: "a" });
      assert.deepEqual(calls.slice(0, 3), ["_bookId", "@xstate.actor", "context"]);
      assert.equal(ref.sessionId, "s0");
      assert.equal(ref.id, "a");
      assert.equal(ref._parent, parent);
      assert.equal(ref.system, system);
    });

    test("takes another logic when it is swapped in at the announcement", () => {
      const { system, parent } = stage();
      const other = fromTransition((state: unknown) => state, "other");
      system.onActor = (ref) => {
        ref.logic = other;
      };
      assert.equal(actorOf(machineOf({}), { parent })._snapshot.context, "other");
    });

    test("has the fields that we read, write and replace", () => {
      const { parent } = stage();
      const ref = actorOf(machineOf({}), { parent, syncSnapshot: true, input: 1, src: "named" });
      assert.deepEqual(Object.keys(ref._actorScope).sort(), [
        ...["actionExecutor", "defer", "emit", "id", "logger", "self", "sessionId", "stopChild", "system"],
      ]);
      assert.equal(ref._actorScope.self, ref);
      assert.equal(ref._syncSnapshot, true);
      assert.equal(ref.src, "named");
      assert.equal(ref.options.input, 1);
      assert.equal(ref.options.parent, parent);
      assert.ok(ref.observers instanceof Set && ref.eventListeners instanceof Map && Array.isArray(ref._deferred));
      assert.equal(ref.mailbox._active, false);
      const methods = ["_process", "_send", "_stop", "_error", "_complete", "_reportError", "_stopProcedure", "update"];
      for (const method of methods) assert.equal(typeof ref[method], "function", method);
    });

    test("goes from not started (0) to running (1) to stopped (2)", () => {
      const { parent, calls } = stage();
      const ref = actorOf(machineOf({}), { parent });
      assert.equal(ref._processingStatus, 0);
      ref.start();
      assert.equal(ref._processingStatus, 1);
      assert.equal(ref.mailbox._active, true);
      assert.ok(calls.includes("_register s0"));
      ref._stop();
      assert.equal(ref._processingStatus, 2);
      assert.ok(calls.indexOf("cancelAll s0") < calls.indexOf("_unregister s0"));
      assert.equal(ref.getSnapshot().status, "stopped");
    });

    test("keeps events in its mailbox until it is started, and takes none when it is stopped", () => {
      const { parent } = stage();
      const logic = fromTransition((seen: string[], event: Event) => [...seen, event.type], []);
      const ref = actorOf(logic, { parent });
      ref._send({ type: "A" });
      assert.deepEqual(ref.getSnapshot().context, []);
      ref.start();
      assert.deepEqual(ref.getSnapshot().context, ["A"]);
      ref._stop();
      ref._send({ type: "B" });
      assert.deepEqual(ref.getSnapshot().context, ["A", "xstate.stop"]);
    });

    test("a restored snapshot is given to restoreSnapshot, and no first snapshot is computed", () => {
      const { parent } = stage();
      const restored: unknown[] = [];
      const logic = {
        ...fromTransition((state: unknown) => state, 0),
        getInitialSnapshot: () => assert.fail("computed"),
        restoreSnapshot: (snapshot: unknown) => {
          restored.push(snapshot);
          return snapshot;
        },
      };
      const snapshot = { status: "active", context: 5 };
      assert.equal(actorOf(logic, { parent, snapshot })._snapshot, snapshot);
      assert.deepEqual(restored, [snapshot]);
    });

    test("send goes through the system, without a source", () => {
      const { parent, relayed } = stage();
      const ref = actorOf(machineOf({}), { parent }).start();
      ref.send({ type: "A" });
      assert.deepEqual(relayed, [{ source: undefined, target: ref, event: { type: "A" } }]);
    });

    test("tells its parent of its end, its error and its snapshots through the system", () => {
      const done = stage();
      actorOf(machineOf({ initial: "x", states: { x: { type: "final" } }, output: 7 }), {
        parent: done.parent,
        id: "d",
      }).start();
      assert.deepEqual(done.relayed[0]?.event, { type: "xstate.done.actor.d", output: 7, actorId: "d" });
      assert.equal(done.relayed[0]?.target, done.parent);

      const failed = stage();
      const ref = actorOf(machineOf({}), { parent: failed.parent, id: "f" }).start();
      ref._error("why");
      assert.deepEqual(failed.relayed[0]?.event, { type: "xstate.error.actor.f", error: "why", actorId: "f" });

      const synced = stage();
      actorOf(machineOf({}), { parent: synced.parent, id: "y", syncSnapshot: true }).start();
      assert.equal(synced.relayed[0]?.event.type, "xstate.snapshot.y");
    });

    test("an error thrown by a transition becomes its snapshot and goes to _error", () => {
      const { parent } = stage();
      const fail = () => {
        throw new Error("no");
      };
      const ref = actorOf(machineOf({ on: { A: { guard: fail } } }), { parent }).start();
      ref._send({ type: "A" });
      assert.equal(ref.getSnapshot().status, "error");
      assert.match(String(ref.getSnapshot().error), /no/);
      assert.equal(ref._processingStatus, 2);
    });

    test("each microstep is announced inside the transition: what is thrown there is thrown by the machine", () => {
      const { system, parent } = stage();
      const told: Event[] = [];
      const announce = system._sendInspectionEvent;
      system._sendInspectionEvent = (event) => {
        announce(event);
        if (event.type !== "@xstate.microstep") return;
        told.push(event);
        if (told.length === 7) throw new Error("enough");
      };
      const states = { a: { on: { A: "b" } }, b: { always: "c" }, c: { always: "b" } };
      const ref = actorOf(machineOf({ initial: "a", states }), { parent }).start();
      ref._send({ type: "A" });
      assert.equal(told.length, 7);
      assert.equal(told[0]?.actorRef, ref);
      assert.deepEqual(told[0]?.event, { type: "A" });
      assert.deepEqual(
        told.slice(0, 3).map(({ snapshot }) => (snapshot as Snapshot).value),
        ["b", "c", "b"],
      );
      assert.equal(ref.getSnapshot().status, "error");
      assert.match(String(ref.getSnapshot().error), /enough/);
    });

    test("an error in the first step becomes its snapshot, and the constructor does not throw", () => {
      const { parent } = stage();
      const ref = actorOf(machineOf({ context: () => assert.fail("no") }), { parent });
      assert.equal(ref._snapshot.status, "error");
    });

    test("update runs what was deferred", () => {
      const { parent } = stage();
      const ref = actorOf(machineOf({}), { parent }).start();
      let ran = 0;
      ref._actorScope.defer(() => ran++);
      ref.update(ref._snapshot, { type: "A" });
      assert.equal(ran, 1);
      assert.deepEqual(ref._deferred, []);
    });

    test("update with a snapshot that is done stops the actor and tells its parent", () => {
      const { parent, relayed } = stage();
      const ref = actorOf(machineOf({}), { id: "kid", parent }).start();
      ref.update({ ...ref._snapshot, status: "done", output: 7 }, { type: "A" });
      assert.deepEqual(
        relayed.map(({ event }) => [event.type, event.output]),
        [["xstate.done.actor.kid", 7]],
      );
      assert.deepEqual([ref._snapshot.status, ref.mailbox._active], ["done", false]);
    });

    test("the event of the beginning is taken by no transition, and `always` is looked at", () => {
      const { parent } = stage();
      const states = {
        a: { always: { guard: ({ context }: { context: { n: number } }) => context.n > 0, target: "b" } },
        b: {},
      };
      const ref = actorOf(machineOf({ context: { n: 0 }, initial: "a", on: { "*": ".a" }, states }), {
        parent,
      }).start();
      ref._snapshot = { ...ref._snapshot, context: { n: 1 } };
      ref._send({ type: "xstate.init" });
      assert.equal(ref._snapshot.value, "b");
    });

    test("a system id is set at the system before the first snapshot and again at the start", () => {
      const { parent, calls } = stage();
      const ref = actorOf(machineOf({ context: noting(calls) }), { parent, systemId: "bank" });
      assert.ok(calls.indexOf("_set bank s0") < calls.indexOf("context"));
      ref.start();
      assert.equal(calls.filter((call) => call === "_set bank s0").length, 2);
      // The one field that has another name in old versions: ask the system for the name of an actor, not the actor.
      assert.equal(ref.systemId ?? ref._systemId, "bank");
    });
  });

  describe(`${name}: children`, () => {
    const child = machineOf({ initial: "x", states: { x: {} } });
    const ways: Record<string, unknown> = {
      invoke: { invoke: { src: "child", id: "c" } },
      "inline invoke": { invoke: { src: child, id: "c" } },
      spawnChild: { entry: actions.spawnChild("child", { id: "c" }) },
      "spawn in assign": {
        context: {},
        entry: actions.assign((({ spawn }: { spawn: (src: string, options: object) => unknown }) => ({
          ref: spawn("child", { id: "c" }),
        })) as never),
      },
      "spawn in context": {
        context: ({ spawn }: { spawn: (src: string, options: object) => unknown }) => ({
          ref: spawn("child", { id: "c" }),
        }),
      },
    };
    for (const [way, config] of Object.entries(ways))
      test(`${way} makes them under our system, announced, with the parent's reference, and starts them with the parent`, () => {
        const { parent, adopted, system } = stage();
        const ref = actorOf(machineOf(config, { actors: { child } }), { parent });
        assert.deepEqual(
          adopted.map(({ id }) => id),
          ["s0", "c"],
        );
        const made = adopted[1]!;
        assert.equal(made._parent, ref);
        assert.equal(made.system, system);
        assert.equal(made.src, way === "inline invoke" ? "xstate.invoke.0.(machine)" : "child");
        assert.equal((ref._snapshot.children as Record<string, unknown>).c, made);
        assert.equal(made._processingStatus, 0);
        ref.start();
        assert.equal(made._processingStatus, 1);
      });
  });

  describe(`${name}: actions`, () => {
    const target = fromTransition((state: unknown) => state, 0);
    const config = {
      context: { n: 1 },
      entry: [actions.spawnChild(target, { id: "c" })],
      on: {
        RAISE: { actions: actions.raise({ type: "LATER" }, { delay: 5, id: "r" }) },
        SEND: { actions: actions.sendTo("c" as never, { type: "HELLO" } as never) },
        SEND_LATER: { actions: actions.sendTo("c" as never, { type: "HELLO" } as never, { delay: 7, id: "t" }) },
        CANCEL: { actions: actions.cancel("r") },
        SPAWN: { actions: actions.spawnChild(target, { id: "d" }) },
        STOP: { actions: actions.stopChild("c") },
        EMIT: { actions: actions.emit({ type: "told" }) },
        LOG: { actions: actions.log("text", "label") },
        CUSTOM: {
          actions: { type: "custom", params: ({ context }: { context: { n: number } }) => ({ n: context.n }) },
        },
        UNKNOWN: { actions: "unknown" },
        ASSIGN: { actions: actions.assign({ n: 2 }) },
        INLINE: { actions: inline },
      },
    };
    function inline() {}
    const custom = () => {};

    function executed(type: string) {
      const on = stage();
      const ref = actorOf(machineOf(config, { actions: { custom } }), { parent: on.parent }).start();
      const met: Action[] = [];
      const scope = ref._actorScope;
      const deferred: (() => void)[] = [];
      scope.actionExecutor = (action) => void met.push(action);
      scope.defer = (fn) => void deferred.push(fn);
      on.relayed.length = 0;
      on.scheduled.length = 0;
      on.calls.length = 0;
      ref._send({ type });
      return {
        ...on,
        ref,
        met,
        scope,
        run: () => met[0]?.exec?.(met[0].info, met[0].params),
        flush: () => deferred.map((fn) => fn()),
      };
    }

    const builtIns = [
      { event: "RAISE", type: "xstate.raise" },
      { event: "SEND", type: "xstate.sendTo" },
      { event: "SEND_LATER", type: "xstate.sendTo" },
      { event: "CANCEL", type: "xstate.cancel" },
      { event: "SPAWN", type: "xstate.spawnChild" },
      { event: "STOP", type: "xstate.stopChild" },
      { event: "EMIT", type: "xstate.emit" },
      { event: "LOG", type: "xstate.log" },
    ];
    for (const { event, type } of builtIns)
      test(`${event} is handed to the executor as ${type}, with the four things in its info`, () => {
        const { met, ref, relayed, scheduled } = executed(event);
        assert.deepEqual(
          met.map((action) => action.type),
          [type],
        );
        assert.deepEqual(Object.keys(met[0]!.info).sort(), ["context", "event", "self", "system"]);
        assert.equal(met[0]!.info.self, ref);
        assert.deepEqual([relayed, scheduled], [[], []], "nothing happens before exec");
      });

    test("a delayed raise is scheduled by us, with its id and a number of milliseconds", () => {
      const { run, flush, scheduled, ref } = executed("RAISE");
      run();
      assert.deepEqual(scheduled, [], "deferred until the transition has ended");
      flush();
      assert.deepEqual(scheduled, [{ source: ref, target: ref, event: { type: "LATER" }, delay: 5, id: "r" }]);
    });

    test("a send is relayed by us; a delayed one is scheduled", () => {
      const now = executed("SEND");
      now.run();
      now.flush();
      const { c } = now.ref._snapshot.children as Record<string, unknown>;
      assert.deepEqual(now.relayed, [{ source: now.ref, target: c, event: { type: "HELLO" } }]);
      const later = executed("SEND_LATER");
      later.run();
      later.flush();
      assert.deepEqual(
        later.scheduled.map(({ delay, id }) => [delay, id]),
        [[7, "t"]],
      );
    });

    test("cancel, stopChild, emit and log touch the scope and the system only", () => {
      const cancel = executed("CANCEL");
      cancel.run();
      cancel.flush();
      assert.deepEqual(
        cancel.calls.filter((call) => call.startsWith("cancel")),
        ["cancel s0 r"],
      );

      const stop = executed("STOP");
      const stopped: unknown[] = [];
      stop.scope.stopChild = (ref: unknown) => stopped.push(ref);
      stop.run();
      stop.flush();
      assert.deepEqual(
        stopped.map((ref) => (ref as Ref).id),
        ["c"],
      );

      const emit = executed("EMIT");
      const emitted: unknown[] = [];
      emit.scope.emit = (event: unknown) => emitted.push(event);
      emit.run();
      emit.flush();
      assert.deepEqual(emitted, [{ type: "told" }]);

      const log = executed("LOG");
      const lines: unknown[] = [];
      log.scope.logger = (...values: unknown[]) => lines.push(values);
      log.run();
      assert.deepEqual(lines, [["label", "text"]]);
      assert.deepEqual(log.met[0]!.params, { value: "text", label: "label" });
    });

    test("a spawned child is in the snapshot before exec, and exec starts it when the transition has ended", () => {
      const { run, flush, ref } = executed("SPAWN");
      const { d } = ref._snapshot.children as Record<string, Ref>;
      run();
      assert.equal(d?._processingStatus, 0);
      flush();
      assert.equal(d?._processingStatus, 1);
    });

    test("custom actions arrive with their own function, name and resolved parameters; assign does not arrive", () => {
      const named = executed("CUSTOM").met[0];
      assert.deepEqual([named?.type, named?.params, named?.exec], ["custom", { n: 1 }, custom]);
      const missing = executed("UNKNOWN").met[0];
      assert.deepEqual([missing?.type, missing?.params, missing?.exec], ["unknown", undefined, undefined]);
      const inlined = executed("INLINE").met[0];
      assert.deepEqual([inlined?.type, inlined?.params, inlined?.exec], ["inline", undefined, inline]);
      assert.deepEqual(executed("ASSIGN").met, []);
    });

    test("XState's own executor keeps an action that is met before the start until the start", () => {
      const { parent, system } = stage();
      let ran = 0;
      system.onActor = (ref) => {
        const { actionExecutor } = ref._actorScope;
        ref._actorScope.actionExecutor = (action) => actionExecutor({ ...action, exec: () => ran++ });
      };
      const ref = actorOf(machineOf({ entry: () => assert.fail("ran") }), { parent });
      assert.equal(ran, 0);
      ref.start();
      assert.equal(ran, 1);
    });

    test("an enqueueActions is a function with collect and resolve, and its resolve asks for collect alone", () => {
      const action = actions.enqueueActions(({ enqueue, check }) => {
        if (check(() => true)) enqueue(inline);
        enqueue.raise({ type: "A" });
      }) as unknown as { collect: unknown; type: string; resolve(...args: unknown[]): [unknown, unknown, unknown[]] };
      assert.equal(action.type, "xstate.enqueueActions");
      const scope = { self: 1, system: 2 };
      const info = { context: { n: 1 }, event: { type: "E" }, ...scope };
      const snapshot = { context: { n: 1 } };
      const met: Record<string, unknown>[] = [];
      const collect = (args: Record<string, unknown>, params: unknown) => {
        met.push({ ...args, params });
        (action.collect as (args: unknown, params: unknown) => void)({ ...args, check: () => true }, params);
      };
      const [same, params, enqueued] = action.resolve(scope, snapshot, info, "given", { collect });
      assert.equal(same, snapshot);
      assert.equal(params, undefined);
      assert.equal(enqueued[0], inline);
      assert.equal((enqueued[1] as { type: string }).type, "xstate.raise");
      assert.deepEqual(Object.keys(met[0]!).sort(), [
        "check",
        "context",
        "enqueue",
        "event",
        "params",
        "self",
        "system",
      ]);
      assert.equal(met[0]!.params, "given");
    });
  });

  describe(`${name}: promises, callbacks, observables`, () => {
    const scopeOf = (self: Record<string, unknown>, on: ReturnType<typeof stage>) =>
      ({ self, system: on.system, emit: () => {}, sessionId: "s9", id: "p", defer: () => {} }) as never;
    const standIn = (snapshot: unknown, parent?: unknown) => ({ getSnapshot: () => snapshot, _parent: parent });

    test("a promise relays its result to itself through the system", async () => {
      for (const [creator, event] of [
        [async () => 5, { type: "xstate.promise.resolve", data: 5 }],
        [async () => Promise.reject("why"), { type: "xstate.promise.reject", data: "why" }],
      ] as const) {
        const on = stage();
        const logic = fromPromise(creator as () => Promise<unknown>);
        const snapshot = logic.getInitialSnapshot(undefined as never, "input" as never);
        assert.deepEqual(snapshot, { status: "active", output: undefined, error: undefined, input: "input" });
        const self = standIn(snapshot);
        logic.start?.(snapshot, scopeOf(self, on));
        await new Promise(setImmediate);
        assert.deepEqual(on.relayed, [{ source: self, target: self, event }]);
        const after = logic.transition(snapshot, event as never, scopeOf(self, on));
        const [status, field] = event.type.endsWith("resolve") ? ["done", "output"] : ["error", "error"];
        assert.deepEqual([after.status, after[field as "output"], after.input], [status, event.data, undefined]);
      }
    });

    test("a promise gives its signal, its input and itself, and a stop of the same actor aborts it", () => {
      const on = stage();
      let given: Record<string, unknown> = {};
      const logic = fromPromise((args) => {
        given = args as never;
        return new Promise(() => {});
      });
      const snapshot = logic.getInitialSnapshot(undefined as never, 3 as never);
      const self = standIn(snapshot);
      logic.start?.(snapshot, scopeOf(self, on));
      assert.deepEqual(Object.keys(given).sort(), ["emit", "input", "self", "signal", "system"]);
      assert.equal(given.self, self);
      const signal = given.signal as AbortSignal;
      logic.transition(snapshot, { type: "xstate.stop" } as never, scopeOf(standIn(snapshot), on));
      assert.equal(signal.aborted, false, "another actor's stop");
      const stopped = logic.transition(snapshot, { type: "xstate.stop" } as never, scopeOf(self, on));
      assert.equal(signal.aborted, true);
      assert.equal(stopped.status, "stopped");
    });

    test("a promise that is not active is not run", () => {
      const logic = fromPromise(() => assert.fail("ran"));
      const snapshot = { status: "done", output: 1, error: undefined, input: undefined } as const;
      logic.start?.(snapshot as never, scopeOf(standIn(snapshot), stage()));
      assert.equal(logic.restoreSnapshot?.(snapshot as never, undefined as never), snapshot);
    });

    test("a callback sends back through the system, hears what it receives, and is disposed of at the stop", () => {
      const on = stage();
      const heard: string[] = [];
      const logic = fromCallback(({ sendBack, receive, input }) => {
        receive((event) => heard.push(event.type));
        sendBack({ type: "BACK", input });
        return () => heard.push("disposed");
      });
      const snapshot = logic.getInitialSnapshot(undefined as never, 1 as never);
      assert.deepEqual(snapshot, { status: "active", output: undefined, error: undefined, input: 1 });
      const self = standIn(snapshot, on.parent);
      logic.start?.(snapshot, scopeOf(self, on));
      assert.deepEqual(on.relayed, [{ source: self, target: on.parent, event: { type: "BACK", input: 1 } }]);
      assert.equal(logic.transition(snapshot, { type: "HI" } as never, scopeOf(self, on)), snapshot);
      const stopped = logic.transition(snapshot, { type: "xstate.stop" } as never, scopeOf(self, on));
      assert.deepEqual(heard, ["HI", "disposed"]);
      assert.equal(stopped.status, "stopped");
    });

    test("an observable relays to itself, and keeps its subscription out of what is stored", () => {
      const on = stage();
      let unsubscribed = 0;
      type Sink = { next(value: unknown): void; error(error: unknown): void; complete(): void };
      const logic = fromObservable((() => ({
        subscribe: (sink: Sink) => {
          sink.next(4);
          sink.error("why");
          sink.complete();
          return { unsubscribe: () => unsubscribed++ };
        },
      })) as never);
      const snapshot = logic.getInitialSnapshot(undefined as never, undefined as never);
      assert.ok("_subscription" in snapshot);
      const self = standIn(snapshot);
      logic.start?.(snapshot, scopeOf(self, on));
      assert.deepEqual(
        on.relayed.map(({ event }) => event),
        [
          { type: "xstate.observable.next", data: 4 },
          { type: "xstate.observable.error", data: "why" },
          { type: "xstate.observable.complete" },
        ],
      );
      assert.ok(on.relayed.every(({ source, target }) => source === self && target === self));
      assert.equal("_subscription" in (logic.getPersistedSnapshot(snapshot) as object), false);
      const stopped = logic.transition(snapshot, { type: "xstate.stop" } as never, scopeOf(self, on));
      assert.deepEqual([stopped.status, unsubscribed], ["stopped", 1]);
    });

    test("transition logic has no start, and computes only", () => {
      const logic = fromTransition((n: number, event: Event) => n + (event.by as number), 1);
      assert.equal(logic.start, undefined);
      const first = logic.getInitialSnapshot(undefined as never, undefined as never);
      assert.equal(logic.transition(first, { type: "A", by: 2 } as never, undefined as never).context, 3);
    });
  });

  describe(`${name}: the machine`, () => {
    const config = {
      id: "m",
      initial: "a",
      context: { n: 1 },
      states: {
        a: { invoke: { src: "job", id: "j" }, on: { GO: "b" } },
        b: { id: "own", initial: "x", states: { x: {}, h: { type: "history" } } },
      },
    };
    type Machine = Record<string, unknown> & {
      idMap: Map<string, Record<string, unknown>>;
      root: Record<string, unknown>;
      implementations: Record<string, unknown>;
      restoreSnapshot(snapshot: unknown, scope: unknown): Snapshot;
      getTransitionData(snapshot: unknown, event: Event): unknown[];
      getStateNodeById(id: string): Record<string, unknown>;
    };
    const machine = machineOf(config) as unknown as Machine;
    const restore = (given: Record<string, unknown>) =>
      machine.restoreSnapshot(
        { status: "active", context: {}, children: {}, historyValue: {}, ...given },
        { self: {} },
      );

    test("restores a state without entering it and without children", () => {
      const snapshot = restore({ value: "a" });
      assert.equal(snapshot.value, "a");
      assert.equal(snapshot.machine, machine);
      assert.deepEqual(snapshot.children, {});
      assert.deepEqual(
        (snapshot._nodes as { id: string }[]).map(({ id }) => id),
        ["m", "m.a"],
      );
    });

    test("revives the history by ids, and throws for a state that is gone", () => {
      const snapshot = restore({ value: { b: "x" }, historyValue: { "own.h": [{ id: "m.b.x" }] } });
      const [node] = (snapshot.historyValue as Record<string, { key: string }[]>)["own.h"] ?? [];
      assert.equal(node?.key, "x");
      assert.throws(() => restore({ value: "gone" }));
    });

    test("has the tables that we read", () => {
      assert.equal(machine.__xstatenode, true);
      assert.deepEqual([...machine.idMap.keys()], ["m", "m.a", "own", "m.b.x", "m.b.h"]);
      assert.equal(machine.idMap.get("m"), machine.root);
      assert.equal(machine.getStateNodeById("own"), machine.idMap.get("own"));
      assert.deepEqual(Object.keys(machine.implementations).sort(), ["actions", "actors", "delays", "guards"]);
      const node = machine.idMap.get("m.a")!;
      assert.equal(node.key, "a");
      assert.equal(node.parent, machine.root);
      assert.equal((node.config as { on: unknown }).on, config.states.a.on);
      assert.ok(node.transitions instanceof Map);
      assert.deepEqual(
        (node.invoke as { id: string; src: string }[]).map(({ id, src }) => [id, src]),
        [["j", "job"]],
      );
    });

    test("names timers by delay and state, and invoked children by place and state", () => {
      const timed = machineOf({
        id: "m",
        initial: "a",
        states: { a: { after: { 1000: "a", wait: "a" }, invoke: [{ src: "one" }, { src: "two", onSnapshot: {} }] } },
      }) as unknown as Machine;
      const node = timed.idMap.get("m.a") as unknown as {
        path: string[];
        after: { delay: unknown; eventType: string }[];
        invoke: { id: string; onSnapshot?: unknown }[];
      };
      assert.deepEqual(node.path, ["a"]);
      assert.deepEqual(
        node.after.map(({ delay, eventType }) => [delay, eventType]),
        [
          [1000, "xstate.after.1000.m.a"],
          ["wait", "xstate.after.wait.m.a"],
        ],
      );
      assert.deepEqual(
        node.invoke.map(({ id, onSnapshot }) => [id, onSnapshot !== undefined]),
        [
          ["0.m.a", false],
          ["1.m.a", true],
        ],
      );
    });

    test("tells which transitions an event would take", () => {
      assert.equal(machine.getTransitionData(restore({ value: "a" }), { type: "GO" }).length, 1);
      assert.equal(machine.getTransitionData(restore({ value: "a" }), { type: "NO" }).length, 0);
    });

    test("puts the executor back that it found in the scope, and uses ours meanwhile", () => {
      const { parent } = stage();
      const ref = actorOf(machineOf({ on: { A: { actions: () => {} } } }), { parent }).start();
      let met = 0;
      const ours = () => void met++;
      ref._actorScope.actionExecutor = ours;
      ref._send({ type: "A" });
      assert.equal(met, 1);
      assert.equal(ref._actorScope.actionExecutor, ours);
    });

    test("setup and provide give machines over the same configuration", () => {
      const made = setup({}).createMachine(config as never) as unknown as {
        config: unknown;
        provide(given: object): { config: unknown };
      };
      assert.equal(made.provide({}).config, made.config);
    });
  });
}
