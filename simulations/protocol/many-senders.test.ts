import { expect, test } from "vitest";
import { manySenders } from "./many-senders.ts";

const seed = Number(process.env.HOLDFAST_SEED ?? 20_261);

test.each([
  ["real actors", true],
  ["the sender's side alone", false],
])(
  "10,000 messages from as many senders, %s: each counts once, the receiver's document stays under 64 KiB",
  async (_who, actors) => {
    const result = await manySenders({ messages: 10_000, actors, seed });
    expect(result.duplicatedRequests, `seed ${seed}`).toBeGreaterThan(100);
    expect(result.lostReplies, `seed ${seed}`).toBeGreaterThan(100);
    expect(result.counted, `seed ${seed}`).toBe(10_000);
    expect(result.largestBytes, `seed ${seed}`).toBeLessThan(64 * 1024);
  },
  180_000,
);
