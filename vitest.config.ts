import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["{runtime,coordinator,actors,simulations,benchmarks,scripts}/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: "forks",
  },
});
