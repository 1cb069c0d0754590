/** When a watch is made anew, on a clock of our own: nothing but silence tells of a server that died with its consumer. */
import type { Msg } from "@nats-io/transport-node";
import { expect, test } from "vitest";
import type { Cancel } from "../../ports/clock.ts";
import { ManualClock } from "../../testing/manual-clock.ts";
import { Requests } from "../nats/requests.ts";
import { Api } from "./api.ts";
import { Follower } from "./follower.ts";

type Callback = (error: Error | null, message: Msg) => void;

/** A connection on which what is published is seen, and answered by hand. */
function rig(clock = new ManualClock(), warn: (text: string) => void = () => {}) {
  const inboxes = new Map<string, Callback>();
  const asked: { readonly call: string; readonly reply: string | undefined }[] = [];
  const connection = {
    subscribe(subject: string, { callback }: { callback: Callback }) {
      inboxes.set(subject, callback);
      return { unsubscribe: () => inboxes.delete(subject) };
    },
    publish: (call: string, _: unknown, options?: { reply?: string }) => asked.push({ call, reply: options?.reply }),
    isClosed: () => false,
    status: () => ({ [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}) }) }),
  };
  const requests = new Requests(connection as never, clock, "_INBOX.answers");
  let ids = 0;
  const follower = new Follower({
    api: new Api(requests, 5_000),
    bucket: "shop",
    stream: "KV_shop",
    clock,
    logger: { debug() {}, info() {}, warn, error() {} },
    id: () => `id${++ids}`,
    inboxPrefix: undefined,
    floor: () => 0,
  });
  return {
    clock,
    follower,
    creations: () => asked.filter(({ call }) => call.includes("CONSUMER.CREATE")),
    /** The latest creation is answered. */
    async answer() {
      const { reply = "" } = asked.filter(({ call }) => call.includes("CONSUMER.CREATE")).at(-1) ?? {};
      const message = { subject: reply, data: new Uint8Array(2), json: () => ({}) };
      inboxes.get("_INBOX.answers.*")?.(null, message as unknown as Msg);
      await clock.advance(0);
    },
    beat() {
      const headers = { code: 100, has: () => true, get: (name: string) => (name === "Nats-Last-Consumer" ? "0" : "") };
      const [, deliver] = [...inboxes].find(([subject]) => !subject.startsWith("_INBOX.answers")) ?? [];
      deliver?.(null, { headers, data: new Uint8Array(0) } as unknown as Msg);
    },
  };
}

test("a consumer that is heard is kept; one that falls silent is made anew after two beats and a half", async () => {
  const { clock, follower, creations, answer, beat } = rig();
  follower.watch("", () => {});
  await clock.advance(0);
  await answer();
  for (let second = 0; second < 30; second += 2) {
    await clock.advance(2_000);
    beat();
  }
  expect(creations()).toHaveLength(1);
  await clock.advance(4_999);
  expect(creations()).toHaveLength(1);
  await clock.advance(1);
  expect(creations()).toHaveLength(2);
  follower.stop();
});

test("a consumer is asked for again, the same one, while nobody answers", async () => {
  const { clock, follower, creations, answer } = rig();
  follower.watch("", () => {});
  await clock.advance(499);
  expect(creations()).toHaveLength(1);
  await clock.advance(1_000);
  const names = creations().map(({ call }) => call);
  expect(names).toHaveLength(3);
  expect(new Set(names).size).toBe(1);
  await answer();
  await clock.advance(4_000);
  expect(creations()).toHaveLength(3);
  follower.stop();
});

test("an outage of ten minutes is ten lines of the log, not hundreds", async () => {
  const told: string[] = [];
  const { clock, follower, creations } = rig(new ManualClock(), (text) => void told.push(text));
  follower.watch("", () => {});
  await clock.advance(600_000);
  expect(new Set(creations().map(({ call }) => call)).size).toBeGreaterThan(90);
  expect(told.length).toBeLessThanOrEqual(10);
  expect(told.length).toBeGreaterThan(5);
  follower.stop();
});

test("a clock with fractions is not asked again and again for the last of a silence, which it cannot tell", async () => {
  // The end of 5 s that begin here is rounded down: they are not seen to have passed then, and yet nothing is left of them.
  const startMs = 126_560.039;
  expect(startMs + 5_000 - startMs).toBeLessThan(5_000);
  class Patient extends ManualClock {
    #wakings = 0;
    override after(delayMs: number, wake: () => void): Cancel {
      if (++this.#wakings > 1_000) throw new Error("the clock is asked for ever");
      return super.after(delayMs, wake);
    }
  }
  const { clock, follower, creations, answer } = rig(new Patient(startMs));
  follower.watch("", () => {});
  await answer();
  expect(clock.monotonic()).toBe(startMs);
  await clock.advance(5_001);
  expect(creations()).toHaveLength(2);
  follower.stop();
});
