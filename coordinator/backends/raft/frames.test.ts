import fc from "fast-check";
import { expect, test } from "vitest";
import { FrameReader, FrameTooLarge, frameOf } from "./frames.ts";

const seed = Number(process.env.SEED ?? 20_260_102);

test(`frames come out as they went in, however the stream is cut (seed ${seed})`, () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
      (payloads, cuts) => {
        const stream = Buffer.concat(payloads.map(frameOf));
        const reader = new FrameReader(64);
        const got: Uint8Array[] = [];
        for (let at = 0, turn = 0; at < stream.length; turn++) {
          const size = cuts[turn % cuts.length] as number;
          got.push(...reader.push(stream.subarray(at, at + size)));
          at += size;
        }
        expect(got.map((frame) => [...frame])).toEqual(payloads.map((payload) => [...payload]));
      },
    ),
    { seed, numRuns: 1_000 },
  );
});

test("a frame is not waited for when its length alone is too much", () => {
  const reader = new FrameReader(1_000);
  expect(reader.push(frameOf(new Uint8Array(1_000)))).toHaveLength(1);
  expect(() => reader.push(Uint8Array.of(0, 0, 3, 233))).toThrow(new FrameTooLarge(1_001, 1_000));
  expect(() => new FrameReader(1_000).push(Uint8Array.of(0x40, 0, 0, 0))).toThrow("a frame of 1073741824 bytes");
});

test("half a frame is nothing yet", () => {
  expect(new FrameReader(1_000).push(frameOf(new Uint8Array(10)).subarray(0, 9))).toEqual([]);
});
