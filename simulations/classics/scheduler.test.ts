import assert from "node:assert/strict";
import { describe, test } from "vitest";
import { isBroken, schedules, tellScheduler } from "./scheduler.ts";
import { playOurs, playTheirs } from "./scheduler-play.ts";

describe.each(schedules)("$name", (schedule) => {
  test("takes 15 steps or fewer", () => assert.ok(schedule.steps.length <= 15));

  test("theirs runs the job twice", async () => {
    const { written } = await playTheirs(schedule);
    assert.deepEqual(written, ["b", "a"]);
  });

  test("ours runs it once, on the same steps", async () => {
    const play = await playOurs(schedule);
    assert.equal(isBroken(play), false, play.story.join("\n"));
    assert.equal(play.written.length, 1, play.story.join("\n"));
  });

  test("is the same story each time", async () => {
    assert.deepEqual(await playOurs(schedule), await playOurs(schedule));
  });
});

test("a holder that was stopped is refused by its token, when it writes at last", async () => {
  const stopped = schedules.find(({ name }) => name === "mistake-3");
  assert.ok(stopped);
  const { written, refused } = await playOurs(stopped);
  assert.deepEqual({ written, refused }, { written: ["b"], refused: ["a"] });
});

test("a healthy holder keeps its lease beyond its time to live", async () => {
  const healthy = schedules.find(({ name }) => name === "mistake-4");
  assert.ok(healthy);
  const { written, story } = await playOurs(healthy);
  assert.deepEqual(written, ["a"]);
  assert.match(story.join("\n"), /b asks for the lease: no/);
});

test("the stories are told, and go as they are told", async () => {
  const lines: string[] = [];
  assert.equal(await tellScheduler((line) => lines.push(line)), true);
  assert.equal(lines.filter((line) => line.includes("=>")).length, 12);
});
