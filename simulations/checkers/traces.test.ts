import assert from "node:assert/strict";
import { test } from "vitest";
import { checkTraces, type ExportedSpan } from "./traces.ts";

const span = (traceId: string, spanId: string, more: Partial<ExportedSpan> = {}): ExportedSpan => ({
  name: `${traceId}${spanId}`,
  traceId,
  spanId,
  links: [],
  ...more,
});
const link = (traceId: string, spanId: string) => ({ links: [{ traceId, spanId }] });

const cases: readonly {
  readonly it: string;
  readonly spans: readonly ExportedSpan[];
  readonly expected?: readonly string[];
  readonly rules: readonly string[];
}[] = [
  { it: "accepts nothing at all", spans: [], rules: [] },
  { it: "accepts a child", spans: [span("a", "1"), span("a", "2", { parentSpanId: "1" })], rules: [] },
  { it: "accepts a link to another trace", spans: [span("a", "1"), span("b", "1", link("a", "1"))], rules: [] },
  {
    it: "accepts two that link one which was never exported",
    spans: [span("a", "1", link("x", "9")), span("b", "1", link("x", "9"))],
    rules: [],
  },
  {
    it: "accepts one that links a lost span of a trace that is there",
    spans: [span("a", "1"), span("b", "1", link("a", "lost"))],
    rules: [],
  },
  { it: "refuses two traces without a link", spans: [span("a", "1"), span("b", "1")], rules: ["apart"] },
  {
    it: "refuses each part that hangs together only with itself",
    spans: [span("a", "1"), span("a", "2"), span("b", "1"), span("c", "1", link("d", "1")), span("d", "1")],
    rules: ["apart", "apart"],
  },
  { it: "refuses a span exported twice", spans: [span("a", "1"), span("a", "1")], rules: ["exported-twice"] },
  { it: "refuses a story with a part left out", spans: [span("a", "1")], expected: ["a1", "a2"], rules: ["missing"] },
];

for (const { it, spans, expected, rules } of cases) {
  test(`the trace checker ${it}`, () => {
    assert.deepEqual(
      checkTraces({ spans, ...(expected && { expected }) }).map(({ rule }) => rule),
      rules,
    );
  });
}
