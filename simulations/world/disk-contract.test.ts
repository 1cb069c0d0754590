/** The simulated disk keeps the contract of real files, while nothing crashes. */
import { describe, test } from "vitest";
import { diskContract } from "../../coordinator/ports/disk.contract.ts";
import { createWorld } from "./world.ts";

describe("the disk model keeps the disk's contract", () => {
  for (const { name, run } of diskContract) {
    test(name, async () => {
      const world = createWorld({ seed: name });
      const node = world.node("n1");
      node.boot(() => {});
      const opened = {
        disk: node.ports.disk,
        reopen: async () => {
          node.restart();
          return node.ports.disk;
        },
        close: async () => {},
      };
      await world.settle(run(async () => opened));
    });
  }
});
