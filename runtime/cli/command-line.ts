/**
 * The command line without its process: arguments in, text and an exit code out. 0 done, 1 refused or failed, 2 called
 * in a wrong way. With `--json` the output is one JSON value, and an error is one JSON value on the error output.
 */

import { existsSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { holdsStore } from "../adapters/embedded/index.ts";
import { SystemClock } from "../adapters/system-clock.ts";
import { codeOf } from "../control/errors.ts";
import type { Clock } from "../ports/clock.ts";
import { backup } from "./backup.ts";
import {
  type Call,
  type Command,
  commonOptions,
  type OptionName,
  options,
  type Shown,
  ShownFailure,
  UsageError,
} from "./command.ts";
import { create } from "./create.ts";
import { doctor } from "./doctor.ts";
import { get } from "./get.ts";
import { graph } from "./graph.ts";
import { history } from "./history.ts";
import { info } from "./info.ts";
import { jobs } from "./jobs.ts";
import { leases } from "./leases.ts";

import { ls } from "./ls.ts";
import { linkTo, type NatsLink, natsOptions, natsTarget } from "./nats-target.ts";
import { nodes } from "./nodes.ts";
import { parked } from "./parked.ts";
import { isMemberFolder, raft } from "./raft.ts";
import { replay } from "./replay.ts";
import { resume } from "./resume.ts";
import { send } from "./send.ts";
import { openSession, type Session } from "./session.ts";
import { simulate } from "./simulate.ts";

export type Terminal = {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Default: the system's. */
  readonly clock?: Clock;
  /** Between two showings of a watched list; false: no more. Default: a second, for ever. */
  readonly again?: () => Promise<boolean>;
};

const commands: Readonly<Record<string, Command>> = {
  ls,
  get,
  history,
  send,
  create,
  parked,
  jobs,
  resume,
  graph,
  replay,
  backup,
  info,
  simulate,
  nodes,
  leases,
  raft,
  doctor,
};

export async function runCommandLine(argv: readonly string[], terminal: Terminal): Promise<number> {
  // Also for a command line that cannot be read: who asked for JSON can read nothing else.
  const isJson = argv.slice(0, endOf(argv)).includes("--json");
  try {
    const shown = await run(argv, terminal);
    terminal.out(isJson ? `${JSON.stringify(shown.json)}\n` : shown.text);
    if (!isJson) for (const note of shown.notes ?? []) terminal.err(`${note}\n`);
    return shown.exitCode ?? 0;
  } catch (error) {
    return fail(error, isJson, terminal);
  }
}

async function run(argv: readonly string[], terminal: Terminal): Promise<Shown> {
  const { env, clock = new SystemClock() } = terminal;
  const { values, positionals } = parsed(argv);
  const [name, ...args] = positionals;
  if (name === undefined && values.version === true) return versionShown();
  if (name === undefined && values.help !== true) throw new UsageError(`it needs a command\n\n${overview()}`);
  if (name === undefined) return { json: helpJson(), text: overview() };
  if (name === "help") return helpFor(args[0]);
  const command = commandOf(name);
  if (values.help === true) return helpFor(name);
  for (const option of Object.keys(values) as OptionName[]) {
    if (![...commonOptions, ...command.options].includes(option)) throw inCommand(command, `it takes no --${option}`);
  }
  const options = values as Call["options"];
  const closing: (() => Promise<void>)[] = [];
  const closeAll = async () => {
    for (const close of closing.splice(0).reverse()) await close();
  };
  const nats = async () => {
    assertNoDirectory(name, values, env);
    const link = await linkTo(natsTarget(options), env, clock);
    closing.push(() => link.close());
    return link;
  };
  const watch = async (show: () => Promise<Shown>) => {
    const again = terminal.again ?? (() => sleep(1_000, true));
    do {
      const { json, text } = await show();
      // Home, and whatever stood there is cleared.
      terminal.out(values.json === true ? `${JSON.stringify(json)}\n` : `\u001b[H\u001b[2J${text}`);
      // Whoever hosts it may change in between.
      await closeAll();
    } while (await again());
  };
  try {
    const place = placeOf(values, env);
    const session = async () => {
      const opened = place.isOnNats() ? await onNats(await nats(), clock) : await openSession(place.directory);
      closing.push(() => opened.close());
      return opened;
    };
    const progress = (line: string) => {
      if (values.json !== true) terminal.err(`${line}\n`);
    };
    return await command.run({ args, options, ...place, session, nats, clock, progress, watch });
  } catch (error) {
    throw error instanceof UsageError ? inCommand(command, error.message) : error;
  } finally {
    await closeAll();
  }
}

/** Loaded when it is needed: the packages for NATS are optional. */
async function onNats(link: NatsLink, clock: Clock): Promise<Session> {
  const { openNatsSession } = await import("./nats-session.ts");
  return openNatsSession(link, clock);
}

/** The directory where nothing names another, and no NATS. */
const usualDirectory = "./data";

/** Where the store is: what is named decides, then what the environment says. Throws UsageError. */
function placeOf(
  values: { readonly data?: string; readonly [option: string]: unknown },
  env: Terminal["env"],
): Pick<Call, "isOnNats" | "directory"> {
  const named = natsOptions.find((option) => values[option] !== undefined);
  const given = values.data ?? (env.HOLDFAST_DATA || undefined);
  const directory = given ?? usualDirectory;
  if (directory === "") throw new UsageError("--data is empty");
  if (named !== undefined && values.data !== undefined)
    throw new UsageError(`choose --data or --${named}: a store is a directory, or a bucket on NATS`);
  const isOnNats = () => {
    if (named !== undefined || given !== undefined || !env.NATS_URL) return named !== undefined;
    const found = holdsStore(directory) ? "a store" : isMemberFolder(directory) ? "a member of Raft" : undefined;
    if (found === undefined) return true;
    throw new UsageError(
      `there is ${found} in ${directory}, and NATS_URL names a server: say which is meant, --data ${directory} or --nats "$NATS_URL"`,
    );
  };
  return { isOnNats, directory };
}

/** A command that speaks to NATS looks into no directory: what names one was meant for something else. */
function assertNoDirectory(
  command: string,
  values: { readonly data?: string; readonly [option: string]: unknown },
  env: Terminal["env"],
): void {
  if (natsOptions.some((option) => values[option] !== undefined)) return;
  const directory = values.data ?? (env.NATS_URL ? undefined : env.HOLDFAST_DATA);
  if (!directory) return;
  const given = values.data === undefined ? "HOLDFAST_DATA" : "--data";
  throw new UsageError(
    `${command} is about a bucket on NATS, and ${given} names the directory ${directory}: name the server with --nats${values.data === undefined ? " or NATS_URL" : ""}`,
  );
}

function parsed(argv: readonly string[]) {
  try {
    return parseArgs({ args: [...argv], options, allowPositionals: true, strict: true });
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
}

function commandOf(name: string): Command {
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command === undefined) throw new UsageError(`there is no command ${JSON.stringify(name)}; see \`holdfast help\``);
  return command;
}

function inCommand(command: Command, message: string): UsageError {
  return new UsageError(`${message}\nusage: holdfast ${command.usage}`);
}

function fail(error: unknown, isJson: boolean, { out, err }: Terminal): number {
  const code =
    error instanceof UsageError ? "Usage" : error instanceof ShownFailure ? error.code : (codeOf(error) ?? "Failed");
  const message = error instanceof Error ? error.message : String(error);
  if (isJson && error instanceof ShownFailure && error.json !== undefined) out(`${JSON.stringify(error.json)}\n`);
  if (isJson) err(`${JSON.stringify({ error: { code, message } })}\n`);
  else {
    if (error instanceof ShownFailure) out(error.text);
    err(`holdfast: ${message}\n`);
  }
  return code === "Usage" ? 2 : 1;
}

function endOf(argv: readonly string[]): number {
  const end = argv.indexOf("--");
  return end < 0 ? argv.length : end;
}

// ---- help ----

function overview(): string {
  const all = [...Object.values(commands), { usage: "help [command]", summary: "show this, or more of one command" }];
  const width = Math.max(...all.map(({ usage }) => usage.length));
  const lines = all.map(({ usage, summary }) => `  ${usage.padEnd(width)}  ${summary}\n`);
  return `usage: holdfast <command>

${lines.join("")}
  --data <dir>   the store's directory: ./data if not given, or what HOLDFAST_DATA says; nodes and doctor are about NATS only
  --nats <url>   the store is a bucket on NATS, several URLs of a cluster separated by commas; without it NATS_URL,
                 where no directory is given; refused where ./data holds a store too
                 Credentials: NATS_USER and NATS_PASSWORD, NATS_TOKEN, NATS_NKEY, NATS_CREDS
  --bucket <name>, --app <name>, --domain <name>, --inbox-prefix <subject>
                 as the runtime's options of these names; default: actors, the bucket's name, none, _INBOX
  --json         one JSON value on the output; an error is one on the error output
  --version      which release this is, and nothing else

An actor may be written as <type>.<id>, too. After -- nothing is an option: holdfast get order -- -5
Exit code: 0 done, 1 refused or failed, 2 called in a wrong way.
`;
}

function versionShown(): Shown {
  // The source is one folder nearer to it than what is built.
  const found = ["../../package.json", "../../../package.json"]
    .map((path) => new URL(path, import.meta.url))
    .find((url) => existsSync(url));
  if (found === undefined) throw new Error("the package.json of holdfast is not where it was installed");
  const { version } = JSON.parse(readFileSync(found, "utf8")) as { version: string };
  return { json: { version }, text: `${version}\n` };
}

function helpFor(name: string | undefined): Shown {
  if (name === undefined || name === "help") return { json: helpJson(), text: overview() };
  const { usage, summary, details } = commandOf(name);
  return {
    json: { usage, summary },
    text: `usage: holdfast ${usage}\n\n${summary}\n${details === undefined ? "" : `\n${details}\n`}`,
  };
}

function helpJson(): unknown {
  return Object.fromEntries(Object.entries(commands).map(([name, { usage, summary }]) => [name, { usage, summary }]));
}
