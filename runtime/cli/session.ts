/**
 * Whom the command line asks: the host of the directory over its socket or, only when no host runs, the directory
 * itself, opened for reading. Never raises the epoch, and never writes beside a host.
 */
import { resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { EmbeddedStore, StoreInUse } from "../adapters/embedded/index.ts";
import { ControlClient } from "../control/client.ts";
import { ControlError } from "../control/errors.ts";
import { parkedIn, readingVerbs } from "../control/reading-verbs.ts";
import { type AnswerOf, perform, type QuestionOf, type VerbName, type Verbs } from "../control/verbs.ts";

export type Session = {
  readonly isHosted: boolean;
  ask<TVerb extends VerbName>(verb: TVerb, question: QuestionOf<TVerb>): Promise<AnswerOf<TVerb>>;
  close(): Promise<void>;
};

/** A host that has just opened its store listens a moment later. */
const hostAppearsWithinMs = 2_000;
const lookAgainMs = 50;

const answerMs = 60_000;
/** A copy of a large store takes its time; the host ends it at the latest when it stops. */
const backupMs = 24 * 3_600_000;

export async function openSession(directory: string): Promise<Session> {
  const untilMs = Date.now() + hostAppearsWithinMs;
  for (;;) {
    const client = await ControlClient.connect(directory);
    if (client !== undefined) return hostedSession(client);
    try {
      return directSession(directory, await EmbeddedStore.open(directory, { readOnly: true }));
    } catch (error) {
      if (!(error instanceof StoreInUse)) throw error;
      if (Date.now() >= untilMs) {
        const why = "it is starting or stopping, or was started with `control: false`";
        throw new ControlError(
          "NoAnswer",
          `process ${error.pid} hosts ${directory} but does not listen to the command line: ${why}`,
          { cause: error },
        );
      }
      await sleep(lookAgainMs);
    }
  }
}

const writing: ReadonlySet<VerbName> = new Set(["send", "create", "resume", "removeJob"] as const);

function hostedSession(client: ControlClient): Session {
  return {
    isHosted: true,
    async ask(verb, question) {
      try {
        return await client.ask(verb, question, verb === "backup" ? backupMs : answerMs);
      } catch (error) {
        if (!(error instanceof ControlError) || error.code !== "NoAnswer" || !writing.has(verb)) throw error;
        // R6: unknown is not failed.
        const advice =
          verb === "removeJob"
            ? "do it again, which changes nothing then"
            : "key" in question
              ? "send it again with the same --key"
              : "look at `holdfast history` before you send it again, or give it a --key";
        throw new ControlError("OutcomeUnknown", `${error.message}: it may have been done; ${advice}`, {
          cause: error,
        });
      }
    },
    close: async () => client.close(),
  };
}

function directSession(directory: string, store: EmbeddedStore): Session {
  const refuse = (verb: VerbName) => async (): Promise<never> => {
    const what =
      verb === "graph"
        ? "the machine of a type is known to its host; name the file with --machine, or start the host"
        : "only a running host does this: start the service that hosts it";
    throw new ControlError("NoHost", `no host runs ${directory}: ${what}`);
  };
  const verbs: Verbs = {
    ...readingVerbs(store, () => parkedIn(store)),
    info: async () => ({ directory: resolve(directory), host: null, store: store.info }),
    send: refuse("send"),
    create: refuse("create"),
    resume: refuse("resume"),
    removeJob: refuse("removeJob"),
    graph: refuse("graph"),
  };
  return {
    isHosted: false,
    ask: async (verb, question) => (await perform(verbs, verb, question)) as AnswerOf<typeof verb>,
    close: () => store.close(),
  };
}
