/** Random cases: machines, workloads and troubles, small enough to be read when one fails. */
import fc from "fast-check";
import {
  anyClockJump,
  anyCrash,
  anyCut,
  anyFreeze,
  anyMove,
  anyRate,
  anyWatchFaults,
  anyWriteFaults,
  rarely,
} from "./any-trouble.ts";
import type { Case, Command, Rates } from "./case.ts";
import type { Doing, MachineSpec, StateSpec, TransitionSpec } from "./machines.ts";

const small = (max: number) => fc.integer({ min: 0, max });

const doing: fc.Arbitrary<Doing> = fc.oneof(
  fc.constant<Doing>({ do: "count" }),
  fc.constant<Doing>({ do: "named" }),
  fc.constant<Doing>({ do: "inline" }),
  fc.constant<Doing>({ do: "flaky" }),
  fc.record({ do: fc.constant("send" as const), to: small(3) }),
  fc.record({ do: fc.constant("send" as const), to: small(3) }),
  fc.constant<Doing>({ do: "emit" }),
  fc.record({
    do: fc.constant("timer" as const),
    delayMs: fc.constantFrom(5, 100, 1_500, 9_000),
    id: fc.constantFrom("x", "y"),
  }),
  fc.record({ do: fc.constant("cancel" as const), id: fc.constantFrom("x", "y") }),
);

const list = fc.array(doing, { maxLength: 3 });

const transition: fc.Arbitrary<TransitionSpec> = fc.record({
  target: fc.option(small(2), { nil: undefined }),
  throws: fc.boolean(),
  doing: list,
});

const state: fc.Arbitrary<StateSpec> = fc.record(
  {
    on: fc.record({ A: transition, B: transition, C: transition }, { requiredKeys: [] }),
    entry: fc.array(doing, { maxLength: 1 }),
    exit: fc.array(doing, { maxLength: 1 }),
    after: fc.record({ delayMs: fc.constantFrom(10, 200, 3_000), target: small(2) }),
    invoke: fc.record({ failures: small(3), done: small(2), error: small(2) }),
    innerMs: fc.constantFrom(20, 500),
  },
  { requiredKeys: ["on", "entry", "exit"] },
);

const machine: fc.Arbitrary<MachineSpec> = fc.record({
  regions: fc.array(fc.array(state, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 2 }),
});

const command: fc.Arbitrary<Command> = fc.record({
  actor: small(3),
  type: fc.constantFrom("A", "A", "B", "B", "C", "C", "N"),
  throws: fc.integer({ min: 0, max: 7 }).map((dice) => dice === 7),
  callersKey: fc.boolean(),
  again: fc.boolean(),
  waitMs: fc.constantFrom(0, 0, 1, 30, 400, 2_500),
});

const trouble = fc.oneof(
  anyCrash(300),
  anyFreeze(300, 12_000),
  anyMove(12_000),
  anyMove(4_000, fc.constant(false)),
  anyCut(10_000),
  anyClockJump(10_000, -2_000, -500, 700, 2_500),
);

const rates: fc.Arbitrary<Rates> = fc.record({
  store: fc.record({
    write: fc.record({ ...anyWriteFaults, full: fc.constantFrom(0, 0, 0.03) }),
    read: fc.record({ unreachable: anyRate, "slow-answer": rarely }),
    watch: anyWatchFaults,
  }),
  request: fc.record({
    "lose-request": anyRate,
    "lose-reply": anyRate,
    duplicate: anyRate,
    "duplicate-late": anyRate,
    late: anyRate,
    nobody: anyRate,
  }),
  publish: fc.record({ lose: anyRate, duplicate: anyRate }),
});

export const anyCase: fc.Arbitrary<Case> = fc.record({
  seed: fc.integer({ min: 1, max: 1_000_000 }),
  machines: fc.array(machine, { minLength: 1, maxLength: 2 }),
  actors: fc.array(small(1), { minLength: 1, maxLength: 3 }),
  clients: fc.array(fc.array(command, { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 3 }),
  troubles: fc.array(trouble, { maxLength: 4 }),
  rates,
});
