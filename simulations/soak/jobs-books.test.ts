import { describe, expect, test } from "vitest";
import type { DoneEntry, HostedJob } from "./jobs.ts";
import { checkJobs, type JobBooks } from "./jobs-books.ts";
import { latenessIn } from "./lateness.ts";

const fromMs = 10_000;
const done = (job: string, slot: number, late = 3): DoneEntry => ({
  job,
  slot,
  atMs: slot + 500 + late,
  clockMs: slot + 500 + late,
  owner: "host-1",
});
const over = (name: string, leftOut: HostedJob["leftOut"] = {}): HostedJob => ({
  name,
  first: fromMs,
  next: null,
  open: 0,
  begun: 5,
  leftOut,
  failed: 0,
});

type Books = { -readonly [Field in keyof JobBooks]: JobBooks[Field] };

/** Two jobs, five slots each; the second left one out, and says so. */
function right(): Books {
  const slots = [10_000, 11_000, 12_000, 13_000, 14_000];
  return {
    fromMs,
    untilMs: 15_000,
    jobs: [over("a"), over("b", { superseded: 1, overlap: 0 })],
    done: [...slots.map((slot) => done("a", slot)), ...slots.slice(1).map((slot) => done("b", slot))],
    offsetMsOf: () => 500,
  };
}

describe("the books of the jobs", () => {
  test("that are right have no differences", () => {
    const { lost, doubled, early, differences, due, leftOut } = checkJobs(right());
    expect({ lost, doubled, early, differences, due, leftOut }).toEqual({
      lost: 0,
      doubled: 0,
      early: 0,
      differences: [],
      due: 10,
      leftOut: { superseded: 1 },
    });
  });

  test("hold nothing against a node that is behind, and runs what another was rightly told the time for", () => {
    const books = right();
    const [first, ...others] = books.done;
    expect(checkJobs({ ...books, done: [{ ...first!, clockMs: first!.atMs - 3_000 }, ...others] }).early).toBe(0);
  });

  const wrong: [string, (books: Books) => void, { lost?: number; doubled?: number; early?: number }, RegExp][] = [
    [
      "a slot that was lost",
      (books) => {
        books.done = books.done.filter(({ job, slot }) => job !== "a" || slot !== 12_000);
      },
      { lost: 1 },
      /a: 5 slots were due, 4 done and 0 counted/,
    ],
    [
      "a slot that was done twice",
      (books) => {
        books.done = [...books.done, done("a", 11_000)];
      },
      { doubled: 1 },
      /a\/11000 was done twice, the second time by host-1/,
    ],
    [
      "a slot that was begun early",
      (books) => {
        books.done = [done("a", 10_000, -1), ...books.done.slice(1)];
      },
      { early: 1 },
      /a\/10000 was begun 1 ms early/,
    ],
    [
      "a slot that was done and counted as left out",
      (books) => {
        books.done = [...books.done, done("b", 10_000)];
      },
      {},
      /b: 5 done and 1 left out are more than the 5/,
    ],
    [
      "a slot that is no slot",
      (books) => {
        books.done = [...books.done, done("a", 11_001), done("a", 15_000)];
      },
      {},
      /a\/11001 was done, and nobody had asked for it\na\/15000/,
    ],
    [
      "a job that goes on",
      (books) => {
        books.jobs = [{ ...over("a"), open: 1 }, over("b", { superseded: 1 })];
      },
      {},
      /a is not over: 1 runs are open/,
    ],
    [
      "a job that never was",
      (books) => {
        books.done = books.done.filter(({ job }) => job !== "a");
      },
      { lost: 5 },
      /a: 5 slots were due, 0 done/,
    ],
  ];
  test.each(wrong)("name %s", (_, spoil, sums, message) => {
    const books = right();
    spoil(books);
    const { lost, doubled, early, differences } = checkJobs(books);
    expect(differences.join("\n")).toMatch(message);
    expect({ lost, doubled, early }).toEqual({ lost: 0, doubled: 0, early: 0, ...sums });
  });
});

test("lateness is told by the window in which a run was due", () => {
  const windows = [
    { name: "calm", fromMs: 0, untilMs: 10 },
    { name: "storm", fromMs: 10, untilMs: 20 },
    { name: "calm", fromMs: 20, untilMs: 30 },
  ];
  const runs = [0, 9, 10, 19, 20, 30].map((dueMs) => ({ dueMs, lateMs: dueMs * 2 }));
  expect(latenessIn(windows, runs)).toEqual([
    { window: "calm", runs: 3, p50Ms: 18, p99Ms: 40, p999Ms: 40, maxMs: 40 },
    { window: "storm", runs: 2, p50Ms: 38, p99Ms: 38, p999Ms: 38, maxMs: 38 },
  ]);
});
