/**
 * Connected traces of a whole run, from every span that was begun and from the commits that the store has. N1: whatever a span
 * names, as parent or by a link, was begun, and was ended unless its process died. N2: nothing but a caller's request comes from
 * nowhere. N3: a commit hangs on the span of each of its causes. N4: what an exporter would have delivered of one actor's life
 * is one graph; a span that was cut still holds those together that name it. Start reading at `checkSpans`.
 */
import type { Violation } from "./violation.ts";

export type BegunSpan = {
  readonly name: string;
  /** `client`: somebody outside asks; `consumer`: what was sent arrives; `internal`: work of an actor. */
  readonly kind: "internal" | "client" | "producer" | "consumer";
  readonly actor?: string | undefined;
  /** The identity of the commit, or the number of the effect, that it tells of. */
  readonly about?: unknown;
  /** Such as `n1.2`: one life of a process. */
  readonly owner: string;
  readonly startedMs: number;
  /** By their place among the spans of the run. */
  readonly parent?: number | undefined;
  readonly links: readonly number[];
  /** What it names, and nobody ever began. */
  readonly strays: readonly string[];
  /** `cut`: its process died before an exporter had it. `open`: its process lives and has not ended it. */
  readonly state: "delivered" | "cut" | "open";
  readonly ends: number;
  readonly hasFailed: boolean;
};

export type StepCause =
  /** A caller's. */
  | { readonly kind: "request" }
  | { readonly kind: "message"; readonly from: string }
  | { readonly kind: "timer" }
  | { readonly kind: "claim" }
  /** An attempt of this effect ended. */
  | { readonly kind: "effect"; readonly n: number };

/** A commit, as the store's log has it. */
export type CommittedStep = {
  readonly actor: string;
  readonly commit: string;
  readonly causes: readonly StepCause[];
};

export type SpanHistory = {
  /** In the order in which they were begun. */
  readonly spans: readonly BegunSpan[];
  readonly commits: readonly CommittedStep[];
  /** How many lives an actor had, where it had several. */
  readonly lives?: ReadonlyMap<string, number>;
  /** What else comes from nowhere: the tick of a schedule. */
  readonly mayBeRoot?: (span: BegunSpan) => boolean;
};

export function checkSpans(history: SpanHistory): readonly Violation[] {
  return [...checkNames(history), ...checkOrigins(history), ...checkCommits(history), ...checkPieces(history)];
}

/** N1. */
function checkNames({ spans }: SpanHistory): readonly Violation[] {
  const violations: Violation[] = [];
  for (const span of spans) {
    for (const context of span.strays) {
      const detail = `${tell(span)} hangs on ${context}, which no process ever began`;
      violations.push({ rule: "span-parent-missing", detail });
    }
    if (span.ends > 1) violations.push({ rule: "span-ended-twice", detail: tell(span) });
    // What nobody will read misses nothing.
    if (span.state !== "delivered") continue;
    for (const named of hungOf(spans, span)) {
      if (named.state !== "open") continue;
      const detail = `${tell(span)} hangs on ${tell(named)}, whose process lives and never ended it`;
      violations.push({ rule: "span-parent-unended", detail });
    }
  }
  return violations;
}

/** N2. */
function checkOrigins({ spans, mayBeRoot }: SpanHistory): readonly Violation[] {
  const violations: Violation[] = [];
  for (const span of spans) {
    const { kind, parent, links, strays } = span;
    if (kind === "client" || strays.length > 0) continue;
    if (kind === "consumer") {
      if (parent === undefined && mayBeRoot?.(span) !== true)
        violations.push({
          rule: "span-from-nowhere",
          detail: `${tell(span)} has no parent: nothing says who sent it`,
        });
      continue;
    }
    if (parent === undefined && links.length === 0)
      violations.push({ rule: "span-from-nowhere", detail: `${tell(span)} has neither a parent nor a link` });
    const whole = parent === undefined ? undefined : (spans[parent] as BegunSpan);
    if (whole !== undefined && whole.actor !== span.actor)
      violations.push({ rule: "span-of-another", detail: `${tell(span)} is a part of ${tell(whole)}` });
  }
  return violations;
}

