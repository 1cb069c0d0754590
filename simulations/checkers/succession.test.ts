import assert from "node:assert/strict";
import { test } from "vitest";
import { checkSuccessions, type Succession } from "./succession.ts";

const rule = { ttlMs: 3_000, troubles: [], endMs: 60_000 };
const died: Succession = { job: "j", everyMs: 1_000, diedMs: 10_000, grantedMs: 12_500, ranMs: 13_000 };

const cases: readonly {
  it: string;
  one: Partial<Succession>;
  troubles?: readonly { fromMs: number; untilMs: number }[];
  beyondMs: readonly number[];
  isLate: boolean;
}[] = [
  { it: "takes a run within the bound", one: {}, beyondMs: [3_000], isLate: false },
  { it: "takes one at the bound", one: { ranMs: 14_050 }, beyondMs: [4_050], isLate: false },
  { it: "refuses one beyond it", one: { ranMs: 14_051 }, beyondMs: [4_051], isLate: true },
  {
    it: "does not count what the back end took longer than its time to live",
    one: { grantedMs: 14_000, ranMs: 15_050 },
    beyondMs: [4_050],
    isLate: false,
  },
  {
    it: "counts what came after the grant",
    one: { grantedMs: 14_000, ranMs: 15_051 },
    beyondMs: [4_051],
    isLate: true,
  },
  { it: "gives a longer period its time", one: { everyMs: 2_000, ranMs: 15_050 }, beyondMs: [5_050], isLate: false },
  { it: "refuses a job that never ran again", one: { ranMs: undefined }, beyondMs: [50_000], isLate: true },
  {
    it: "says nothing where something else was wrong at the time",
    one: { ranMs: 14_051 },
    troubles: [{ fromMs: 9_000, untilMs: 10_001 }],
    beyondMs: [],
    isLate: false,
  },
  {
    it: "is not put off by what was over before",
    one: { ranMs: 14_051 },
    troubles: [{ fromMs: 9_000, untilMs: 10_000 }],
    beyondMs: [4_051],
    isLate: true,
  },
];

for (const { it, one, troubles = [], beyondMs, isLate } of cases)
  test(`the rule of successions ${it}`, () => {
    const judged = checkSuccessions([{ ...died, ...one }], { ...rule, troubles });
    assert.deepEqual(judged.beyondMs, beyondMs);
    assert.deepEqual(
      judged.violations.map((violation) => violation.rule),
      isLate ? ["succeeded-late"] : [],
    );
  });
