/** What `telemetry: openTelemetry()` costs where no SDK is registered, beside a runtime without it, by turns in one process. */
import { consoleLogger, createRuntime, memory } from "../runtime/index.ts";
import { openTelemetry } from "../runtime/telemetry/index.ts";
import { orderEvent, orderMachine } from "./order.ts";
import { median } from "./step.ts";

export type TelemetryFigures = { readonly withUs: number; readonly withoutUs: number; readonly ratio: number };

const events = 20_000;

/** The store is in memory, so that nothing hides the cost. */
export async function benchTelemetry(rounds: number): Promise<TelemetryFigures> {
  const plain = await startOne({});
  const traced = await startOne({ telemetry: openTelemetry() });
  const without: number[] = [];
  const with_: number[] = [];
  await plain.timed(events);
  await traced.timed(events);
  for (let round = 0; round < rounds; round++) {
    without.push(await plain.timed(events));
    with_.push(await traced.timed(events));
  }
  await plain.stop();
  await traced.stop();
  const [withUs, withoutUs] = [median(with_), median(without)];
  return { withUs, withoutUs, ratio: withUs / withoutUs };
}

async function startOne(options: { readonly telemetry?: ReturnType<typeof openTelemetry> }) {
  const runtime = await createRuntime({
    actors: { order: orderMachine },
    store: memory(),
    logger: consoleLogger("error"),
    ...options,
  });
  const order = runtime.actor("order", "o-1");
  await order.create({ id: "o-1" });
  let index = 0;
  return {
    timed: async (events: number) => {
      const started = performance.now();
      for (let left = events; left > 0; left--) await order.send(orderEvent(index++));
      return ((performance.now() - started) * 1_000) / events;
    },
    stop: () => runtime.stop({ drainMs: 0 }),
  };
}
