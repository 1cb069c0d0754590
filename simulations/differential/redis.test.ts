import { expect, test } from "vitest";
import { describeWithRedis } from "../../runtime/testing/redis.fixture.ts";
import { compareRedis } from "./redis.ts";

describeWithRedis("the model of Redis and a real server", () => {
  test("agree in every answer", { timeout: 120_000 }, async () => {
    for (const seed of ["ci-1", "ci-2"]) {
      const { operations, refused, disagreements } = await compareRedis({ seed, operations: 1_500 });
      expect(disagreements, `npm run differential -- redis --seed ${seed}`).toEqual([]);
      expect(operations).toBe(1_500);
      expect(refused).toBeGreaterThan(100);
      expect(refused).toBeLessThan(1_200);
    }
  });
});
