/** The model of NATS answers as the servers do, on random operations. `npm run differential -- nats` does many more. */
import { expect, test } from "vitest";
import { describeWithNats, natsVersions } from "../../runtime/testing/nats.fixture.ts";
import { runNats } from "./nats-run.ts";

describeWithNats("the model of NATS and a real server", () => {
  for (const { version } of natsVersions)
    test(`agree on 600 operations, ${version}`, async () => {
      const seed = `ci ${version}`;
      const results = await runNats({ operations: 600, seed, version, servers: 1 });
      expect(results.map(({ operations, disagreements }) => ({ operations, disagreements }))).toEqual([
        { operations: expect.any(Number), disagreements: [] },
      ]);
      expect(results[0]?.operations).toBeGreaterThanOrEqual(600);
    });
});
