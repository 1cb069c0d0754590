/**
 * Known failures of other designs, each played and told as a story, with ours beside it: `holdfast simulate <name>`.
 * They are no suites: nothing is searched for, every step is written down.
 */
export type Tale = {
  /** One word. */
  readonly name: string;
  readonly about: string;
  /** Line by line. Resolves whether everything went as the tale says. */
  tell(say: (line: string) => void): Promise<boolean>;
};

export const tales: readonly Tale[] = [];
