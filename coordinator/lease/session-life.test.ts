/** The rules of `session-life.ts`, on a clock of our own and with a back end that answers when it is told to. */
import { describe, expect, test } from "vitest";
import { ManualClock } from "../../runtime/testing/manual-clock.ts";
import { type Renewed, SessionLife } from "./session-life.ts";

const ttlMs = 3_000;
const validMs = ttlMs * 0.95;

function session() {
  const clock = new ManualClock();
  const startMs = clock.monotonic();
  const asked: { atMs: number; answer: (renewed: Renewed) => void; renew: () => void }[] = [];
  const lost: string[] = [];
  const renewOnce = () =>
    new Promise<Renewed>((answer) => {
      const sentMs = clock.monotonic();
      asked.push({ atMs: sentMs - startMs, answer, renew: () => answer({ kind: "renewed", sentMs }) });
    });
  const life = new SessionLife({ clock, ttlMs, sentMs: startMs, renewOnce });
  life.onLost((reason) => lost.push(reason));
  return { clock, life, asked, lost, validForMs: () => life.validUntilMs - startMs };
}

describe("a session", () => {
  test("is valid from before it was asked for, a little shorter than its time to live", async () => {
    const { clock, life, lost } = session();
    await clock.advance(validMs - 1);
    expect(life.isValid).toBe(true);
    await clock.advance(1);
    expect([life.isValid, lost]).toEqual([false, ["its time to live has passed without a renewal"]]);
  });

  test("is renewed after a third of its time, and counts from before that was sent (H1)", async () => {
    const { clock, asked, validForMs, life } = session();
    await clock.advance(1_000);
    expect(asked).toMatchObject([{ atMs: 1_000 }]);
    await clock.advance(700);
    asked[0]!.renew();
    await clock.advance(0);
    expect([validForMs(), life.isValid]).toEqual([1_000 + validMs, true]);
    await clock.advance(1_000);
    expect(asked).toHaveLength(2);
  });

  test("is over when it is looked at, before any timer has told it (H2)", () => {
    let nowMs = 0;
    const clock = Object.assign(new ManualClock(), { monotonic: () => nowMs });
    const life = new SessionLife({ clock, ttlMs, sentMs: 0, renewOnce: () => new Promise(() => {}) });
    expect(life.isValid).toBe(true);
    nowMs = validMs;
    expect(life.isValid).toBe(false);
  });

  const ends: readonly [string, (life: SessionLife) => unknown][] = [
    ["lost", (life) => life.lose("for a test")],
    ["closed", (life) => life.close()],
  ];
  test.each(ends)("that is %s stays so, whatever a renewal says that was under way (H3)", async (_, end) => {
    const { clock, life, asked } = session();
    await clock.advance(1_000);
    end(life);
    asked[0]!.renew();
    await life.settled();
    await clock.advance(10_000);
    expect([life.isValid, asked.length]).toEqual([false, 1]);
    await life.renew();
    expect([life.isValid, asked.length]).toEqual([false, 1]);
  });

  test("tells once that it is lost, and why; one that is closed tells nothing", async () => {
    const first = session();
    await first.clock.advance(1_000);
    first.asked[0]!.answer({ kind: "over", reason: "others ended it" });
    await first.clock.advance(10_000);
    first.life.lose("again");
    expect([first.lost, first.life.close()]).toEqual([["others ended it"], false]);
    const second = session();
    expect([second.life.close(), second.life.close()]).toEqual([true, false]);
    await second.clock.advance(10_000);
    expect([second.lost, second.asked]).toEqual([[], []]);
  });

  test("is renewed anew for what was changed while a renewal was under way", async () => {
    const { clock, life, asked } = session();
    await clock.advance(1_000);
    const told = life.renew();
    expect(asked).toHaveLength(1);
    asked[0]!.renew();
    await clock.advance(0);
    expect(asked).toHaveLength(2);
    asked[1]!.renew();
    await told;
  });
});
