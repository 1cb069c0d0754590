/**
 * Traces, as far as the runtime needs to know of them. A context is a W3C traceparent: text that travels in headers,
 * messages and documents. Without telemetry the port is simply not there, and costs one look.
 */

export type SpanKind = "internal" | "client" | "producer" | "consumer";

export type SpanOptions = {
  readonly kind?: SpanKind;
  /** The span that this one is a part of: work done at once. */
  readonly parent?: string | undefined;
  /** Spans that led to this one earlier: a timer that was set, an effect that was begun by another owner. */
  readonly links?: readonly (string | undefined)[];
  readonly attributes?: Readonly<Record<string, string | number | boolean>>;
};

export interface Span {
  readonly context: string;
  set(name: string, value: string | number | boolean): void;
  /** The work did not succeed; `error` says why. The span still has to be ended. */
  fail(error: unknown): void;
  end(): void;
}

export interface Telemetry {
  /** Whether anybody would get the spans. May change at any time; asked before anything is prepared for one. */
  isRecording(): boolean;
  /** Undefined when nobody records: then nothing is to be done, now or later. */
  start(name: string, options: SpanOptions): Span | undefined;
  /** The span that is active where this is called. */
  active(): string | undefined;
  /** Runs `work` with the span active, so that what it calls goes on from it. */
  with<TResult>(span: Span, work: () => TResult): TResult;
}

/** Whether it is a traceparent of version 00: whatever comes from outside is looked at before it is kept or sent on. */
export function isTraceparent(text: unknown): text is string {
  return typeof text === "string" && /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/.test(text);
}
