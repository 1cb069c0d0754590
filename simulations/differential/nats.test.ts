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

  // Without the operations of an episode that another leader ended, if a busy machine makes one.
  for (const { version } of natsVersions)
    test(`agree on 300 operations, three servers ${version}`, async () => {
      const results = await runNats({ operations: 300, seed: `ci ${version}`, version, servers: 3 });
      expect(results.map(({ disagreements }) => disagreements)).toEqual([[]]);
      expect(results[0]?.operations).toBeGreaterThanOrEqual(300);
    }, 60_000);
});
