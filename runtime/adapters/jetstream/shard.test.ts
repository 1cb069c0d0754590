/** When a stream counts as lost, what becomes of its writes then, and how long a new one is waited for. */
import { expect, test } from "vitest";
import { ManualClock } from "../../testing/manual-clock.ts";
import type { OnReply } from "../nats/requests.ts";
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

/** A shard of a stream that was made at `created()`; every write goes to `send`. */
function shardWith(
  created: () => string,
  send: (subject: string, onReply: OnReply) => void,
  forget: () => Promise<void> = async () => {},
) {
  const clock = new ManualClock();
  const info = () => ({ created: created(), config: {}, state: { last_seq: 0 } });
  const shard = new Shard({
    api: { streamInfo: async () => info(), forget } as never,
    prepared: { bucket: "b", stream: "KV_b", info: info() as never, warnings: [] },
    journal: undefined,
    writer: {
      requests: {
        send: (subject, _data, _headers, _timeoutMs, onReply) => send(subject, onReply),
        post: () => true,
      },
      timeoutMs: 60_000,
      maxInFlight: 10,
      batches: false,
      id: () => "id",
    },
    isFleeting: (key) => key.startsWith("_pending."),
    markerMs: 60_000,
    onLost: () => {},
    clock,
  });
  return { shard, clock };
}

test("what waits for a leader is not sent into the stream that has taken the place of this one", async () => {
  let created = "then";
  const sent: { readonly subject: string; readonly onReply: OnReply }[] = [];
  const { shard, clock } = shardWith(
    () => created,
    (subject, onReply) => void sent.push({ subject, onReply }),
  );
  const write = (key: string) =>
    shard.write({ key, value: "{}", header: { commit: "c", hash: "h" }, expect: 0, token: [1, 1] });
  const first = write("order.a");
  created = "later";
  sent.splice(0)[0]?.onReply({ kind: "noResponders" });
  const waiting = write("order.b");
  await clock.advance(1_000);
  expect((await first).kind).toBe("unknown");
  expect(await waiting).toMatchObject({ kind: "refused", reason: "fenced" });
  expect(await write("order.c")).toMatchObject({ kind: "refused", reason: "fenced" });
  expect(sent).toEqual([]);
});

test.each([
  { it: "is silent", reply: undefined },
  { it: "has nobody who answers", reply: { kind: "noResponders" } as const },
])("a new stream that $it is waited for ten seconds, however long an answer may take", async ({ reply }) => {
  const { shard, clock } = shardWith(
    () => "then",
    (_, onReply) => {
      if (reply !== undefined) void Promise.resolve().then(() => onReply(reply));
    },
  );
  let readyAfterMs: number | undefined;
  const startMs = clock.monotonic();
  void shard.ready().then(() => {
    readyAfterMs = clock.monotonic() - startMs;
  });
  await clock.advance(120_000);
  expect(readyAfterMs).toBe(10_000);
});

test("a new stream that has a leader is ready at once", async () => {
  const description = "wrong last sequence: 0";
  const data = new TextEncoder().encode(JSON.stringify({ error: { code: 400, err_code: 10_071, description } }));
  const { shard } = shardWith(
    () => "then",
    (_, onReply) => void Promise.resolve().then(() => onReply({ kind: "reply", message: { data } } as never)),
  );
  await shard.ready();
});

test("what purges leave is not taken out of the stream that has taken the place of this one", async () => {
  let created = "then";
  let forgotten = 0;
  const data = new TextEncoder().encode('{"stream":"KV_b","seq":10}');
  const { shard } = shardWith(
    () => created,
    (_, onReply) => void Promise.resolve().then(() => onReply({ kind: "reply", message: { data } } as never)),
    async () => {
      forgotten++;
      await shard.check();
    },
  );
  for (let n = 0; n < 20; n++) await shard.purge(`_pending.order.${n}`, 1, [1, 1], "c");
  await shard.sweep();
  expect(forgotten).toBe(0);
  created = "later";
  await shard.sweep();
  const atATime = 8;
  expect(forgotten).toBe(atATime);
});
