/** The diagram: one story that shows every element, and the odd names that would break a careless writer. */
import assert from "node:assert/strict";
import { test } from "vitest";
import { type AnyStateMachine, and, createMachine, fromPromise, not } from "xstate";
import { mermaidOf } from "./graph.ts";

const machineOf = (config: unknown): AnyStateMachine => createMachine(config as never);

const order = () =>
  machineOf({
    id: "order",
    initial: "idle",
    on: { RESET: ".idle", PING: { actions: "pong" } },
    states: {
      idle: { on: { PAY: [{ guard: "ok", target: "paying", actions: ["note", () => 1] }, { target: "idle" }] } },
      paying: {
        initial: "card",
        entry: "lock",
        invoke: [
          { src: "charge", id: "charge", onDone: "packing", onError: { target: "idle", actions: "say" } },
          { src: fromPromise(async () => 1) },
        ],
        after: { 1000: "idle", patience: { target: "idle" } },
        states: {
          card: { always: { guard: and(["rich", not(() => true)]), target: "cash" } },
          cash: {},
          h: { type: "history", history: "deep" },
        },
      },
      packing: {
        type: "parallel",
        onDone: "sent",
        states: { box: {}, label: { initial: "a", states: { a: { type: "final" } } } },
      },
      sent: { type: "final" },
    },
  });

const expected = `stateDiagram-v2
  state "order<br/>RESET → idle<br/>PING / pong" as s {
    [*] --> s__idle
    state "idle" as s__idle
    state "paying<br/>entry / lock<br/>invoke charge<br/>invoke inline as 1.order.paying" as s__paying {
      [*] --> s__paying__card
      state "card" as s__paying__card
      state "cash" as s__paying__cash
      state "h (deep history)" as s__paying__h
      s__paying__card --> s__paying__cash : always [and(rich, not(inline))]
    }
    state "packing" as s__packing {
      state "box" as s__packing__box
      --
      state "label" as s__packing__label {
        [*] --> s__packing__label__a
        state "a" as s__packing__label__a
        s__packing__label__a --> [*]
      }
    }
    state "sent" as s__sent
    s__idle --> s__paying : PAY [ok] / note, inline
    s__idle --> s__idle : PAY
    s__paying --> s__packing : done charge
    s__paying --> s__idle : error charge / say
    s__paying --> s__idle : after 1000ms
    s__paying --> s__idle : after patience
    s__packing --> s__sent : done
    s__sent --> [*]
  }
`;

test("every element of a machine has its place in the diagram", () => {
  assert.equal(mermaidOf(order()), expected);
});

test("live states are marked, those around them and regions too", () => {
  const lines = (value: never) => mermaidOf(order(), { value }).split("\n").slice(-3);
  assert.deepEqual(lines({ packing: { box: {}, label: "a" } } as never), [
    "  classDef live fill:#1d4ed8,color:#ffffff,stroke:#1e3a8a",
    "  class s,s__packing,s__packing__box,s__packing__label,s__packing__label__a live",
    "",
  ]);
  assert.equal(lines("idle" as never)[1], "  class s,s__idle live");
});

test("odd names are escaped in ids and labels, and stay apart", () => {
  const odd = ['a "b": c; d', "a_b", "a-b", "end", "état", "a__b", "{}", "#1"];
  const states = Object.fromEntries(odd.map((key) => [key, { on: { 'X: "y";\n{z}': { actions: "f:g" } } }]));
  const text = mermaidOf(
    machineOf({ id: "o", initial: "end", states: { ...states, a: { initial: "b", states: { b: {} } } } }),
  );
  const ids = [...text.matchAll(/ as (\S+)/g)].map(([, id]) => id);
  assert.equal(new Set(ids).size, odd.length + 3);
  for (const id of ids) assert.match(String(id), /^s(__\w+)?$/);
  for (const line of text.split("\n").filter((each) => each.includes(" as "))) {
    assert.match(line, /^ +state "[^"]*" as \w+( \{)?$/);
    assert.doesNotMatch(line.replaceAll(/#\d+;/g, "").replace(/ \{$/, ""), /[:;{}#]/);
  }
});

test("a machine without states is one box", () => {
  assert.equal(mermaidOf(machineOf({ id: "m" })), 'stateDiagram-v2\n  state "m" as s\n');
});
