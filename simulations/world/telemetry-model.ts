/**
 * The spans of a world: each process gets a Telemetry that records, and what a process records dies with it as it would
 * behind a real exporter. Ids come from the process and a running number, so the same seed gives the same ids.
 *
 * What an exporter would have delivered: a span that has ended, if its process lived on for the delay of a batch. A span of a
 * dead process that is not delivered is cut: it was begun, others may name it, and nobody will ever read it.
 */
import { hashText } from "../../runtime/hash.ts";
import type { Span, SpanKind, SpanOptions, Telemetry } from "../../runtime/ports/telemetry.ts";
import type { Gate } from "./gate.ts";

/** How long a span that has ended waits for its batch: the default of `setUpTracing`. */
const batchMs = 1_000;

type Lifetime = { readonly owner: string; diedMs: number | undefined };

const none: readonly never[] = [];

/** Keeps little of what it was begun with: a run has tens of thousands. */
export class RecordedSpan implements Span {
  readonly name: string;
  readonly context: string;
  readonly kind: SpanKind;
  readonly actor: string | undefined;
  /** The identity of the commit, or the number of the effect, that it tells of. */
  readonly about: unknown;
  readonly startedMs: number;
  /** By their place among all spans. */
  parent: number | undefined;
  links: readonly number[] = none;
  /** What it names and nobody had begun. */
  strays: readonly string[] = none;
  ends = 0;
  hasFailed = false;
  #endedMs = 0;
  readonly #lifetime: Lifetime;
  readonly #nowMs: () => number;

  constructor(name: string, context: string, options: SpanOptions, lifetime: Lifetime, nowMs: () => number) {
    const { kind = "internal", attributes } = options;
    this.name = name;
    this.context = context;
    this.kind = kind;
    this.actor = attributes?.["holdfast.actor"] as string | undefined;
    this.about = attributes?.["holdfast.commit"] ?? attributes?.["holdfast.effect"];
    this.startedMs = nowMs();
    this.#lifetime = lifetime;
    this.#nowMs = nowMs;
  }

  get owner(): string {
    return this.#lifetime.owner;
  }

  /** `open`: its process lives, and has not ended it. */
  get state(): "delivered" | "cut" | "open" {
    const { diedMs } = this.#lifetime;
    if (diedMs === undefined) return this.ends === 0 ? "open" : "delivered";
    return this.ends > 0 && diedMs - this.#endedMs >= batchMs ? "delivered" : "cut";
  }

  set(): void {}

  fail(): void {
    this.hasFailed = true;
  }

  end(): void {
    if (this.#lifetime.diedMs !== undefined) return;
    if (this.ends === 0) this.#endedMs = this.#nowMs();
    this.ends++;
  }
}

export class TelemetryModel {
  /** All that any process has begun, in order. */
  readonly spans: RecordedSpan[] = [];
  /** The places of a process's spans, in order: its half of a span's id, then the running number, lead to them. */
  readonly #places = new Map<string, number[]>();
  readonly #nowMs: () => number;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** For one incarnation of a process: after its death nothing is recorded, and nothing ends. */
  open(gate: Gate): Telemetry {
    const lifetime: Lifetime = { owner: gate.owner, diedMs: undefined };
    gate.onCrash(() => {
      lifetime.diedMs = this.#nowMs();
    });
    const place = hashText(gate.owner);
    const half = place.slice(8);
    const own: number[] = [];
    this.#places.set(half, own);
    let active: string | undefined;
    return {
      isRecording: () => lifetime.diedMs === undefined,
      start: (name, options) => {
        if (lifetime.diedMs !== undefined) return undefined;
        const { parent } = options;
        const id = half + (own.length + 1).toString(16).padStart(8, "0");
        const context = parent === undefined ? `00-${place}${id}-${id}-01` : `${parent.slice(0, 36)}${id}-01`;
        const span = new RecordedSpan(name, context, options, lifetime, this.#nowMs);
        this.#hang(span, options);
        own.push(this.spans.length);
        this.spans.push(span);
        return span;
      },
      active: () => active,
      // Until its first await, no further: what follows promises on a real machine is no part of the world.
      with: (span, work) => {
        const before = active;
        active = span.context;
        try {
          return work();
        } finally {
          active = before;
        }
      },
    };
  }

  #placeOf(context: string): number | undefined {
    return this.#places.get(context.slice(36, 44))?.[Number.parseInt(context.slice(44, 52), 16) - 1];
  }

  /** At once, since an id is known only when its span was begun. */
  #hang(span: RecordedSpan, { parent, links }: SpanOptions): void {
    if (parent !== undefined) {
      span.parent = this.#placeOf(parent);
      if (span.parent === undefined) span.strays = [parent];
    }
    if (links === undefined) return;
    const places: number[] = [];
    for (const link of links) {
      if (link === undefined || link === parent) continue;
      const place = this.#placeOf(link);
      if (place === undefined) span.strays = [...span.strays, link];
      else places.push(place);
    }
    span.links = places;
  }
}
