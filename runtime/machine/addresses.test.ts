/** Every inline action has one readable address; it leads back to the function, or says that the place has changed. */
import assert from "node:assert/strict";
import { test } from "vitest";
import { type AnyActorLogic, assign, createActor, createMachine, enqueueActions, fromTransition } from "xstate";
import { type ActionAddress, addressBookOf, type CollectCall } from "./addresses.ts";

const named = () => {};
const ran: string[] = [];
const say = (text: string) => () => void ran.push(text);

const fns = Object.fromEntries([..."abcdefghijklmnopq"].map((letter) => [letter, say(letter)])) as unknown as Record<
  string,
  () => void
>;

const everywhere = () =>
  createMachine(
    {
      entry: [fns.a!, "named", assign({}), fns.b!],
      exit: fns.c!,
      on: {
        "order.paid": { actions: fns.d! },
        PAY: [{ guard: () => false, actions: [] }, { actions: ["named", fns.e!] }],
      },
      initial: "paying",
      states: {
        paying: {
          entry: fns.f!,
          initial: "now",
          after: { 1000: { actions: fns.g! }, soon: [{ actions: [fns.h!] }] },
          always: [{ guard: () => false, actions: fns.i! }],
          onDone: { actions: fns.j! },
          invoke: [
            {
              src: "pay",
              onDone: [{ actions: ["named", fns.k!] }],
              onError: { actions: fns.l! },
              onSnapshot: { actions: fns.m! },
            },
          ],
          states: { now: { type: "final", entry: [fns.n!] } },
        },
        "odd name": { initial: { target: "x", actions: [fns.o!] }, states: { x: { exit: [fns.p!, fns.a!] } } },
      },
    } as never,
    { actions: { named } },
  );

const places: Record<string, string> = {
  a: "root.entry[0]",
  b: "root.entry[3]",
  c: "root.exit[0]",
  d: 'root.on["order.paid"][0].actions[0]',
  e: "root.on.PAY[1].actions[1]",
  f: "states.paying.entry[0]",
  g: "states.paying.after.1000[0].actions[0]",
  h: "states.paying.after.soon[0].actions[0]",
  i: "states.paying.always[0].actions[0]",
  j: "states.paying.onDone[0].actions[0]",
  k: "states.paying.invoke[0].onDone[0].actions[1]",
  l: "states.paying.invoke[0].onError[0].actions[0]",
  m: "states.paying.invoke[0].onSnapshot[0].actions[0]",
  n: "states.paying.states.now.entry[0]",
  o: 'states["odd name"].initial.actions[0]',
  p: 'states["odd name"].states.x.exit[0]',
};

for (const [letter, path] of Object.entries(places))
  test(`an action at ${path} is found there again`, () => {
    const book = addressBookOf(everywhere());
    const address = book.addressOf(fns[letter]);
    assert.equal(address?.path, path);
    assert.match(address.list, /^[0-9a-f]{16}$/);
    const later = addressBookOf(everywhere()).resolve(JSON.parse(JSON.stringify(address)) as ActionAddress);
    assert.deepEqual(later, { fn: fns[letter] });
    assert.equal(book.callsOf(fns[letter]), undefined);
  });

test("named actions, strangers and other logic have no address", () => {
  const book = addressBookOf(everywhere());
  for (const fn of [named, fns.q, "named", undefined]) assert.equal(book.addressOf(fn), undefined);
  assert.equal(addressBookOf(fromTransition((state) => state, 0)).addressOf(fns.a), undefined);
});

test("a book is made once per machine", () => {
  const machine = everywhere();
  assert.equal(addressBookOf(machine), addressBookOf(machine));
});

test("the transition functions of all XState versions that we support are seen with their names", () => {
  const machine = createMachine({ on: { A: { actions: [function first() {}, named] } } });
  const book = addressBookOf(machine);
  assert.equal(book.addressOf(named)?.path, "root.on.A[0].actions[1]");
});

