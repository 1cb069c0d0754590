/** Reads of a server that is slow, or that drops what it is asked while it elects a leader. */
import type { NatsConnection } from "@nats-io/transport-node";
import { expect, test } from "vitest";
import { ManualClock } from "../../testing/manual-clock.ts";
import { Requests } from "../nats/requests.ts";
import { Api } from "./api.ts";

const timeoutMs = 5_000;
const answer = JSON.stringify({ created: "then", config: {}, state: { last_seq: 7 } });

type Server = { readonly latencyMs: number; readonly deafMs: number };
const subjects = { subjects_filter: "$KV.b.>", offset: 0 };

/** To a server that hears each request at once, and answers by `arrives`, if at all. */
function requestsTo(clock: ManualClock, heard: (arrives: (said: unknown) => void) => void): Requests {
  let callback: (error: null, message: unknown) => void = () => {};
  const connection = {
    subscribe: (_: string, options: { readonly callback: typeof callback }) => {
      callback = options.callback;
      return { unsubscribe: () => {} };
    },
    publish: (_subject: string, _data: unknown, { reply }: { readonly reply: string }) =>
      heard((said) => callback(null, { subject: reply, data: new Uint8Array(1), json: () => said })),
    isClosed: () => false,
    status: () => ({ [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}) }) }),
  };
  return new Requests(connection as unknown as NatsConnection, clock, "_INBOX.a");
}

/** What a read comes to, and when, on a server that takes so long and answers nothing before `deafMs`. */
async function read({ latencyMs, deafMs }: Server, ask?: typeof subjects) {
  const clock = new ManualClock();
  const startMs = clock.monotonic();
  const now = () => clock.monotonic() - startMs;
  const askedAtMs: number[] = [];
  const requests = requestsTo(clock, (arrives) => {
    askedAtMs.push(now());
    if (now() >= deafMs) clock.after(latencyMs, () => arrives(JSON.parse(answer)));
  });
  const api = new Api(requests, timeoutMs);
  let outcome: { readonly lastSequence: number | undefined; readonly atMs: number } | "pending" | "failed" = "pending";
  void api.streamInfo("KV_b", ask).then(
    (info) => {
      outcome = { lastSequence: info?.state.last_seq, atMs: now() };
    },
    () => {
      outcome = "failed";
    },
  );
  await clock.advance(4 * timeoutMs);
  return { outcome, askedAtMs };
}

test.each([
  { it: "at once is asked once", latencyMs: 10, deafMs: 0, atMs: 10, asked: 1 },
  { it: "in 600 ms is heard", latencyMs: 600, deafMs: 0, atMs: 600, asked: 2 },
  { it: "in 1.3 s is heard", latencyMs: 1_300, deafMs: 0, atMs: 1_300, asked: 3 },
  {
    it: "just in time is heard, and was asked at growing distances",
    latencyMs: 4_900,
    deafMs: 0,
    atMs: 4_900,
    asked: 5,
  },
  { it: "after it has been deaf is asked again", latencyMs: 10, deafMs: 1_000, atMs: 1_260, asked: 3 },
  { it: "late after it has been deaf is heard", latencyMs: 800, deafMs: 1_000, atMs: 2_050, asked: 3 },
])("a server that answers $it", async ({ latencyMs, deafMs, atMs, asked }) => {
  const { outcome, askedAtMs } = await read({ latencyMs, deafMs });
  expect(outcome).toEqual({ lastSequence: 7, atMs });
  expect(askedAtMs).toHaveLength(asked);
});

test("a server that never answers is given up in time, and was asked a few times", async () => {
  const { outcome, askedAtMs } = await read({ latencyMs: 0, deafMs: Number.POSITIVE_INFINITY });
  expect(outcome).toBe("failed");
  expect(askedAtMs).toEqual([0, 500, 1_250, 2_375, 4_062.5]);
});

test.each([
  { it: "is not asked for while it is made", latencyMs: 2_400, deafMs: 0, atMs: 2_400, asked: 1 },
  { it: "that takes nearly all the time is heard", latencyMs: 4_900, deafMs: 0, atMs: 4_900, asked: 2 },
  { it: "that nobody heard of is asked for again", latencyMs: 600, deafMs: 1_000, atMs: 3_100, asked: 2 },
])("a list of subjects $it", async ({ latencyMs, deafMs, atMs, asked }) => {
  const { outcome, askedAtMs } = await read({ latencyMs, deafMs }, subjects);
  expect(outcome).toEqual({ lastSequence: 7, atMs });
  expect(askedAtMs).toHaveLength(asked);
});

/** What the creation of a stream comes to on a cluster that misses a peer until `missingMs`. */
async function create(missingMs: number, description: string) {
  const clock = new ManualClock();
  const startMs = clock.monotonic();
  let asked = 0;
  const requests = requestsTo(clock, (arrives) => {
    asked++;
    const isMissing = clock.monotonic() - startMs < missingMs;
    const said = isMissing ? { error: { code: 400, err_code: 10005, description } } : { created: "then" };
    clock.after(10, () => arrives(said));
  });
  const api = new Api(requests, timeoutMs);
  let outcome = "pending";
  let atMs = 0;
  void api.createStream({ name: "KV_b", num_replicas: 3 }).then(
    () => {
      [outcome, atMs] = ["made", clock.monotonic() - startMs];
    },
    (error: Error) => {
      [outcome, atMs] = [error.message, clock.monotonic() - startMs];
    },
  );
  for (let passedMs = 0; passedMs < 60_000; passedMs += 10) await clock.advance(10);
  return { outcome, atMs, asked };
}

const offline = "no suitable peers for placement, peer offline";

test("a stream whose peer has just joined is asked for again until the leader has heard of it", async () => {
  expect(await create(1_700, offline)).toEqual({ outcome: "made", atMs: 1_830, asked: 8 });
});

test("a peer that does not come is told within the time of an answer", async () => {
  const { outcome, atMs, asked } = await create(Number.POSITIVE_INFINITY, offline);
  expect(outcome).toContain(offline);
  expect(atMs).toBeGreaterThan(14_000);
  expect(atMs).toBeLessThanOrEqual(15_000);
  expect(asked).toBe(58);
});

test("peers that do not suit for another reason are told at once", async () => {
  const { outcome, asked } = await create(
    Number.POSITIVE_INFINITY,
    "no suitable peers for placement, tags not matched",
  );
  expect(outcome).toContain("tags not matched");
  expect(asked).toBe(1);
});
