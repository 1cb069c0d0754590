import assert from "node:assert/strict";
import { test } from "vitest";
import type { LeaseChange } from "../ports/leases.ts";
import { SingleNodeLeases } from "./single-node-leases.ts";

test("every partition is held under the epoch until it is released, which is told once", async () => {
  const leases = new SingleNodeLeases(7);
  const changes: LeaseChange[] = [];
  leases.onChange((change) => changes.push(change));
  const stop = leases.onChange(() => assert.fail("a stopped listener was told"));
  stop();
  for (let partition = 0; partition < leases.partitions; partition++) assert.deepEqual(leases.token(partition), [7, 0]);
  for (const partition of [-1, 64, 0.5, Number.NaN]) assert.equal(leases.token(partition), undefined);

  await leases.release();
  await leases.release();
  assert.equal(leases.token(0), undefined);
  assert.deepEqual(
    changes,
    Array.from({ length: 64 }, (_, partition) => ({ kind: "lost", partition })),
  );
});