const one = function one() {};
const two = function two() {};
const entryOf = (entry: unknown) => addressBookOf(createMachine({ entry } as never));
const changes = [
  { it: "the same list", entry: [one, "named", two], expect: "found" },
  { it: "a list with parameters added", entry: [one, { type: "named", params: { a: 1 } }, two], expect: "found" },
  { it: "a list without another action", entry: [one, two], expect: "changed" },
  { it: "a list with another action added", entry: [one, "named", two, "more"], expect: "changed" },
  { it: "a list in another order", entry: [two, "named", one], expect: "changed" },
  { it: "a list with another name", entry: [one, "other", two], expect: "changed" },
  { it: "a name in place of the function", entry: ["one", "named", two], expect: "changed" },
  { it: "a shorter list", entry: [], expect: "changed" },
  { it: "no list at all", entry: undefined, expect: "gone" },
];
for (const { it, entry, expect } of changes)
  test(`after a deploy with ${it}: ${expect}`, () => {
    const address = entryOf([one, "named", two]).addressOf(one);
    assert.ok(address);
    const resolved = entryOf(entry).resolve(address);
    assert.equal("fn" in resolved ? "found" : resolved.missing, expect);
    if ("missing" in resolved) assert.ok(resolved.detail.includes("root.entry[0]"));
  });

// ---- enqueueActions ----

type Met = { fn: unknown; address: ActionAddress | undefined; calls: readonly CollectCall[] | undefined };

/** Runs a machine with XState itself, and notes the address of every function that it would execute. */
function meet(machine: AnyActorLogic, event?: { type: string }): Met[] {
  const book = addressBookOf(machine);
  const met: Met[] = [];
  const actor = createActor(machine, {
    inspect: (inspected) => {
      if (inspected.type !== "@xstate.actor") return;
      const scope = (inspected.actorRef as unknown as { _actorScope: Record<string, unknown> })._actorScope;
      scope.actionExecutor = ({ type, exec }: { type: string; exec: unknown }) => {
        if (!type.startsWith("xstate."))
          met.push({ fn: exec, address: book.addressOf(exec), calls: book.callsOf(exec) });
      };
    },
  }).start();
  if (event) actor.send(event as never);
  return met;
}

const environment = (calls: readonly CollectCall[] | undefined, event: object = { type: "GO" }) => ({
  event,
  self: { id: "self" },
  system: {},
  calls: calls ?? [],
});

const run = (fn: unknown) => {
  ran.length = 0;
  assert.ok(typeof fn === "function");
  fn();
  return [...ran];
};

const few = ({ context }: { context: { n: number } }) => context.n < 2;

const enqueuing = () =>
  createMachine(
    {
      types: {} as { context: { n: number }; events: { type: "GO"; text: string } },
      context: { n: 1 },
      on: {
        GO: {
          actions: [
            enqueueActions(({ enqueue, context, check, event }) => {
              enqueue.assign({ n: 5 });
              enqueue("plain");
              if (check(few)) enqueue(say(`few ${event.text} ${context.n}`));
              enqueue.raise({ type: "GO", text: "later" }, { delay: 1000 });
              enqueue(say(`always ${event.text} ${context.n}`));
            }),
            { type: "twice", params: { suffix: "!" } },
          ],
        },
      },
    },
    {
      actions: {
        twice: enqueueActions(({ enqueue, event }, params) => {
          const { suffix } = params as unknown as { suffix: string };
          for (const word of ["x", "y"]) enqueue(say(word + event.text + suffix));
        }),
        plain: () => {},
      },
    },
  );

test("functions that are enqueued are made again from the address and the inputs of the run", () => {
  const event = { type: "GO", text: "hi" };
  const met = meet(enqueuing(), event).filter(({ address }) => address !== undefined);
  assert.deepEqual(
    met.map(({ address }) => address?.path),
    ["root.on.GO[0].actions[0]#0", "root.on.GO[0].actions[0]#1", "actions.twice#0", "actions.twice#1"],
  );
  const texts = met.map(({ address, calls }) => {
    // The context of the call is that before the enqueued assign: what the collecting function saw.
    const resolved = addressBookOf(enqueuing()).resolve(address!, environment(calls, event));
    assert.ok("fn" in resolved, JSON.stringify(resolved));
    return run(resolved.fn)[0];
  });
  assert.deepEqual(texts, ["few hi 1", "always hi 1", "xhi!", "yhi!"]);
  assert.deepEqual(met[0]?.calls, [{ context: { n: 1 }, params: undefined, checks: [true] }]);
});

