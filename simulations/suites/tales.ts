/**
 * Known failures of other designs, each played and told as a story, with ours beside it: `holdfast simulate <name>`.
 * They are no suites: nothing is searched for, every step is written down.
 */
import { tellRedLock } from "../classics/redlock.ts";
import { tellScheduler } from "../classics/scheduler.ts";

export type Tale = {
  /** One word. */
  readonly name: string;
  readonly about: string;
  /** Line by line. Resolves whether everything went as the tale says. */
  tell(say: (line: string) => void): Promise<boolean>;
};

export const tales: readonly Tale[] = [
  {
    name: "redlock",
    about: "five ways in which RedLock lets two hold one lock; beside each, on the same steps, a lease with tokens",
    tell: (say) => tellRedLock(say),
  },
  {
    name: "classics",
    about: "a scheduler over a lock in Redis, which runs a job twice; beside it, on the same steps, ours",
    tell: (say) => tellScheduler(say),
  },
];
