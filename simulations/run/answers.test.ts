/** Hand-made runs, one bad one per rule, for what callers were told and what the store's log says of its writers. */
import assert from "node:assert/strict";
import { describe, test } from "vitest";
import { assign, createMachine } from "xstate";
import type { Document } from "../../runtime/document.ts";
import type { AppliedChange } from "../world/store-data.ts";
import { judgeConvergence, judgeLinearizability, judgeReplies, replyOf } from "./answers.ts";
import type { StepResult } from "./cluster.ts";
import { judgeParkedActors, judgeTokens } from "./log-rules.ts";
import { simulate } from "./simulate.ts";
import type { Story } from "./story.ts";

const rulesOf = (violations: readonly { readonly rule: string }[]) => violations.map(({ rule }) => rule);

/** Each commit is the keys that it applied. */
function storyOf(commits: readonly (readonly string[])[]): Story {
  const versions = commits.map((keys, index) => ({
    atMs: index,
    node: "n1",
    document: {
      seq: index + 1,
      status: "active",
      causes: keys.map((key) => ({ type: "E", key })),
    } as unknown as Document,
  }));
  const nothing = { violations: [], pending: new Map(), recorded: [], scheduled: [], cancelled: [], fired: [] };
  return { ...nothing, versions: new Map([["a.1", versions]]) };
}

const asked = (key: string, callMs: number, returnMs: number, outcome: StepResult["outcome"] = "acknowledged") =>
  ({ step: { to: "a/1", send: { type: "E" } }, outcome, callMs, returnMs, keys: new Set([key]) }) satisfies StepResult;

describe("one order of all that was asked", () => {
  const cases: readonly {
    readonly it: string;
    readonly commits: readonly (readonly string[])[];
    readonly results: readonly StepResult[];
    readonly broken: readonly string[];
  }[] = [
    { it: "as it was called", commits: [["x"], ["y"]], results: [asked("x", 0, 1), asked("y", 2, 3)], broken: [] },
    { it: "overlapping", commits: [["y"], ["x"]], results: [asked("x", 0, 9), asked("y", 2, 3)], broken: [] },
    { it: "a repetition", commits: [["x"]], results: [asked("x", 0, 1), asked("x", 2, 3)], broken: [] },
    { it: "unknown and there", commits: [["x"]], results: [asked("x", 0, 1, "unknown")], broken: [] },
    { it: "unknown and not there", commits: [], results: [asked("x", 0, 1, "unknown")], broken: [] },
    {
      it: "answered before it was applied",
      commits: [["y"], ["x"]],
      results: [asked("x", 0, 1), asked("y", 2, 3)],
      broken: ["not-linearizable"],
    },
    { it: "acknowledged and nowhere", commits: [["y"]], results: [asked("x", 0, 1)], broken: ["not-linearizable"] },
  ];
  test.each(cases)("$it", ({ commits, results, broken }) =>
    assert.deepEqual(rulesOf(judgeLinearizability(results, storyOf(commits))), broken),
  );
});

test("replies are held against the commits that they name", () => {
  const body = { op: "event", actor: "a.1", key: { kind: "caller", key: "x" }, event: { type: "E" } } as const;
  const receipt = (revision: number, duplicate: boolean) =>
    replyOf(body, { kind: "receipt", revision, changed: true, duplicate });
  const judge = (...replies: readonly ReturnType<typeof replyOf>[]) =>
    rulesOf(
      judgeReplies(
        replies.filter((one) => one !== undefined),
        storyOf([["make"], ["x"]]),
      ),
    );
  assert.deepEqual(judge(receipt(2, false), receipt(2, true)), []);
  assert.deepEqual(judge(receipt(1, false)), ["receipt-of-another-commit"]);
  assert.deepEqual(judge(receipt(2, false), receipt(2, false)), ["new-twice"]);
  assert.equal(replyOf(body, { kind: "moved" }), undefined);
});

test("whoever asks is answered, and all see the same in the end", () => {
  const sights = (...values: readonly string[]) =>
    values.map((value, index) => ({ node: `c${index + 1}`, actor: "a.1", value }));
  assert.deepEqual(judgeConvergence([asked("x", 0, 1)], 10, sights("1", "1")), []);
  assert.deepEqual(rulesOf(judgeConvergence([asked("x", 0, 1)], 10, sights("1", "2"))), ["never-converged"]);
  assert.deepEqual(rulesOf(judgeConvergence([asked("x", 0, 0, "unfinished")], 10, [])), ["never-answered"]);
  assert.deepEqual(rulesOf(judgeConvergence([asked("x", 0, 500_000)], 10, [])), ["answered-too-late"]);
});

const change = (key: string, value: string | undefined, more: Partial<AppliedChange> = {}): AppliedChange => ({
  key,
  value,
  revision: 1,
  previous: 0,
  header: undefined,
  token: [1, 1],
  node: "n1",
  atMs: 0,
  ...more,
});

test("no two nodes write under one token, and none under an older one", () => {
  assert.deepEqual(judgeTokens([change("a.1", "1"), change("a.1", "2", { node: "n2", token: [1, 2] })]), []);
  assert.deepEqual(rulesOf(judgeTokens([change("a.1", "1"), change("a.1", "2", { node: "n2" })])), ["token-shared"]);
  const fell = [change("a.1", "1", { token: [1, 2] }), change("a.1", "2")];
  assert.deepEqual(rulesOf(judgeTokens(fell)), ["token-fell"]);
  assert.deepEqual(
    judgeTokens([
      change("a.1", "1", { token: [1, 2] }),
      change("a.1", undefined, { token: [1, 2] }),
      change("a.1", "2"),
    ]),
    [],
  );
});

test("what is set aside says why, and is left alone", () => {
  const record = (reason: string) => JSON.stringify({ actor: "a.1", reason, message: "" });
  const parked = change("_parked.a.1", record("threw"));
  assert.deepEqual(judgeParkedActors([change("a.1", "1"), parked]), []);
  const changed = [change("a.1", "1"), parked, change("a.1", "2")];
  assert.deepEqual(rulesOf(judgeParkedActors(changed)), ["parked-and-changed"]);
  assert.deepEqual(
    judgeParkedActors([change("a.1", "1"), parked, change("_parked.a.1", undefined), change("a.1", "2")]),
    [],
  );
  assert.deepEqual(rulesOf(judgeParkedActors([change("_parked.a.1", "{}")])), ["parked-without-reason"]);
});

/** Owes one for a moment, and pays it back. */
const account = createMachine({
  context: { balance: 0 },
  initial: "even",
  states: {
    even: { on: { LEND: { target: "owing", actions: assign({ balance: -1 }) } } },
    owing: { after: { 100: { target: "even", actions: assign({ balance: 0 }) } } },
  },
});

test("what must always hold is judged after every commit, not only when all is at rest", async () => {
  const options = {
    actors: { account },
    workload: [
      { to: "account/a", create: undefined, key: "make" },
      { to: "account/a", send: { type: "LEND" }, key: "lend" },
    ],
    faults: [],
    seeds: 1,
  };
  const isEven = (one: {
    state(type: string, id: string): { context: Readonly<Record<string, unknown>> } | undefined;
  }) => Number(one.state("account", "a")?.context.balance ?? 0) >= 0;
  await simulate({ ...options, invariants: { "no debts": isEven } });
  await assert.rejects(
    simulate({ ...options, always: { "never a debt": isEven } }),
    /never a debt[\s\S]*revision 2 of account\.a/,
  );
});