test("two runs of one enqueueActions are told apart by their inputs", () => {
  const machine = enqueuing();
  const first = meet(machine, { type: "GO", text: "1" } as never)[1];
  const second = meet(machine, { type: "GO", text: "2" } as never)[1];
  const resolved = addressBookOf(machine).resolve(
    first!.address!,
    environment(first!.calls, { type: "GO", text: "1" }),
  );
  assert.ok("fn" in resolved);
  assert.deepEqual(run(resolved.fn), run(first!.fn));
  assert.notDeepEqual(run(second!.fn), run(first!.fn));
});

test("enqueueActions inside enqueueActions, at any depth", () => {
  const nested = () =>
    createMachine({
      context: { n: 0 },
      entry: enqueueActions(({ enqueue, context: { n } }) => {
        enqueue(say(`outer ${n}`));
        enqueue.assign({ n: 1 });
        enqueue(
          enqueueActions(({ enqueue: inner, context }) => {
            inner(say(`inner ${n} ${context.n}`));
            inner(enqueueActions(({ enqueue: deepest }) => deepest(say("deepest"))));
          }),
        );
        enqueue(say("last"));
      }),
    });
  const met = meet(nested());
  assert.deepEqual(
    met.map(({ address }) => address?.path),
    ["root.entry[0]#0", "root.entry[0]#1#0", "root.entry[0]#1#1#0", "root.entry[0]#2"],
  );
  const texts = met.map(({ address, calls }) => {
    const resolved = addressBookOf(nested()).resolve(address!, environment(calls));
    assert.ok("fn" in resolved);
    return run(resolved.fn)[0];
  });
  assert.deepEqual(texts, ["outer 0", "inner 0 1", "deepest", "last"]);
});

test("a stable function that stands in the configuration keeps that address when it is enqueued too", () => {
  const machine = createMachine({ exit: one, entry: enqueueActions(({ enqueue }) => void enqueue(one)) });
  assert.equal(meet(machine)[0]?.address?.path, "root.exit[0]");
});

test("one enqueueActions shared by two machines has a place in each", () => {
  const shared = enqueueActions(({ enqueue }) => enqueue(say("shared")));
  const a = createMachine({ entry: shared } as never);
  const b = createMachine({ exit: [one, shared], entry: shared } as never);
  addressBookOf(b);
  assert.equal(meet(a)[0]?.address?.path, "root.entry[0]#0");
  assert.equal(meet(b)[0]?.address?.path, "root.entry[0]#0");
});

const before = (enqueue: Enqueue) => {
  enqueue(one);
  enqueue("x");
};
const otherCode = [
  { it: "the same code", collect: before, expect: "found" },
  { it: "one action less", collect: (enqueue: Enqueue) => enqueue(one), expect: "changed" },
  { it: "none of it", collect: () => {}, expect: "changed" },
  {
    it: "a throw",
    collect: () => {
      throw new Error("no");
    },
    expect: "changed",
  },
  {
    it: "a guard that was not asked",
    collect: (enqueue: Enqueue, check: (guard: unknown) => boolean) => check(() => true) && before(enqueue),
    expect: "changed",
  },
];
type Enqueue = (action: unknown) => void;
for (const { it, collect, expect } of otherCode)
  test(`an enqueued action after a deploy with ${it}: ${expect}`, () => {
    const machineOf = (code: (typeof otherCode)[number]["collect"]) =>
      createMachine({
        entry: enqueueActions(({ enqueue, check }) => code(enqueue as Enqueue, check as never)),
      } as never);
    const [met] = meet(machineOf(before));
    const resolved = addressBookOf(machineOf(collect)).resolve(met!.address!, environment(met!.calls));
    assert.equal("fn" in resolved ? "found" : resolved.missing, expect);
  });

test("without the inputs of its run an enqueued action is not guessed", () => {
  const machine = enqueuing();
  const met = meet(machine, { type: "GO", text: "hi" } as never)[1];
  assert.ok("missing" in addressBookOf(machine).resolve(met!.address!));
});
