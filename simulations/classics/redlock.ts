/**
 * The five ways in which RedLock lets two hold one lock, as data: each a schedule of at most fifteen steps. Two clients add
 * one to a number that only the holder may touch. Each schedule is played three times: (a) with RedLock and a plain register;
 * (b) with a lease that has tokens and a register that checks them; (c) with RedLock and a made-up number as token.
 */
import { type Play, play, type Schedule, type Variant } from "./redlock-play.ts";

export const schedules: readonly Schedule[] = [
  {
    name: "S1",
    title: "the holder stops between its check and its write",
    steps: [
      { atMs: 0, by: "c1", does: "acquire" },
      { atMs: 30, by: "c1", does: "read" },
      { atMs: 50, by: "c1", does: "check" },
      { atMs: 60, fault: "pause", of: "c1", forMs: 12_000 },
      { atMs: 10_001, by: "c2", does: "acquire" },
      { atMs: 11_000, by: "c2", does: "read" },
      { atMs: 11_020, by: "c2", does: "check" },
      { atMs: 11_040, by: "c2", does: "write" },
      { atMs: 12_061, by: "c1", does: "write" },
    ],
  },
  {
    name: "S2",
    title: "the clock by which the lock expires jumps ahead; no client does anything wrong",
    steps: [
      { atMs: 0, fault: "cut", of: "c1", from: ["D", "E"] },
      { atMs: 0, by: "c1", does: "acquire" },
      { atMs: 250, by: "c1", does: "read" },
      { atMs: 290, fault: "judgesClockSteps", of: "C", byMs: 10_600 },
      { atMs: 300, by: "c2", does: "acquire" },
      { atMs: 900, by: "c2", does: "read" },
      { atMs: 920, by: "c2", does: "check" },
      { atMs: 930, by: "c1", does: "check" },
      { atMs: 940, by: "c2", does: "write" },
      { atMs: 950, by: "c1", does: "write" },
    ],
  },
  {
    name: "S3",
    title: "a server restarts without what it had acknowledged",
    steps: [
      { atMs: 0, fault: "cut", of: "c1", from: ["D", "E"] },
      { atMs: 0, by: "c1", does: "acquire" },
      { atMs: 250, by: "c1", does: "read" },
      { atMs: 290, fault: "forgets", of: "C" },
      { atMs: 300, by: "c2", does: "acquire" },
      { atMs: 900, by: "c2", does: "read" },
      { atMs: 920, by: "c2", does: "check" },
      { atMs: 930, by: "c1", does: "check" },
      { atMs: 940, by: "c2", does: "write" },
      { atMs: 950, by: "c1", does: "write" },
    ],
  },
  {
    name: "S4",
    title: "the holder measures by its wall clock, which is set back",
    steps: [
      { atMs: 0, by: "c1", does: "acquire" },
      { atMs: 30, by: "c1", does: "read" },
      { atMs: 40, fault: "doesNotExtend", of: "c1" },
      { atMs: 5_000, fault: "holdersWallClockSteps", of: "c1", byMs: -30_000 },
      { atMs: 10_001, by: "c2", does: "acquire" },
      { atMs: 11_000, by: "c2", does: "read" },
      { atMs: 11_020, by: "c2", does: "check" },
      { atMs: 11_030, by: "c1", does: "check", how: "wallClock" },
      { atMs: 11_040, by: "c2", does: "write" },
      { atMs: 11_050, by: "c1", does: "write" },
    ],
  },
  {
    name: "S5",
    title: "the holder counts from the answer, and the answer was slow",
    instanceTimeoutMs: 1_000,
    steps: [
      { atMs: 0, fault: "slowAnswer", of: "c1", byMs: 950 },
      { atMs: 0, by: "c1", does: "acquire" },
      { atMs: 980, by: "c1", does: "read" },
      { atMs: 990, fault: "doesNotExtend", of: "c1" },
      { atMs: 10_003, by: "c2", does: "acquire" },
      { atMs: 10_700, by: "c2", does: "read" },
      { atMs: 10_720, by: "c2", does: "check" },
      { atMs: 10_730, by: "c1", does: "check", how: "answer" },
      { atMs: 10_740, by: "c2", does: "write" },
      { atMs: 10_750, by: "c1", does: "write" },
    ],
  },
];

const titles: Readonly<Record<Variant, string>> = {
  unfenced: "(a) RedLock, a plain register",
  fenced: "(b) a lease with tokens, a register that checks them",
  madeUp: "(c) RedLock, the same register, a number of its own as token",
};

/** Prints all stories, and whether each ended as it must. Without a name: all five. */
export async function tellRedLock(say: (line: string) => void, only?: string): Promise<boolean> {
  let allAsTold = true;
  for (const schedule of schedules.filter(({ name }) => only === undefined || name === only)) {
    say(`${schedule.name}: ${schedule.title}`);
    for (const variant of ["unfenced", "fenced", "madeUp"] as const) {
      const played = await play(schedule, variant);
      const verdict = judge(played, variant);
      say(`  ${titles[variant]}`);
      for (const line of played.story) say(`    ${line}`);
      say(`    => ${verdict.words}`);
      allAsTold &&= verdict.asTold;
    }
    say("");
  }
  return allAsTold;
}

/** What came of it, in words, and whether that is what this story is told for. */
export function judge(played: Play, variant: Variant): { readonly words: string; readonly asTold: boolean } {
  const { accepted, fenced, counted, heldByTwo } = played;
  const holders = heldByTwo ? "both held it at once" : "they did not hold it at once";
  switch (variant) {
    case "unfenced":
      return {
        words: `${holders}; ${accepted.length} increments were acknowledged and ${counted} counted: ${accepted.length - counted} lost`,
        asTold: heldByTwo && accepted.length === 2 && counted === 1,
      };
    case "fenced":
      return {
        words: `${holders}; ${accepted.join()} was accepted, ${fenced.join()} was FENCED: ${accepted.length} acknowledged, ${counted} counted, none lost`,
        asTold: heldByTwo && accepted.join() === "c2" && fenced.join() === "c1" && counted === 1,
      };
    case "madeUp":
      return {
        words: `${holders}; ${fenced.join()}, to whom the lock was given last, was FENCED, and ${accepted.join()}, who had it before, was accepted`,
        asTold: heldByTwo && accepted.join() === "c1" && fenced.join() === "c2",
      };
  }
}
