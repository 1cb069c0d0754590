import assert from "node:assert/strict";
import { test } from "vitest";
import { type BegunSpan, type CommittedStep, checkSpans } from "./spans.ts";

const span = (name: string, more: Partial<BegunSpan> = {}): BegunSpan => ({
  name,
  kind: "internal",
  actor: "order.1",
  owner: "n1.1",
  startedMs: 0,
  links: [],
  strays: [],
  state: "delivered",
  ends: 1,
  hasFailed: false,
  ...more,
});
const send = span("send PAY", { kind: "client", owner: "c1.1" });
const pay = (more: Partial<BegunSpan> = {}) => span("order PAY", { kind: "consumer", parent: 0, ...more });
const commit = (about: string, more: Partial<BegunSpan> = {}) => span("commit", { about, ...more });
const committed = (id: string, ...causes: CommittedStep["causes"]): CommittedStep => ({
  actor: "order.1",
  commit: id,
  causes,
});
/** A caller, its event, and the commit of it. */
const story = [send, pay(), commit("c1", { parent: 1 })];

const cases: readonly {
  readonly it: string;
  readonly spans: readonly BegunSpan[];
  readonly commits?: readonly CommittedStep[];
  readonly lives?: ReadonlyMap<string, number>;
  readonly mayBeRoot?: () => boolean;
  readonly rules: readonly string[];
}[] = [
  { it: "accepts nothing at all", spans: [], rules: [] },
  { it: "accepts a request and its commit", spans: story, commits: [committed("c1", { kind: "request" })], rules: [] },
  {
    it: "refuses a parent that nobody began",
    spans: [...story, span("effect charge", { strays: ["00-x"] })],
    rules: ["span-parent-missing"],
  },
  {
    it: "accepts what hangs on a span that was cut",
    spans: [send, pay({ state: "cut", ends: 0 }), commit("c1", { parent: 1 })],
    rules: [],
  },
  {
    it: "refuses what hangs on a span that its living process never ended",
    spans: [send, pay({ state: "open", ends: 0 }), commit("c1", { parent: 1 })],
    rules: ["span-parent-unended"],
  },
  {
    it: "does not ask what an unfinished span hangs on",
    spans: [send, pay({ state: "open", ends: 0 }), commit("c1", { parent: 1, state: "open", ends: 0 })],
    rules: [],
  },
  { it: "refuses a second end", spans: [send, pay({ ends: 2 })], rules: ["span-ended-twice"] },
  { it: "refuses a message from nobody", spans: [pay({ parent: undefined, links: [] })], rules: ["span-from-nowhere"] },
  { it: "accepts a tick from nobody", spans: [pay({ parent: undefined })], mayBeRoot: () => true, rules: [] },
  { it: "refuses a timer without a link", spans: [...story, span("timer")], rules: ["span-from-nowhere"] },
  { it: "accepts a timer with a link", spans: [...story, span("timer", { links: [1] })], rules: [] },
  {
    it: "refuses an effect that is a part of another actor's work",
    spans: [...story, span("effect charge", { actor: "order.2", parent: 1 })],
    rules: ["span-of-another"],
  },
  {
    it: "refuses a commit that no span tells of",
    spans: story,
    commits: [committed("c9")],
    rules: ["commit-without-span"],
  },
  {
    it: "accepts a message that hangs on its sender's work",
    spans: [...story, pay({ actor: "bill.1", parent: 1 }), commit("c2", { actor: "bill.1", parent: 3 })],
    commits: [{ ...committed("c2", { kind: "message", from: "order.1" }), actor: "bill.1" }],
    rules: [],
  },
  {
    it: "refuses a message that hangs on a caller",
    spans: story,
    commits: [committed("c1", { kind: "message", from: "order.2" })],
    rules: ["span-cause-missing"],
  },
  ...(
    [
      [{ kind: "timer" }, span("timer", { links: [1] })],
      [{ kind: "claim" }, span("takeover", { links: [1] })],
      [{ kind: "effect", n: 3 }, span("effect charge", { parent: 1, about: 3 })],
    ] as const
  ).flatMap(([cause, told]) => [
    {
      it: `accepts a commit that hangs on its cause, ${cause.kind}`,
      spans: [...story, told, commit("c2", { parent: 3 })],
      commits: [committed("c2", cause)],
      rules: [],
    },
    {
      it: `refuses a commit that only follows its cause, ${cause.kind}`,
      spans: [...story, told, commit("c2", { links: [1] })],
      commits: [committed("c2", cause)],
      rules: ["span-cause-missing"],
    },
  ]),
  {
    it: "refuses a life in two pieces",
    spans: [...story, send, pay({ parent: 3 }), commit("c2", { parent: 4 })],
    rules: ["spans-apart"],
  },
  {
    it: "accepts two lives in two pieces",
    spans: [...story, send, pay({ parent: 3 }), commit("c2", { parent: 4 })],
    lives: new Map([["order.1", 2]]),
    rules: [],
  },
  {
    it: "accepts two pieces that name one span which was cut",
    spans: [
      send,
      pay({ state: "cut" }),
      commit("c1", { parent: 1, links: [1] }),
      span("takeover", { links: [1] }),
      commit("c2", { parent: 3 }),
    ],
    rules: [],
  },
  {
    it: "refuses two pieces that only a span joins which was cut itself",
    spans: [
      ...story,
      send,
      pay({ parent: 3, links: [1], state: "cut" }),
      commit("c2", { parent: 4, state: "cut" }),
      span("takeover", { links: [4] }),
      commit("c3", { parent: 6 }),
    ],
    rules: ["spans-apart"],
  },
  {
    it: "does not count a request that committed nothing",
    spans: [...story, send, pay({ parent: 3 })],
    rules: [],
  },
];

for (const { it, spans, commits = [], lives, mayBeRoot, rules } of cases) {
  test(`the checker of spans ${it}`, () => {
    const history = { spans, commits, ...(lives && { lives }), ...(mayBeRoot && { mayBeRoot }) };
    assert.deepEqual(
      checkSpans(history).map(({ rule }) => rule),
      rules,
    );
  });
}

test("the checker of spans names the span and what is missing", () => {
  const [found] = checkSpans({ spans: [span("effect charge", { strays: ["00-x-7-01"] })], commits: [] });
  assert.equal(
    found?.detail,
    '"effect charge" of order.1 on n1.1 at 0 ms hangs on 00-x-7-01, which no process ever began',
  );
});
