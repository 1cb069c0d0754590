import assert from "node:assert/strict";
import { describe, test } from "vitest";
import { createMachine } from "xstate";
import { MemoryStore } from "./adapters/memory/index.ts";
import { type Bus, type BusReply, connect, createRuntime, memory, StoppedError } from "./index.ts";
import { ManualClock } from "./testing/manual-clock.ts";

test("a request to a runtime that has stopped fails at once, not at its deadline", async () => {
  const counter = createMachine({ on: { INC: {} } });
  const runtime = await createRuntime({ actors: { counter }, store: memory(), requestTimeoutMs: 3_600_000 });
  const handle = runtime.actor("counter", "c");
  await handle.create();
  await runtime.stop();
  await assert.rejects(handle.send({ type: "INC" }), StoppedError);
});

describe("a request over the bus that is answered by one who is not the owner", () => {
  const moved: BusReply = { kind: "reply", body: '{"kind":"moved"}' };
  const refused = (code: string): BusReply => ({
    kind: "reply",
    body: JSON.stringify({ kind: "refused", code, message: "m" }),
  });
  const receipt: BusReply = { kind: "reply", body: '{"kind":"receipt","revision":1,"changed":true,"duplicate":false}' };
  const cases: readonly { readonly it: string; readonly replies: readonly BusReply[]; readonly ends: string }[] = [
    { it: "is asked again", replies: [moved, moved, receipt], ends: "receipt" },
    {
      it: "by nobody until the deadline: nothing was done",
      replies: [{ kind: "nobody" }],
      ends: 'Moved: no runtime that takes requests for counter.c was there within 5000 ms: nothing was done; is one running that hosts "counter" on this store?',
    },
    {
      it: "until the deadline: another may have got it, too",
      replies: [moved, { kind: "nobody" }],
      ends: "OutcomeUnknown",
    },
    {
      it: "then by an owner that answers requests in their turn",
      replies: [moved, refused("NotFound")],
      ends: "NotFound",
    },
    { it: "then by an owner that has no room", replies: [moved, refused("Overloaded")], ends: "OutcomeUnknown" },
    {
      it: "by nobody, then by an owner that has no room",
      replies: [{ kind: "nobody" }, refused("Overloaded")],
      ends: "Overloaded",
    },
  ];
  for (const { it, replies, ends } of cases)
    test(it, async () => {
      const clock = new ManualClock();
      let asked = 0;
      const bus: Bus = {
        request: async () => replies[Math.min(asked++, replies.length - 1)] as BusReply,
        serve: () => () => {},
        publish: async () => {},
        subscribe: () => () => {},
      };
      const client = await connect({
        actors: { counter: createMachine({ on: { INC: {} } }) },
        clock,
        requestTimeoutMs: 5_000,
        store: {
          open: () => assert.fail("it is not opened"),
          connect: async () => ({ store: new MemoryStore(), bus, partitions: 1, close: async () => {} }),
        },
      });
      const end = client
        .actor("counter", "c")
        .send({ type: "INC" })
        .then(
          () => "receipt",
          ({ code, message }: { code: string; message: string }) => (code === "Moved" ? `${code}: ${message}` : code),
        );
      await clock.advance(10_000);
      assert.equal(await end, ends);
      await client.close();
    });
});

describe("a request that is never answered", () => {
  const cases = [
    { it: "is repeated within half the window of its automatic key", key: undefined, lastMs: 60_000 },
    { it: "is repeated until its deadline under a key of the caller's", key: "mine", lastMs: 600_000 },
  ] as const;
  for (const { it, key, lastMs } of cases)
    test(it, async () => {
      const clock = new ManualClock();
      const startedMs = clock.now();
      let last = 0;
      const bus: Bus = {
        request: async () => {
          last = clock.now() - startedMs;
          return { kind: "timeout" };
        },
        serve: () => () => {},
        publish: async () => {},
        subscribe: () => () => {},
      };
      const client = await connect({
        actors: { counter: createMachine({ on: { INC: {} } }) },
        clock,
        store: {
          open: () => assert.fail("it is not opened"),
          connect: async () => ({ store: new MemoryStore(), bus, partitions: 1, close: async () => {} }),
        },
      });
      const options = { timeoutMs: 600_000, ...(key !== undefined && { key }) };
      const end = client
        .actor("counter", "c")
        .send({ type: "INC" }, options)
        .catch(({ code }: { code: string }) => code);
      await clock.advance(700_000);
      assert.equal(await end, "OutcomeUnknown");
      assert.ok(last <= lastMs && last > lastMs - 5_000, `the last one after ${last} ms`);
      await client.close();
    });
});
