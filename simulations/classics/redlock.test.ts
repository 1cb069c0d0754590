import { describe, expect, test } from "vitest";
import { judge, schedules, tellRedLock } from "./redlock.ts";
import { play } from "./redlock-play.ts";

describe.each(schedules)("$name $title", (schedule) => {
  test("takes fifteen steps or fewer", () => {
    expect(schedule.steps.length).toBeLessThanOrEqual(15);
  });

  test("(a) both hold it, and one of two acknowledged increments is lost", async () => {
    const played = await play(schedule, "unfenced");
    expect(played, played.story.join("\n")).toMatchObject({ heldByTwo: true, accepted: ["c2", "c1"], counted: 1 });
    expect(judge(played, "unfenced").asTold).toBe(true);
  });

  test("(b) both believe to hold it, one is accepted, and the other is FENCED", async () => {
    const played = await play(schedule, "fenced");
    const expected = { heldByTwo: true, accepted: ["c2"], fenced: ["c1"], counted: 1 };
    expect(played, played.story.join("\n")).toMatchObject(expected);
    expect(judge(played, "fenced").asTold).toBe(true);
  });

  test("(c) with a made-up number as token the wrong one is FENCED", async () => {
    const played = await play(schedule, "madeUp");
    expect(played, played.story.join("\n")).toMatchObject({ heldByTwo: true, accepted: ["c1"], fenced: ["c2"] });
    expect(judge(played, "madeUp").asTold).toBe(true);
  });

  test("is the same story every time", async () => {
    expect(await play(schedule, "fenced")).toEqual(await play(schedule, "fenced"));
  });
});

test("where the holder measures by itself, the shipped client would have known better", async () => {
  for (const name of ["S4", "S5"]) {
    const schedule = schedules.find((one) => one.name === name) as (typeof schedules)[number];
    for (const variant of ["unfenced", "fenced", "madeUp"] as const)
      expect((await play(schedule, variant)).librarySaid, `${name} ${variant}`).toEqual([false]);
  }
});

test("the teller tells all of it, and says whether it ended as it must", async () => {
  const lines: string[] = [];
  expect(await tellRedLock((line) => lines.push(line))).toBe(true);
  expect(lines.filter((line) => line.startsWith("    => "))).toHaveLength(15);
  expect(lines.join("\n")).toMatch(/c1 writes 1 with token 1\.\d+: FENCED\(1\.\d+\)/);
  const one: string[] = [];
  await tellRedLock((line) => one.push(line), "S2");
  expect(one[0]).toMatch(/^S2: /);
});
