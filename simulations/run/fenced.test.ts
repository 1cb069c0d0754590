/** Effects that write to a resource with their token: what a late owner does there, and what a fence makes of it. */
import assert from "node:assert/strict";
import { describe, test } from "vitest";
import { assign, fromPromise, setup } from "xstate";
import { defineActor, effectOf } from "../../runtime/index.ts";
import { fenced, type Process } from "./cluster.ts";
import { type SimulateOptions, SimulationError, simulate } from "./simulate.ts";

/** Sells, and books what was sold so far as its balance. */
const till = (book: (balance: string, effect: ReturnType<typeof effectOf>) => Promise<unknown>) =>
  setup({
    types: { context: {} as { sold: number }, events: {} as { type: "SELL" } },
    actors: { book: fromPromise<unknown, number>((args) => book(String(args.input), effectOf(args))) },
  }).createMachine({
    context: { sold: 0 },
    initial: "open",
    states: {
      open: { on: { SELL: { target: "booking", actions: assign({ sold: ({ context }) => context.sold + 1 }) } } },
      booking: {
        invoke: { src: "book", input: ({ context }) => context.sold, onDone: "open" },
        on: { SELL: "booking" },
      },
    },
  });

const insist = { effects: { book: { retry: { attempts: 1_000, initialMs: 50, maxMs: 1_000 } } } };

const throughTheFence = ({ register, node }: Process) => ({
  till: defineActor(
    till(async (value, { key, token }) => {
      const outcome = await register("ledger").write({
        key: "till",
        claim: { token, holder: node },
        value,
        effect: key,
      });
      if (outcome.kind === "fenced" || outcome.kind === "unknown") throw new Error(outcome.kind);
    }),
    insist,
  ),
});

const sales: SimulateOptions["workload"] = [
  { to: "till/1", create: undefined, key: "make", first: true },
  ...Array.from({ length: 6 }, (_, n) => ({ to: "till/1", send: { type: "SELL" }, waitMs: 900, key: `s${n}` })),
];

async function reportOf(options: Omit<SimulateOptions, "workload">): Promise<string> {
  try {
    await simulate({ workload: sales, seeds: 200, ...options });
  } catch (error) {
    if (error instanceof SimulationError) return error.message;
    throw error;
  }
  return assert.fail("nothing was found");
}

describe("an effect that writes to a resource outside", () => {
  test("holds where the resource checks the token", async () => {
    await simulate({
      actors: throughTheFence,
      services: { ledger: fenced() },
      workload: sales,
      seeds: 40,
      invariants: { "something was booked": ({ stored }) => stored("ledger", "till") !== undefined },
    });
  });

  test("is found where the resource takes the token and looks at nothing: a late owner overwrites a newer one", async () => {
    const report = await reportOf({
      actors: throughTheFence,
      services: { ledger: fenced({ checks: false }) },
      faults: ["takeovers", "services"],
    });
    assert.match(report, /token-fell/);
    assert.match(report, /at ledger\/till was let in after/);
    console.log(report);
  });

  test("is found where it writes past the fence, without a token", async () => {
    const report = await reportOf({
      actors: ({ service }) => ({
        till: defineActor(
          till((value, { key }) => service("ledger")({ do: "write", key: "till", value, effect: key })),
          insist,
        ),
      }),
      services: { ledger: fenced() },
      faults: [],
      seeds: 1,
    });
    assert.match(report, /unfenced-write/);
    assert.match(report, /without a token/);
  });
});