/** N3. */
function checkCommits({ spans, commits }: SpanHistory): readonly Violation[] {
  const told = new Map<unknown, BegunSpan>();
  for (const span of spans) if (span.name === "commit") told.set(span.about, span);
  const violations: Violation[] = [];
  for (const { actor, commit, causes } of commits) {
    const span = told.get(commit);
    if (span === undefined) {
      violations.push({ rule: "commit-without-span", detail: `commit ${commit} of ${actor}` });
      continue;
    }
    const hung = hungOf(spans, span);
    for (const cause of causes) {
      if (hung.some((one) => one.actor === actor && tellsOf(spans, one, cause))) continue;
      const what = `${inWords(cause)} led to commit ${commit} of ${actor}, whose span hangs`;
      const found = hung.length === 0 ? "on nothing" : `only on ${hung.map(tell).join(" and ")}`;
      violations.push({ rule: "span-cause-missing", detail: `${what} ${found}` });
    }
  }
  return violations;
}

function tellsOf(spans: readonly BegunSpan[], span: BegunSpan, cause: StepCause): boolean {
  switch (cause.kind) {
    case "request":
      return span.kind === "consumer";
    case "message": {
      const sent = span.kind !== "consumer" || span.parent === undefined ? undefined : spans[span.parent];
      return sent !== undefined && sent.actor === cause.from && sent.kind !== "client";
    }
    case "timer":
      return span.name === "timer";
    case "claim":
      return span.name === "takeover";
    case "effect":
      return span.about === cause.n;
  }
}

function inWords(cause: StepCause): string {
  switch (cause.kind) {
    case "request":
      return "a caller's request";
    case "message":
      return `a message from ${cause.from}`;
    case "timer":
      return "a timer";
    case "claim":
      return "a takeover";
    case "effect":
      return `the end of effect ${cause.n}`;
  }
}

/** N4. Pieces without a commit do not count: a request that was refused is nobody's life. */
function checkPieces({ spans, lives }: SpanHistory): readonly Violation[] {
  const pieces = new Pieces(2 * spans.length);
  // Behind the spans come their traces, each by the place of its first span: a trace is shown together.
  const traces = new Int32Array(spans.length);
  spans.forEach(({ parent }, place) => {
    traces[place] = parent === undefined ? spans.length + place : (traces[parent] as number);
  });
  spans.forEach(({ state, parent, links }, place) => {
    if (state !== "delivered") return;
    pieces.join(place, traces[place] as number);
    if (parent !== undefined) pieces.join(place, parent);
    for (const link of links) {
      pieces.join(place, link);
      pieces.join(place, traces[link] as number);
    }
  });
  const ofActors = new Map<string | undefined, Map<number, BegunSpan>>();
  spans.forEach((span, place) => {
    if (span.name !== "commit" || span.hasFailed || span.state !== "delivered") return;
    const piece = pieces.of(place);
    const found = ofActors.get(span.actor);
    if (found === undefined) ofActors.set(span.actor, new Map([[piece, span]]));
    else if (!found.has(piece)) found.set(piece, span);
  });
  return [...ofActors].flatMap(([actor = "", found]) => {
    if (found.size <= (lives?.get(actor) ?? 1)) return [];
    const some = [...found.values()].slice(0, 3).map(tell);
    return [{ rule: "spans-apart", detail: `nothing joins what hangs on ${some.join(" and ")}` }];
  });
}

/** Numbers that were joined, in pieces. */
class Pieces {
  readonly #roots: Int32Array;

  constructor(count: number) {
    this.#roots = new Int32Array(count);
    for (let number = 0; number < count; number++) this.#roots[number] = number;
  }

  of(number: number): number {
    const roots = this.#roots;
    let root = number;
    for (let next = roots[root] as number; next !== root; next = roots[root] as number) {
      roots[root] = roots[next] as number;
      root = next;
    }
    return root;
  }

  join(a: number, b: number): void {
    const [from, to] = [this.of(a), this.of(b)];
    if (from !== to) this.#roots[from] = to;
  }
}

/** Its parent first. */
function hungOf(spans: readonly BegunSpan[], { parent, links }: BegunSpan): readonly BegunSpan[] {
  const hung = links.map((link) => spans[link] as BegunSpan);
  return parent === undefined ? hung : [spans[parent] as BegunSpan, ...hung];
}

function tell({ name, actor = "nobody", owner, startedMs }: BegunSpan): string {
  return `"${name}" of ${actor} on ${owner} at ${Math.round(startedMs)} ms`;
}
