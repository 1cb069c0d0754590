import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["{runtime,coordinator,actors,simulations,benchmarks,scripts}/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: "forks",
    // All of a small machine, and of a large one no more than what starts servers of its own side by side.
    maxWorkers: Math.min(4, availableParallelism()),
  },
});
