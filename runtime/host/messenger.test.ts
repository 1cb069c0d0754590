import assert from "node:assert/strict";
import { test } from "vitest";
import { address } from "../address.ts";
import type { SendItem } from "../outbox.ts";
import type { Bus } from "../ports/bus.ts";
import { ManualClock } from "../testing/manual-clock.ts";
import { Messenger } from "./messenger.ts";
import { defaultSettings } from "./settings.ts";

/** A messenger of one sender whose receiver takes everything; the sizes and numbers of what it was sent. */
async function sent(eventTexts: readonly string[]): Promise<{ bytes: number; items: number[] }[]> {
  const requests: { bytes: number; items: number[] }[] = [];
  const bus = {
    request: async ({ body }: { body: string }) => {
      const items = (JSON.parse(body) as { items: { n: number }[] }).items.map(({ n }) => n);
      requests.push({ bytes: Buffer.byteLength(body), items });
      return { kind: "reply", body: JSON.stringify({ kind: "message", upTo: items.at(-1), dead: [] }) };
    },
  } as unknown as Bus;
  const clock = new ManualClock();
  const silent = { debug() {}, info() {}, warn() {}, error() {} };
  const messenger = new Messenger({
    bus,
    clock,
    random: { next: () => 0.5, id: () => "id" },
    logger: silent,
    settings: defaultSettings,
    partitionOf: () => 0,
    token: () => [1, 1],
  });
  const sender = { key: "order.o-1", born: "b", partition: 0 };
  eventTexts.forEach((eventText, index) => {
    const item = { n: index + 1, kind: "send", to: address("job", "j") } as unknown as SendItem;
    messenger.send({ sender, item, eventText, trace: undefined, delivered: () => {}, outranked: () => {} });
  });
  await clock.advance(1_000);
  messenger.stop();
  return requests;
}

const event = (characters: number, letter = "x") => JSON.stringify({ type: "NOTE", text: letter.repeat(characters) });

test("messages that are too large together go in several requests, in order, none left out", async () => {
  const requests = await sent(Array.from({ length: 100 }, () => event(20_000, "東")));
  assert.deepEqual(
    requests.flatMap(({ items }) => items),
    Array.from({ length: 100 }, (_, index) => index + 1),
  );
  for (const { bytes } of requests) assert.ok(bytes < 700_000, `${bytes} bytes`);
  assert.ok(requests.length < 30, `${requests.length} requests`);
});

test("one message always goes, whatever its size; small ones go a hundred at a time", async () => {
  const [first, second, ...more] = await sent([event(500_000), ...Array.from({ length: 250 }, () => event(10))]);
  assert.deepEqual(first?.items, [1]);
  assert.equal(second?.items.length, 100);
  assert.deepEqual(
    more.map(({ items }) => items.length),
    [100, 50],
  );
});
