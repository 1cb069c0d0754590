/** One line of the log. Fields that a line is about stand beside the text: actor, revision, token. */
export type LogFields = {
  readonly actor?: string;
  readonly revision?: number;
  readonly token?: readonly [number, number];
  readonly error?: unknown;
  readonly [field: string]: unknown;
};

export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}
