/** What every command of the command line is: its place in the help, the options it takes, and how it runs. */
import type { DocumentStatus } from "../document.ts";
import type { Clock } from "../ports/clock.ts";
import type { NatsLink } from "./nats-target.ts";
import type { Session } from "./session.ts";

/** Every option there is, as `parseArgs` wants it. A command names those that it takes. */
export const options = {
  data: { type: "string" },
  json: { type: "boolean" },
  help: { type: "boolean", short: "h" },
  version: { type: "boolean" },
  state: { type: "string" },
  tag: { type: "string" },
  status: { type: "string" },
  limit: { type: "string" },
  key: { type: "string" },
  accept: { type: "boolean" },
  discard: { type: "boolean" },
  machine: { type: "string" },
  seeds: { type: "string" },
  for: { type: "string" },
  show: { type: "boolean" },
  save: { type: "string" },
  failures: { type: "string" },
  coverage: { type: "boolean" },
  nats: { type: "string" },
  bucket: { type: "string" },
  app: { type: "string" },
  domain: { type: "string" },
  "inbox-prefix": { type: "string" },
  monitor: { type: "string" },
  role: { type: "string" },
  from: { type: "string" },
  fork: { type: "string" },
  fault: { type: "string" },
  watch: { type: "boolean" },
  replaces: { type: "string" },
  raft: { type: "string" },
  all: { type: "boolean" },
  reason: { type: "string" },
} as const;

export type OptionName = keyof typeof options;

/** Those that every command takes. */
export const commonOptions: readonly OptionName[] = [
  ["data", "json", "help"] as const,
  ["nats", "bucket", "app", "domain", "inbox-prefix"] as const,
].flat();

export type OptionValues = {
  readonly data?: string;
  readonly state?: string;
  readonly tag?: string;
  readonly status?: string;
  readonly limit?: string;
  readonly key?: string;
  readonly accept?: boolean;
  readonly discard?: boolean;
  readonly machine?: string;
  readonly seeds?: string;
  readonly for?: string;
  readonly show?: boolean;
  readonly save?: string;
  readonly failures?: string;
  readonly coverage?: boolean;
  readonly nats?: string;
  readonly bucket?: string;
  readonly app?: string;
  readonly domain?: string;
  readonly "inbox-prefix"?: string;
  readonly monitor?: string;
  readonly role?: string;
  readonly from?: string;
  readonly fork?: string;
  readonly fault?: string;
  readonly watch?: boolean;
  readonly replaces?: string;
  readonly raft?: string;
  readonly all?: boolean;
  readonly reason?: string;
};

export type Call = {
  /** What stands after the command's name. */
  readonly args: readonly string[];
  readonly options: OptionValues;
  readonly directory: string;
  /** Whether the store is a bucket on NATS: the directory is nothing then. Throws UsageError where it may be either. */
  readonly isOnNats: () => boolean;
  /**
   * Finds the host or, when none runs, opens the directory for reading; on NATS, opens the bucket. Closed by the caller
   * of `run`.
   */
  readonly session: () => Promise<Session>;
  /** A connection to NATS, for commands that are about nothing else. Closed by the caller of `run`. */
  readonly nats: () => Promise<NatsLink>;
  readonly clock: Clock;
  /** A line about what is going on, for people: nothing with `--json`. */
  readonly progress: (line: string) => void;
  /** Shows it, and again every second, until the terminal wants no more. */
  readonly watch: (show: () => Promise<Shown>) => Promise<void>;
};

/** One answer in both forms: `json` for `--json`, `text` for people, with `notes` beside it. */
export type Shown = {
  readonly json: unknown;
  readonly text: string;
  readonly notes?: readonly string[];
  /** Default: 0. */
  readonly exitCode?: number;
};

export type Command = {
  /** "get <type> <id>" */
  readonly usage: string;
  readonly summary: string;
  readonly options: readonly OptionName[];
  /** More lines for `holdfast help <command>`. */
  readonly details?: string;
  run(call: Call): Promise<Shown>;
};

/** The command was called in a way that it cannot be: exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** Something was found and can be shown, and yet the command failed. `text` goes to the output for people. */
export class ShownFailure extends Error {
  override readonly name = "ShownFailure";
  readonly code: string;
  readonly text: string;
  /** For `--json`, on the output as well. */
  readonly json: unknown;

  constructor(code: string, message: string, text: string, json?: unknown) {
    super(message);
    this.code = code;
    this.text = text;
    this.json = json;
  }
}

/** An actor named as `<type> <id>` or `<type>.<id>`, and what stands after it. A type has no dot, so both are clear. */
export function actorIn(args: readonly string[]): {
  readonly type: string;
  readonly id: string;
  readonly rest: readonly string[];
} {
  const [first, second] = args;
  if (first === undefined) throw new UsageError("it needs an actor: <type> <id>, or <type>.<id>");
  const dot = first.indexOf(".");
  if (dot > 0) return { type: first.slice(0, dot), id: first.slice(dot + 1), rest: args.slice(1) };
  if (second === undefined) throw new UsageError(`it needs an id of the type "${first}": <type> <id>, or <type>.<id>`);
  return { type: first, id: second, rest: args.slice(2) };
}

export function nothingMore(rest: readonly string[]): void {
  if (rest.length > 0)
    throw new UsageError(`it takes no more arguments: ${rest.map((text) => JSON.stringify(text)).join(" ")}`);
}

export function jsonIn(text: string, what: string, example: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new UsageError(`the ${what} is not JSON (${(error as Error).message}); write it like '${example}'`);
  }
}

export function limitIn(given: string | undefined): number | undefined {
  if (given === undefined) return undefined;
  const limit = Number(given);
  if (!Number.isSafeInteger(limit) || limit < 1)
    throw new UsageError(`--limit is ${JSON.stringify(given)}; it must be 1 or more`);
  return limit;
}

const statuses: readonly DocumentStatus[] = ["active", "done", "error", "stopped", "deleted"];

export function statusIn(given: string | undefined): DocumentStatus | undefined {
  const status = statuses.find((known) => known === given);
  if (given !== undefined && status === undefined) {
    throw new UsageError(`--status is ${JSON.stringify(given)}; it must be one of ${statuses.join(", ")}`);
  }
  return status;
}
