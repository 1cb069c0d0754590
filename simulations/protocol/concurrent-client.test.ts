/** Many requests of one client under way at once: a repetition of any gets the receipt of the first. */
import assert from "node:assert/strict";
import { test } from "vitest";
import { FencedRecorder } from "../world/fenced-recorder.ts";
import { createWorld } from "../world/world.ts";
import { defineMachine, type MachineSpec } from "./machines.ts";
import { type Attempt, bootHosts, Client } from "./rig.ts";

const idle: MachineSpec = { regions: [[{ on: {}, entry: [], exit: [] }]] };

test("receipts stay exact for every request that has no answer yet", async () => {
  const world = createWorld({ seed: 3, leases: { partitions: 1 } });
  const attempts: Attempt[] = [];
  const recorder = new FencedRecorder({ fenced: true, nowMs: () => world.nowMs });
  bootHosts(world, ["n1"], [], (ports) => ({
    m0: defineMachine(idle, [], { ports, recorder, performed: [], nowMs: () => world.nowMs }),
  }));
  const client = new Client(world, "c1", attempts, 500);
  await world.settle(
    client.run({ actor: "m0.a", id: "create-a", op: "create", value: { name: "m0.a" }, callersKey: true }),
  );
  world.bus.requestFaults.rates = { "lose-reply": 0.6 };
  const sends = Array.from({ length: 60 }, async (_, index) => {
    await world.sleep(index * 7);
    return client.run({
      actor: "m0.a",
      id: `c1-${index}`,
      op: "event",
      value: { type: "A", id: `c1-${index}` },
      callersKey: false,
    });
  });
  const answers = await world.settle(Promise.all(sends));
  const seqOf = new Map<string, number>();
  for (const { key, value } of world.store.log) {
    if (key !== "m0.a" || value === undefined) continue;
    const { seq, causes } = JSON.parse(value) as { seq: number; causes: { id?: string }[] };
    for (const { id } of causes) if (id !== undefined) seqOf.set(id, seq);
  }
  assert.ok(answers.filter(({ isRepetition }) => isRepetition).length > 10);
  for (const { id, revision } of answers) assert.equal(revision, seqOf.get(id), id);
});
