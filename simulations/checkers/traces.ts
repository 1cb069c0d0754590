/**
 * Traces: what was exported of one story must be one connected graph, so that whoever looks for an order finds all of it.
 * Spans hang together by parent and links, also through a span that was never exported since its process died, and by
 * their trace id, by which every trace viewer shows them together.
 */
import type { Violation } from "./violation.ts";

export type ExportedSpan = {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string | undefined;
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[];
};

export type TraceHistory = {
  readonly spans: readonly ExportedSpan[];
  /** Names that must be there. */
  readonly expected?: readonly string[];
};

export function checkTraces({ spans, expected = [] }: TraceHistory): readonly Violation[] {
  const violations: Violation[] = [];
  const seen = new Set<string>();
  for (const { traceId, spanId, name } of spans) {
    const id = `${traceId}/${spanId}`;
    if (seen.has(id)) violations.push({ rule: "exported-twice", detail: `${name} ${id}` });
    seen.add(id);
  }
  const names = new Set(spans.map(({ name }) => name));
  for (const name of expected) {
    if (!names.has(name)) violations.push({ rule: "missing", detail: `no span is named ${name}` });
  }
  const [first, ...apart] = components(spans);
  for (const component of apart) {
    const some = component.slice(0, 5).map(({ name }) => name);
    violations.push({
      rule: "apart",
      detail: `${component.length} of ${spans.length} spans do not hang together with ${first?.[0]?.name}: ${some.join(", ")}`,
    });
  }
  return violations;
}

/** The largest first. */
function components(spans: readonly ExportedSpan[]): ExportedSpan[][] {
  const roots = new Map<string, string>();
  const rootOf = (id: string): string => {
    let root = id;
    for (let next = roots.get(root); next !== undefined; next = roots.get(root)) root = next;
    return root;
  };
  const join = (a: string, b: string) => {
    const [from, to] = [rootOf(a), rootOf(b)];
    if (from !== to) roots.set(from, to);
  };
  for (const { traceId, spanId, parentSpanId, links } of spans) {
    const id = `${traceId}/${spanId}`;
    join(id, traceId);
    if (parentSpanId !== undefined) join(id, `${traceId}/${parentSpanId}`);
    for (const link of links) {
      join(id, `${link.traceId}/${link.spanId}`);
      join(id, link.traceId);
    }
  }
  const found = new Map<string, ExportedSpan[]>();
  for (const span of spans) {
    const root = rootOf(span.traceId);
    const component = found.get(root);
    if (component === undefined) found.set(root, [span]);
    else component.push(span);
  }
  return [...found.values()].sort((a, b) => b.length - a.length);
}
