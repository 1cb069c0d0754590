/**
 * The spans of one turn of an actor: one per input from outside, a part of whoever sent it; one for its timers, one for a
 * takeover; one for the commit. Each links what led to the actor's latest commit, and to its first: where a process dies before
 * it could send its spans, the rest is still one graph.
 */
import type { Span, Telemetry } from "../ports/telemetry.ts";
import type { Input, Reply } from "../step.ts";

type Taken = { readonly input: Input; readonly trace?: string | undefined };

/** What the document keeps, as traceparents. */
export type TracedLife = { readonly origin: string | undefined; readonly trace: string | undefined };

export class TurnSpans {
  readonly #telemetry: Telemetry;
  readonly #actor: string;
  readonly #exists: boolean;
  readonly #links: readonly (string | undefined)[];
  #spans: readonly (Span | undefined)[];
  #contexts: readonly (string | undefined)[];
  #commit: Span | undefined;

  constructor(telemetry: Telemetry, actor: string, before: TracedLife | undefined, taken: readonly Taken[]) {
    this.#telemetry = telemetry;
    this.#actor = actor;
    this.#exists = before !== undefined;
    this.#links = [before?.trace, before?.origin];
    this.#spans = taken.map(({ input, trace }) => this.#begin(input, trace));
    this.#contexts = taken.map(({ trace }, index) => this.#spans[index]?.context ?? trace);
  }

  /** What led to each input. */
  get contexts(): readonly (string | undefined)[] {
    return this.#contexts;
  }

  /** The step took only the first `count`: the others are put back, and get another span in their own turn. */
  took(count: number): void {
    for (const span of this.#spans.slice(count)) {
      span?.set("holdfast.put_back", true);
      span?.end();
    }
    this.#spans = this.#spans.slice(0, count);
    this.#contexts = this.#contexts.slice(0, count);
  }

  #begin(input: Input, trace: string | undefined): Span | undefined {
    const attributes = { "holdfast.actor": this.#actor, "messaging.system": "holdfast" };
    switch (input.kind) {
      case "create":
      case "event":
      case "delete":
      case "message": {
        const name = nameOf(input);
        return this.#telemetry.start(`${typeOf(this.#actor)} ${name}`, {
          kind: "consumer",
          parent: trace,
          links: this.#links,
          attributes: { ...attributes, "messaging.operation.type": "process", "holdfast.event": name },
        });
      }
      case "timers":
        return this.#telemetry.start("timer", { links: this.#links, attributes });
      case "claim":
        // Who was asked about an actor that is not there takes nothing over.
        return this.#exists ? this.#telemetry.start("takeover", { links: this.#links, attributes }) : undefined;
      default:
        // Its own span has told of it: the trace of an effect goes on.
        return undefined;
    }
  }

  committing(id: string, characters: number): void {
    const parent = this.#contexts.find((context) => context !== undefined);
    this.#commit = this.#telemetry.start("commit", {
      parent,
      links: parent === undefined ? this.#links : this.#contexts.filter((context) => context !== parent),
      attributes: {
        "holdfast.actor": this.#actor,
        "holdfast.commit": id,
        "holdfast.document.length": characters,
      },
    });
  }

  fail(error: unknown): void {
    for (const span of this.#spans) span?.fail(error);
    this.#endAll();
  }

  end(replies: readonly Reply[], ended: { readonly kind: string }): void {
    if (ended.kind !== "written") this.#commit?.fail(new Error(`the commit ended as ${ended.kind}`));
    this.#spans.forEach((span, index) => {
      const reply = replies[index];
      if (reply?.kind === "refused") {
        span?.fail(reply.error);
        span?.set("error.type", reply.error.code);
      } else if (reply?.kind === "receipt") {
        span?.set("holdfast.duplicate", reply.duplicate);
        span?.set("holdfast.changed", reply.receipt.changed);
        span?.set("holdfast.revision", reply.receipt.revision);
      } else if (reply?.kind === "life" || reply?.kind === "renumber") {
        // Nothing was done; the sender asks again.
        span?.set("holdfast.sent_back", true);
      }
    });
    this.#endAll();
  }

  #endAll(): void {
    this.#commit?.end();
    for (const span of this.#spans) span?.end();
  }
}

function nameOf(input: Input): string {
  switch (input.kind) {
    case "event":
      return input.event.type;
    case "create":
      return input.event === undefined ? "create" : `create ${input.event.type}`;
    case "message":
      return input.items[0]?.event.type ?? "message";
    default:
      return input.kind;
  }
}

function typeOf(actor: string): string {
  return actor.slice(0, actor.indexOf("."));
}
