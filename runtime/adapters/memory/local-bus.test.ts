import { describe, test } from "vitest";
import { busContract, listenerContract } from "../../ports/bus.contract.ts";
import { SystemClock } from "../system-clock.ts";
import { LocalBus } from "./local-bus.ts";

describe("the bus of one process keeps the bus's contract", () => {
  for (const { name, run } of [...busContract, ...listenerContract])
    test(name, () =>
      run(async () => {
        const clock = new SystemClock();
        const bus = new LocalBus(clock);
        return { owner: bus, other: bus, partition: 0, clock, settled: async () => {} };
      }),
    );
});
