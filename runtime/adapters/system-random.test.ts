import assert from "node:assert/strict";
import { test } from "vitest";
import { SystemRandom } from "./system-random.ts";

test("identities are 16 letters and digits and do not repeat", () => {
  const random = new SystemRandom();
  const ids = Array.from({ length: 2_000 }, () => random.id());
  for (const id of ids) assert.match(id, /^[0-9a-z]{16}$/);
  assert.equal(new Set(ids).size, ids.length);
  assert.equal(new Set(ids.join("")).size, 32);
});

test("dice are in [0, 1)", () => {
  const random = new SystemRandom();
  for (let count = 0; count < 1_000; count++) {
    const dice = random.next();
    assert.ok(dice >= 0 && dice < 1);
  }
});
