import { expect, test } from "vitest";
import { Gate } from "./gate.ts";

test("no more are inside than there are places; the others follow in order as places become free", () => {
  const gate = new Gate(2);
  const entered: number[] = [];
  const leaves = [0, 1, 2, 3].map((name) => gate.enter(() => void entered.push(name)));
  expect(entered).toEqual([0, 1]);
  leaves[1]?.();
  leaves[1]?.();
  expect(entered).toEqual([0, 1, 2]);
  leaves[0]?.();
  expect(entered).toEqual([0, 1, 2, 3]);
});

test("who gives up waiting never enters", () => {
  const gate = new Gate(1);
  const entered: string[] = [];
  const first = gate.enter(() => void entered.push("first"));
  const second = gate.enter(() => void entered.push("second"));
  gate.enter(() => void entered.push("third"));
  second();
  first();
  expect(entered).toEqual(["first", "third"]);
});

test("a hundred thousand that leave as they enter need no stack", () => {
  const gate = new Gate(1);
  let passed = 0;
  const first = gate.enter(() => {});
  for (let index = 0; index < 100_000; index++) {
    gate.enter((leave) => {
      passed++;
      leave();
    });
  }
  first();
  expect(passed).toBe(100_000);
});
