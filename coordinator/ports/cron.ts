/** The instants of one cron pattern in one time zone. Pure: what it answers depends on nothing but what it is asked. */
export interface Cron {
  /** The first instant after this one, in milliseconds since 1970; undefined: none comes any more. */
  next(afterMs: number): number | undefined;
  /** The last instant before this one; undefined: there was none. */
  previous(beforeMs: number): number | undefined;
}

/** Reads a pattern of five or six fields (seconds first). Throws an Error that says what is wrong with it. */
export type ReadCron = (pattern: string, timeZone: string) => Cron;
