import assert from "node:assert/strict";
import { describe, test } from "vitest";
import { faultsOf, isOnTime, playOurTicks, playTheirTicks, tellTicks, tickMistakes } from "./ticks.ts";

describe.each(tickMistakes)("$name", (mistake) => {
  test("theirs goes wrong as it is told", async () => {
    const play = await playTheirTicks(mistake);
    assert.ok(faultsOf(play)[mistake.breaks] > 0, JSON.stringify(play));
  });

  test("ours does not, through the same seconds", async () => {
    const play = await playOurTicks(mistake);
    assert.equal(isOnTime(play), true, JSON.stringify(play));
    assert.ok(play.runs.length >= 4, JSON.stringify(play));
    // What the pause left out is counted, and nothing is where there was none.
    assert.equal(play.counted > 0, mistake.pause !== undefined);
  });

  test("is the same story each time", async () => {
    assert.deepEqual(await playOurTicks(mistake), await playOurTicks(mistake));
  });
});

test("a ticker without a policy runs a burst in one second, and the seconds of the stall not at all", async () => {
  const stalled = tickMistakes.find(({ name }) => name === "mistake-7");
  assert.ok(stalled);
  const { twice, "not at all": lost } = faultsOf(await playTheirTicks(stalled));
  assert.ok(twice >= 3 && lost >= 3, `${twice} ${lost}`);
});

test("the stories are told, and go as they are told", async () => {
  const lines: string[] = [];
  assert.equal(await tellTicks((line) => lines.push(line)), true, lines.join("\n"));
  assert.equal(lines.filter((line) => line.includes("=>")).length, 6);
});
