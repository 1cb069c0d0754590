import { codeOf } from "../control/errors.ts";
import type { ParkReason } from "../host/parking.ts";
import { actorIn, type Call, type Command, limitIn, nothingMore, type Shown, UsageError } from "./command.ts";
import { clipped, readable } from "./readable.ts";
import type { Session } from "./session.ts";

const usualLimit = 1_000;
const progressEvery = 100;
const shownFailures = 20;

export const resume: Command = {
  usage: "resume <type> (<id> | --all [--reason r] [--limit n]) [--accept | --discard]",
  summary: "let a parked actor go on, or all of a type",
  options: ["all", "reason", "limit", "accept", "discard"],
  details: `--accept   takes what a person wrote as the document; after a person's deletion, the actor is gone
--discard  puts the last document that a runtime wrote back
Without either, it is tried as it is. If the reason is still there, the actor is parked again: that is told, with exit code 1, where it
shows at once, in half a second. Work that takes longer, and actions that are tried again later, show in \`holdfast parked\`.

--all      every parked actor of the type, one after the other; goes on when one fails or is parked again, and ends with exit code 1 then
--reason   only those that are parked for it: threw, action, missing, foreign, damaged or incompatible; with --accept and
           --discard it must be foreign or damaged
--limit    at most this many, 1,000 if not given`,

  async run(call) {
    const { args, options, session } = call;
    if (options.accept === true && options.discard === true)
      throw new UsageError("choose --accept or --discard, not both");
    const mode = options.accept === true ? "accept" : options.discard === true ? "discard" : "retry";
    if (options.all === true) return resumeAll(call, mode);
    if (options.reason !== undefined || options.limit !== undefined)
      throw new UsageError("--reason and --limit are of --all: an actor that is named is resumed whatever the reason");
    const { type, id, rest } = actorIn(args);
    nothingMore(rest);
    const { ask } = await session();
    await ask("resume", { type, id, mode });
    return {
      json: { type, id, mode },
      text: `resumed ${type}.${readable(id)}\n`,
    };
  },
};

type Mode = "retry" | "accept" | "discard";
type Failure = { readonly id: string; readonly code: string; readonly message: string };
type ParkedAgain = { readonly id: string; readonly reason: ParkReason; readonly message: string };

async function resumeAll({ args, options, session, progress }: Call, mode: Mode): Promise<Shown> {
  const [type, ...rest] = args;
  if (type === undefined) throw new UsageError("it needs the type whose parked actors are to go on");
  if (rest.length > 0) throw new UsageError("choose an id or --all, not both");
  const reason = reasonIn(options.reason);
  if (mode !== "retry" && reason !== "foreign" && reason !== "damaged")
    throw new UsageError(`--${mode} of all needs --reason foreign or --reason damaged`);
  const limit = limitIn(options.limit) ?? usualLimit;
  const { ask } = await session();
  const parked = async () => (await ask("parked", {})).filter((row) => row.type === type);
  const found = (await parked()).filter((row) => reason === undefined || row.reason === reason);
  const taken = found.slice(0, limit);
  const { resumed, failed } = await resumeEach(ask, taken, mode, progress);
  // Also those that were parked again only after they were answered for.
  const rows = resumed.size === 0 ? [] : await parked();
  const parkedAgain = rows
    .filter(({ id }) => resumed.has(id))
    .sort((a, b) => (a.id < b.id ? -1 : 1))
    .map(({ id, reason, message }): ParkedAgain => ({ id, reason, message }));
  const left = found.length - taken.length;
  const what = `${type}${reason === undefined ? "" : ` (${reason})`}`;
  const again = parkedAgain.length > 0 ? `; parked again: ${parkedAgain.length}` : "";
  const head =
    found.length === 0
      ? `nothing is parked of ${what}\n`
      : `resumed ${resumed.size - parkedAgain.length} of ${what}${again}\n`;
  const lines = [
    ...parkedAgain.map(
      ({ id, reason, message }) => `parked again: ${type}.${readable(id)}: ${reason}: ${shown(message)}\n`,
    ),
    ...failed.map(({ id, message }) => `not resumed: ${type}.${readable(id)}: ${shown(message)}\n`),
  ];
  const more =
    lines.length > shownFailures ? [`${lines.length - shownFailures} more did not go on: see \`holdfast parked\``] : [];
  return {
    json: {
      type,
      mode,
      ...(reason !== undefined && { reason }),
      resumed: resumed.size - parkedAgain.length,
      parkedAgain,
      failed,
      left,
    },
    text: head + lines.slice(0, shownFailures).join(""),
    notes: left > 0 ? [...more, `${left} more are parked: call it again, or give a higher --limit`] : more,
    exitCode: lines.length > 0 ? 1 : 0,
  };
}

function shown(message: string): string {
  return clipped(readable(message), 300);
}

/** One after the other, since each is waited for: a host that resumes many has its other work beside them. */
async function resumeEach(
  ask: Session["ask"],
  actors: readonly { readonly type: string; readonly id: string }[],
  mode: Mode,
  progress: Call["progress"],
): Promise<{ readonly resumed: ReadonlySet<string>; readonly failed: readonly Failure[] }> {
  const failed: Failure[] = [];
  const resumed = new Set<string>();
  for (const [index, { type, id }] of actors.entries()) {
    try {
      await ask("resume", { type, id, mode });
      resumed.add(id);
    } catch (error) {
      const code = codeOf(error);
      if (code === undefined || code === "NoHost") throw error;
      if (code === "Parked") resumed.add(id);
      // Somebody else has resumed it meanwhile.
      else if (code !== "NotFound") failed.push({ id, code, message: (error as Error).message });
    }
    const done = index + 1;
    if (done % progressEvery === 0 && done < actors.length) progress(`${done} of ${actors.length}`);
  }
  return { resumed, failed };
}

const reasons: Readonly<Record<ParkReason, true>> = {
  threw: true,
  action: true,
  missing: true,
  foreign: true,
  damaged: true,
  incompatible: true,
};

function reasonIn(given: string | undefined): ParkReason | undefined {
  if (given === undefined || Object.hasOwn(reasons, given)) return given as ParkReason | undefined;
  throw new UsageError(`--reason is ${JSON.stringify(given)}; it must be one of ${Object.keys(reasons).join(", ")}`);
}
