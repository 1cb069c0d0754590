/**
 * The command line's questions over NATS: documents are read from the bucket, what changes an actor is asked of its owner
 * as any client asks it. Hosts nothing, holds no lease, writes nothing itself.
 */
import type { AnyActorLogic } from "xstate";
import { jetstream } from "../adapters/jetstream/index.ts";
import { SystemRandom } from "../adapters/system-random.ts";
import { ActorHandle, type ClientEnv, type SendResult } from "../client.ts";
import { ControlError } from "../control/errors.ts";
import { decoded, noJob } from "../control/host-verbs.ts";
import { parkedIn, readingVerbs } from "../control/reading-verbs.ts";
import { type AnswerOf, perform, type Verbs } from "../control/verbs.ts";
import { Deadlines } from "../deadlines.ts";
import { defineActor } from "../definition.ts";
import { NotFoundError, OutcomeUnknownError } from "../errors.ts";
import { partitionOf } from "../partition.ts";
import type { Clock } from "../ports/clock.ts";
import type { Logger } from "../ports/logger.ts";
import { jobType } from "../schedules.ts";
import { Sequences } from "../sequences.ts";
import { Watcher } from "../watcher.ts";
import { readLeases } from "./lease-entries.ts";
import type { NatsLink } from "./nats-target.ts";
import type { Session } from "./session.ts";

/** How long an owner is looked for, as long as `nats req` waits: longer than a takeover takes. */
const requestMs = 5_000;

/** What fails is told by the answer; there is nobody to read a log beside it. */
const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} };

/** The link stays the caller's to close. Rejects as opening a bucket does. */
export async function openNatsSession(link: NatsLink, clock: Clock): Promise<Session> {
  const { requests, api, target } = link;
  const random = new SystemRandom();
  const { bucket, app, domain, inboxPrefix } = target;
  const opened = await jetstream({
    connection: requests.connection,
    bucket,
    app,
    ...(domain !== undefined && { domain }),
    ...(inboxPrefix !== undefined && { inboxPrefix }),
  }).connect({ clock, random, logger: silent });
  const { store, bus, partitions } = opened;
  let isClosed = false;
  const env: ClientEnv = {
    store,
    clock,
    bus,
    host: undefined,
    telemetry: undefined,
    partitionOf: (key) => partitionOf(key, partitions),
    watcher: new Watcher(store),
    sequences: new Sequences(random),
    deadlines: new Deadlines(clock),
    requestTimeoutMs: requestMs,
    isStopped: () => isClosed,
  };
  const handle = (type: string, id: string) => new ActorHandle(env, defineActor(unknownLogic), type, id);
  const keyed = async (given: string | undefined, send: (key: string) => Promise<SendResult>): Promise<SendResult> => {
    // A key in any case: who does not learn the outcome can ask again.
    const key = given ?? `cli-${random.id()}`;
    try {
      return await send(key);
    } catch (error) {
      if (!(error instanceof OutcomeUnknownError)) throw error;
      throw new ControlError("OutcomeUnknown", `${error.message}; the key was: --key ${key}`, { cause: error });
    }
  };
  const notHere = (what: string) => async (): Promise<never> => {
    throw new ControlError("NotSupported", what);
  };
  const nodes = () =>
    readLeases(api, `${bucket}-leases`).then(
      (found) => found?.nodes,
      () => undefined, // not shown to every role
    );
  const reading = readingVerbs(store, () => parkedIn(store));
  const verbs: Verbs = {
    ...reading,
    async jobs(question) {
      const rows = await reading.jobs(question);
      const names = new Map(rows.length === 0 ? [] : (await nodes())?.map(({ session, node }) => [session, node]));
      return rows.map((row) => {
        const node = names.get(row.owner ?? "");
        return node === undefined ? row : { ...row, node };
      });
    },
    async info() {
      const { connection } = requests;
      return {
        nats: { server: connection.getServer(), version: connection.info?.version ?? "", bucket, app, partitions },
        nodes: (await nodes()) ?? null,
        store: store.info,
      };
    },
    send: ({ type, id, event, key: given }) =>
      keyed(given, (key) => handle(type, id).send(decoded(event, "event") as never, { key })),
    create: ({ type, id, input, key: given }) =>
      keyed(given, (key) =>
        handle(type, id).create(input === undefined ? undefined : (decoded(input, "input") as never), { key }),
      ),
    async resume({ type, id, mode }) {
      await handle(type, id).resume(mode);
      return { type, id };
    },
    async removeJob({ name }) {
      try {
        const { changed } = await handle(jobType, name).send({ type: "REMOVE" } as never);
        return { name, changed };
      } catch (error) {
        throw error instanceof NotFoundError ? noJob(name) : error;
      }
    },
    graph: notHere("a bucket does not hold machines: name the file with --machine"),
    backup: notHere(
      `a bucket is copied by the server: nats stream backup KV_${bucket} <dir> (of each shard, where there are several)`,
    ),
  };
  return {
    isHosted: true,
    // Permissions that are missing are named, and not waited for.
    ask: (verb, question) => api.naming(async () => (await perform(verbs, verb, question)) as AnswerOf<typeof verb>),
    async close() {
      isClosed = true;
      env.watcher.stop();
      env.deadlines.stop();
      await opened.close();
    },
  };
}

/** Stands for every machine: only its owner knows it. Nothing here runs it. */
const unknownLogic = {
  transition: (snapshot: unknown) => snapshot,
  getInitialSnapshot: () => ({}),
  getPersistedSnapshot: (snapshot: unknown) => snapshot,
} as unknown as AnyActorLogic;
