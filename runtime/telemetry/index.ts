/**
 * `holdfast/telemetry`: spans through OpenTelemetry. `openTelemetry()` uses whatever SDK the service has registered;
 * `setUpTracing()` registers one in one call. Needs the package @opentelemetry/api, and for the latter the SDK's.
 */
import type * as Api from "@opentelemetry/api";
import { type KeysOf, refuseUnknown } from "../options.ts";
import { isTraceparent, type Span, type SpanOptions, type Telemetry } from "../ports/telemetry.ts";

export type { Span, SpanKind, SpanOptions, Telemetry } from "../ports/telemetry.ts";

/** An optional peer is not installed. */
export class OpenTelemetryMissing extends Error {
  override readonly name = "OpenTelemetryMissing";
  readonly code = "OpenTelemetryMissing";

  constructor(user: string, packages: string, cause: unknown) {
    super(`${user} needs OpenTelemetry: npm install ${packages}`, { cause });
  }
}

const api = await import("@opentelemetry/api").catch((error: unknown) => {
  throw new OpenTelemetryMissing("holdfast/telemetry", "@opentelemetry/api", error);
});

const kinds = {
  internal: api.SpanKind.INTERNAL,
  client: api.SpanKind.CLIENT,
  producer: api.SpanKind.PRODUCER,
  consumer: api.SpanKind.CONSUMER,
} as const;

/** Without an SDK registered every span is `undefined`, and nothing is kept or sent. */
export function openTelemetry(given?: Api.Tracer): Telemetry {
  const tracer = given ?? api.trace.getTracer("holdfast");
  const isRecording = () => given !== undefined || isSdkRegistered();
  return {
    isRecording,
    start(name, options) {
      if (!isRecording()) return undefined;
      const parent = contextOf(options.parent);
      const span = tracer.startSpan(
        name,
        {
          kind: kinds[options.kind ?? "internal"],
          ...(options.attributes && { attributes: options.attributes }),
          ...(options.links && { links: linksOf(options) }),
        },
        parent === undefined ? api.ROOT_CONTEXT : api.trace.setSpanContext(api.ROOT_CONTEXT, parent),
      );
      return api.isSpanContextValid(span.spanContext()) ? wrap(span) : undefined;
    },
    active() {
      const span = api.trace.getSpanContext(api.context.active());
      return span !== undefined && api.isSpanContextValid(span) ? textOf(span) : undefined;
    },
    with(span, work) {
      const { actual } = span as Wrapped;
      return api.context.with(api.trace.setSpan(api.context.active(), actual), work);
    },
  };
}

/** One may be registered at any time: asked at each span, and cheaper than a span that nobody records. */
function isSdkRegistered(): boolean {
  const provider = api.trace.getTracerProvider();
  return !(provider instanceof api.ProxyTracerProvider) || provider.getDelegateTracer("holdfast") !== undefined;
}

export type TracingOptions = {
  /** `service.name` of every span. */
  readonly serviceName: string;
  /** Where spans go, such as an OTLP exporter of `@opentelemetry/exporter-trace-otlp-http`. */
  readonly exporter: import("@opentelemetry/sdk-trace-base").SpanExporter;
  /** How long a span that has ended may wait for its batch: what a killed process had not sent is lost. Default: 1,000. */
  readonly delayMs?: number;
};

const tracingOptions: KeysOf<TracingOptions> = { serviceName: true, exporter: true, delayMs: true };

export type Tracing = {
  readonly telemetry: Telemetry;
  /** Sends what is buffered, and ends. */
  shutdown(): Promise<void>;
};

/** Registers an SDK for this process: batches of spans to the exporter, contexts that follow promises. */
export async function setUpTracing(options: TracingOptions): Promise<Tracing> {
  refuseUnknown("options of setUpTracing", options, tracingOptions, TypeError);
  const { serviceName, exporter, delayMs = 1_000 } = options;
  const [sdk, hooks, resources] = await Promise.all([
    import("@opentelemetry/sdk-trace-base"),
    import("@opentelemetry/context-async-hooks"),
    import("@opentelemetry/resources"),
  ]).catch((error: unknown) => {
    const packages = "@opentelemetry/sdk-trace-base @opentelemetry/context-async-hooks @opentelemetry/resources";
    throw new OpenTelemetryMissing("setUpTracing", packages, error);
  });
  const provider = new sdk.BasicTracerProvider({
    resource: resources.resourceFromAttributes({ "service.name": serviceName }),
    spanProcessors: [new sdk.BatchSpanProcessor(exporter, { scheduledDelayMillis: delayMs })],
  });
  api.trace.setGlobalTracerProvider(provider);
  api.context.setGlobalContextManager(new hooks.AsyncLocalStorageContextManager().enable());
  return {
    telemetry: openTelemetry(provider.getTracer("holdfast")),
    shutdown: () => provider.shutdown(),
  };
}

type Wrapped = Span & { readonly actual: Api.Span };

function wrap(span: Api.Span): Wrapped {
  return {
    actual: span,
    context: textOf(span.spanContext()),
    set: (name, value) => void span.setAttribute(name, value),
    fail(error) {
      span.recordException(error as Error);
      span.setStatus({
        code: api.SpanStatusCode.ERROR,
        message: error instanceof Error ? error.message : String(error),
      });
    },
    end: () => span.end(),
  };
}

function linksOf({ links = [], parent }: SpanOptions): Api.Link[] {
  const found: Api.Link[] = [];
  for (const text of new Set(links)) {
    const context = text === parent ? undefined : contextOf(text);
    if (context !== undefined) found.push({ context });
  }
  return found;
}

function contextOf(text: string | undefined): Api.SpanContext | undefined {
  if (!isTraceparent(text)) return undefined;
  const [, traceId, spanId, flags] = text.split("-") as [string, string, string, string];
  return { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true };
}

function textOf({ traceId, spanId, traceFlags }: Api.SpanContext): string {
  return `00-${traceId}-${spanId}-${(traceFlags & 0xff).toString(16).padStart(2, "0")}`;
}
