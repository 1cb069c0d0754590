/** Whether a stream has lost writes is asked more than once: one server that is behind for a moment is not a loss. */
import { expect, test } from "vitest";
import { ManualClock } from "../../testing/manual-clock.ts";
import { Shard } from "./shard.ts";

/** A stream that confirms one write at 10, and then says of itself that it ends at each of these in turn. */
async function checked(ends: readonly number[]): Promise<{ lost: string[]; asked: number }> {
  const clock = new ManualClock();
  const lost: string[] = [];
  let asked = 0;
  const infoAt = (lastSequence: number) => ({ created: "then", config: {}, state: { last_seq: lastSequence } });
  const api = { streamInfo: async () => infoAt(ends[Math.min(asked++, ends.length - 1)] as number) };
  const requests = {
    send: (_subject: string, _data: unknown, _headers: unknown, _timeoutMs: number, answer: (reply: unknown) => void) =>
      answer({ kind: "reply", message: { data: new TextEncoder().encode('{"stream":"KV_b","seq":10}') } }),
  };
  const shard = new Shard({
    api: api as never,
    prepared: { bucket: "b", stream: "KV_b", info: infoAt(0) as never, warnings: [] },
    journal: undefined,
    writer: { requests: requests as never, timeoutMs: 1_000, maxInFlight: 1, batches: false, id: () => "id" },
    isFleeting: () => false,
    markerMs: 60_000,
    onLost: (reason) => lost.push(reason),
    clock,
  });
  const header = { commit: "c", hash: "h" };
  await shard.write({ key: "order.a", value: "{}", header, expect: 0, token: [1, 1] });
  const checking = shard.check();
  await clock.advance(10_000);
  await checking;
  return { lost, asked };
}

test.each([
  { it: "that has all it confirmed is kept", ends: [10], lost: [], asked: 1 },
  { it: "that a server knew only in part for a moment is kept", ends: [9, 9, 10], lost: [], asked: 3 },
  { it: "that stays behind has lost writes", ends: [9], lost: ["wentBack"], asked: 5 },
])("a stream $it", async ({ ends, lost, asked }) => {
  expect(await checked(ends)).toEqual({ lost, asked });
});
