/** What every fenced register must do (C5, C6), as plain functions. */
import assert from "node:assert/strict";
import type { Claim, FencedRegister } from "./fenced-register.ts";

export type RegisterUnderTest = { readonly register: FencedRegister; close(): Promise<void> };

export type RegisterCase = {
  readonly name: string;
  readonly run: (open: () => Promise<RegisterUnderTest>) => Promise<void>;
};

const claim = (epoch: number, index: number, holder = `n${index}`): Claim => ({ token: [epoch, index], holder });
const largest = Number.MAX_SAFE_INTEGER;

/** Who is there, who comes, and whether he may: both sides of every boundary. */
const ranks: readonly (readonly [there: Claim, comes: Claim, may: boolean])[] = [
  [claim(1, 5), claim(1, 6), true],
  [claim(1, 5), claim(1, 5), true],
  [claim(1, 5), claim(1, 5, "another"), false],
  [claim(1, 5), claim(1, 4), false],
  [claim(1, 5), claim(1, 4, "n5"), false],
  [claim(1, 5), claim(2, 1), true],
  [claim(2, 1), claim(1, 5), false],
  [claim(1, 9), claim(1, 10), true],
  [claim(9, 1), claim(10, 1), true],
  [claim(1, largest - 1), claim(1, largest), true],
  [claim(1, largest), claim(1, largest - 1), false],
  [claim(0, 0), claim(0, 1), true],
];

export const registerContract: readonly RegisterCase[] = [
  {
    name: "C5 a claim passes if its token is higher, or the same in the same hands",
    run: withRegister(async (register) => {
      for (const [index, [there, comes, may]] of ranks.entries()) {
        const key = `k${index}`;
        assert.equal((await register.install(key, there)).kind, "installed");
        const written = await register.write({ key, claim: comes, value: "v", effect: "e" });
        const expected = may ? { kind: "applied" } : { kind: "fenced", newest: there };
        assert.deepEqual(written, expected, `${JSON.stringify(comes)} after ${JSON.stringify(there)}`);
        assert.deepEqual(await register.read(key), {
          claim: may ? comes : there,
          value: may ? "v" : undefined,
          effect: may ? "e" : undefined,
        });
      }
    }),
  },
  {
    name: "C6 whoever has installed his claim sees what was written before, and nothing of earlier holders after",
    run: withRegister(async (register) => {
      const [one, two] = [claim(1, 1), claim(1, 2)];
      assert.deepEqual(await register.install("k", one), { kind: "installed", value: undefined, effect: undefined });
      assert.deepEqual(await register.write({ key: "k", claim: one, value: "1", effect: "a" }), { kind: "applied" });
      assert.deepEqual(await register.install("k", two), { kind: "installed", value: "1", effect: "a" });
      const late = await register.write({ key: "k", claim: one, value: "late", effect: "b" });
      assert.deepEqual(late, { kind: "fenced", newest: two });
      assert.deepEqual(await register.install("k", one), { kind: "fenced", newest: two });
      assert.deepEqual(await register.read("k"), { claim: two, value: "1", effect: "a" });
    }),
  },
  {
    name: "an effect that wrote last is not done again, not by the next holder either, whose claim counts all the same",
    run: withRegister(async (register) => {
      const [one, two] = [claim(1, 1), claim(1, 2)];
      const tick = { key: "k", value: "7", effect: "settle/7" };
      assert.deepEqual(await register.write({ ...tick, claim: one }), { kind: "applied" });
      assert.deepEqual(await register.write({ ...tick, claim: one, value: "other" }), { kind: "repeated" });
      assert.deepEqual(await register.write({ ...tick, claim: two }), { kind: "repeated" });
      assert.deepEqual(await register.write({ ...tick, claim: one, effect: "settle/8" }), {
        kind: "fenced",
        newest: two,
      });
      assert.deepEqual(await register.read("k"), { claim: two, value: "7", effect: "settle/7" });
    }),
  },
  {
    name: "keys are apart, and values are any text",
    run: withRegister(async (register) => {
      const values = ["", "ä€😀", "a\u0000b\r\n", "x".repeat(100_000), "1e3", "nil"];
      for (const [index, value] of values.entries()) {
        const write = { key: `key ${index}:{${value.slice(0, 5)}}`, claim: claim(1, 1), value, effect: value };
        assert.deepEqual(await register.write(write), { kind: "applied" });
        assert.equal((await register.read(write.key))?.value, value);
      }
      assert.equal(await register.read("nobody was here"), undefined);
    }),
  },
  {
    name: "of many that write at once under different claims, the highest has the last word",
    run: withRegister(async (register) => {
      const order = [5, 2, 9, 1, 7, 3, 8, 6, 4];
      const outcomes = await Promise.all(
        order.map((index) =>
          register.write({ key: "k", claim: claim(1, index), value: `${index}`, effect: `e${index}` }),
        ),
      );
      assert.equal((await register.read("k"))?.value, "9");
      assert.ok(outcomes.every(({ kind }) => kind === "applied" || kind === "fenced"));
    }),
  },
  {
    name: "a claim that is none is refused before it leaves",
    run: withRegister(async (register) => {
      const bad: [Claim, RegExp][] = [
        [claim(1, -1), /token is two whole numbers/],
        [claim(1, 1.5), /token is two whole numbers/],
        [claim(Number.NaN, 1), /token is two whole numbers/],
        [claim(1, 2 ** 53), /token is two whole numbers/],
        [claim(1, 1, ""), /holder of a claim/],
        [claim(1, 1, "x".repeat(201)), /holder of a claim/],
      ];
      for (const [wrong, message] of bad) {
        await assert.rejects(register.install("k", wrong), message);
        await assert.rejects(register.write({ key: "k", claim: wrong, value: "", effect: "" }), message);
      }
      await assert.rejects(register.install("", claim(1, 1)), /key of a register/);
      assert.equal(await register.read("k"), undefined);
    }),
  },
];

function withRegister(run: (register: FencedRegister) => Promise<void>): RegisterCase["run"] {
  return async (open) => {
    const { register, close } = await open();
    try {
      await run(register);
    } finally {
      await close();
    }
  };
}
