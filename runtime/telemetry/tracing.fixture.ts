/** A tracer of its own for each process that a test imagines, and what all of them exported. */
import * as api from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-base";
import type { ExportedSpan } from "../../simulations/checkers/traces.ts";
import { openTelemetry, type Telemetry } from "./index.ts";

export class Tracing {
  readonly #exporters: InMemorySpanExporter[] = [];

  constructor() {
    api.context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  }

  process(): Telemetry {
    const exporter = new InMemorySpanExporter();
    this.#exporters.push(exporter);
    const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
    return openTelemetry(provider.getTracer("test"));
  }

  get spans(): readonly ReadableSpan[] {
    return this.#exporters.flatMap((exporter) => exporter.getFinishedSpans());
  }

  named(name: string): readonly ReadableSpan[] {
    return this.spans.filter((span) => span.name === name);
  }

  exported(): ExportedSpan[] {
    return this.spans.map(exportedSpan);
  }
}

export function exportedSpan(span: ReadableSpan): ExportedSpan {
  const { traceId, spanId } = span.spanContext();
  return {
    name: span.name,
    traceId,
    spanId,
    parentSpanId: span.parentSpanContext?.spanId,
    links: span.links.map(({ context }) => ({ traceId: context.traceId, spanId: context.spanId })),
  };
}
