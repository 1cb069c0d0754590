/**
 * Model and real server, side by side: the same random operations, each answer compared. An episode is one stream of a
 * random configuration; a disagreement ends its episode, since from there on the two hold different things.
 */
import { Buffer } from "node:buffer";
import { bytesOf, type Fields, fieldOf, textOf, type WireMessage } from "../models/jetstream/wire.ts";
import { type Dice, DiceTable } from "../world/dice.ts";
import type { Party, Question } from "./exchange.ts";
import {
  type Abilities,
  type Episode,
  type Known,
  newEpisode,
  nextOperation,
  type Operation,
  shortLived,
  watchOperation,
} from "./nats-operations.ts";

export type Disagreement = {
  readonly episode: number;
  readonly operation: number;
  readonly name: string;
  readonly asked: unknown;
  readonly config: unknown;
  readonly real: unknown;
  readonly model: unknown;
  /** What both hold afterwards. */
  readonly held?: unknown;
  /** How often the stream got a leader. */
  readonly elections?: number;
};

export type DifferentialOptions = {
  readonly operations: number;
  readonly seed: string;
  readonly abilities: Abilities;
  /** Every so many episodes one waits for messages to outlive their time, and one restarts the server. */
  readonly slowEvery: number;
  readonly maxDisagreements: number;
};

export type DifferentialResult = {
  readonly operations: number;
  readonly byKind: ReadonlyMap<string, number>;
  readonly disagreements: readonly Disagreement[];
  /** Episodes that ended because the stream got another leader on the way. */
  readonly interrupted: number;
};

const episodeLength = 250;

export async function compareWithNats(
  real: Party,
  model: Party,
  options: DifferentialOptions,
): Promise<DifferentialResult> {
  const table = new DiceTable(options.seed);
  const byKind = new Map<string, number>();
  const disagreements: Disagreement[] = [];
  let operations = 0;
  let interrupted = 0;
  for (let number = 1; operations < options.operations; number++) {
    const dice = table.at(`episode ${number}`);
    const isSlow = number % options.slowEvery === 0;
    const withTtl = options.abilities.level >= 1 && (isSlow || dice.chance(0.2));
    const episode = newEpisode(number, dice, options.abilities, withTtl, isSlow);
    const length = Math.min(episodeLength, options.operations - operations);
    const found = await runEpisode(real, model, { episode, number, dice, length, isSlow, options }, (name) => {
      operations++;
      byKind.set(name, (byKind.get(name) ?? 0) + 1);
    });
    // What a new leader answers meanwhile is not in the model's order: see docs/differential.md.
    if ((found?.elections ?? 0) > 1) interrupted++;
    else if (found !== undefined) disagreements.push(found);
    if (disagreements.length >= options.maxDisagreements) break;
  }
  return { operations, byKind, disagreements, interrupted };
}

/** Operations that any replica may answer, from what it has. */
const answeredByAny: ReadonlySet<string> = new Set(["direct read", "direct read of many", "stream again"]);

type Running = {
  readonly episode: Episode;
  readonly number: number;
  readonly dice: Dice;
  readonly length: number;
  readonly isSlow: boolean;
  readonly options: DifferentialOptions;
};

async function runEpisode(
  real: Party,
  model: Party,
  { episode, number, dice, length, isSlow, options }: Running,
  count: (name: string) => void,
): Promise<Disagreement | undefined> {
  const known: Known = { lastSeq: 0, lastOf: new Map(), ids: [] };
  const create = `STREAM.CREATE.${episode.stream}`;
  let done = 0;
  const both = async ({ name, question }: Operation): Promise<Disagreement | undefined> => {
    count(name);
    done++;
    if (answeredByAny.has(name)) await real.agree(episode.stream);
    const isOfOneReplica = name === "stream again" && options.abilities.servers > 1;
    const compared = (message: WireMessage) => canonical(message, isOfOneReplica ? ignoredOfOneReplica : ignoredKeys);
    const ofModel = (await model.ask(question)).map(compared);
    const ofReal = (await real.ask(question)).map(compared);
    learn(question, ofModel, known);
    if (JSON.stringify(ofReal) === JSON.stringify(ofModel)) return undefined;
    const asked = question.messages.map(({ subject, fields, data }) => ({
      subject,
      fields: fields.map(([field, value]) => [field, value.slice(0, 80)]),
      data: textOf(data).slice(0, 200),
    }));
    return { episode: number, operation: done, name, asked, config: episode.config, real: ofReal, model: ofModel };
  };
  const plain = (name: string, call: string, body: object): Operation => ({
    name,
    question: {
      messages: [{ subject: `$JS.API.${call}`, fields: [], data: Buffer.from(JSON.stringify(body)) }],
      answers: "one",
    },
  });
  const look = plain("info", `STREAM.INFO.${episode.stream}`, { subjects_filter: ">" });
  let found = await both(plain("stream", create, episode.config));
  await knock(real, episode);
  while (found === undefined && done < length) {
    if (dice.chance(0.02)) found = await watch(real, model, episode, dice, known, ++done, count);
    else found = await both(nextOperation(episode, dice, known, options.abilities, isSlow));
    if (found === undefined && isSlow && done === Math.floor(length / 2)) {
      for (const party of [real, model]) await party.restart();
      found = await both(look);
    }
  }
  if (found === undefined && isSlow && episode.config.allow_msg_ttl === true) {
    for (let count = 0; count < 5; count++) found ??= await both(shortLived(episode, dice));
    for (const party of [real, model]) await party.pass(3_500);
    found ??= await both(look);
  }
  if (found !== undefined) {
    const look = plain("info", `STREAM.INFO.${episode.stream}`, { subjects_filter: ">" }).question;
    const held = await Promise.all(
      [real, model].map(async (party) => (await party.ask(look)).map((message) => canonical(message))),
    );
    const isReplicated = options.abilities.servers > 1;
    found = { ...found, held, ...(isReplicated && { elections: await real.elections(episode.stream) }) };
  }
  await both(plain("stream delete", `STREAM.DELETE.${episode.stream}`, {}));
  return found;
}

/** A cluster answers that a stream is made before each of its servers knows where the stream's messages go. */
async function knock(real: Party, { bucket }: Episode): Promise<void> {
  const fields: Fields = [["Nats-Expected-Stream", "none"]];
  const question: Question = {
    messages: [{ subject: `$KV.${bucket}.a.1`, fields, data: bytesOf("") }],
    answers: "one",
  };
  for (let turn = 0; turn < 1_000; turn++) {
    if ((await real.ask(question))[0]?.status?.code !== 503) return;
    await real.pass(5);
  }
}

async function watch(
  real: Party,
  model: Party,
  episode: Episode,
  dice: Dice,
  known: Known,
  number: number,
  count: (name: string) => void,
): Promise<Disagreement | undefined> {
  const make = watchOperation(episode, dice, known, number);
  count("watch");
  await real.agree(episode.stream);
  const deliveries = (await model.ask(make(Number.MAX_SAFE_INTEGER).question)).map((message) => canonical(message));
  const { question } = make(deliveries.length);
  const ofReal = (await real.ask(question)).map((message) => canonical(message));
  if (JSON.stringify(ofReal) === JSON.stringify(deliveries)) return undefined;
  const asked = question.messages.map(({ subject, data }) => ({ subject, data: textOf(data) }));
  return {
    episode: number,
    operation: number,
    name: "watch",
    asked,
    config: episode.config,
    real: ofReal,
    model: deliveries,
  };
}

/** What the next operations go by: the last sequences, as acknowledgements and conflicts tell them. */
function learn(question: Question, answers: readonly unknown[], known: Known): void {
  const body = (answers[0] as { readonly json?: { seq?: number; count?: number; duplicate?: boolean } } | undefined)
    ?.json;
  const last = question.messages.at(-1);
  if (body?.seq === undefined || body.seq === 0 || body.duplicate === true || last === undefined) return;
  const size = body.count ?? 1;
  const stored = question.messages.slice(-size);
  for (const [index, { subject }] of stored.entries()) known.lastOf.set(subject, body.seq - size + 1 + index);
  known.lastSeq = Math.max(known.lastSeq, body.seq);
  if (fieldOf(last.fields, "Nats-Rollup") === "all") known.lastOf.clear();
}

/** Fields that name a moment, or are not the model's business. */
const ignoredFields = new Set(["Nats-Time-Stamp"]);
const ignoredKeys: ReadonlySet<string> = new Set([
  "type",
  "ts",
  "time",
  "created",
  "last_ts",
  "first_ts",
  "cluster",
  "did_create",
]);
/** Whoever answers that a stream is there already counts only the consumers that live on itself. */
const ignoredOfOneReplica: ReadonlySet<string> = new Set([...ignoredKeys, "consumer_count"]);
/** Of a configuration, what adapters compare. */
const comparedConfig = [
  ["name", "subjects", "max_msgs_per_subject", "max_msgs", "max_bytes", "max_age", "max_msg_size", "storage"],
  ["discard", "retention", "num_replicas", "allow_direct", "allow_rollup_hdrs", "deny_delete", "deny_purge"],
  ["duplicate_window", "sealed", "allow_atomic", "allow_msg_ttl", "subject_delete_marker_ttl"],
].flat();

/** An answer without what differs by nature: moments, and the order of the keys of an object. */
function canonical(
  { subject, fields, data, status, reply }: WireMessage,
  ignored: ReadonlySet<string> = ignoredKeys,
): unknown {
  const text = textOf(data);
  const json = parsed(text);
  const place = reply?.startsWith("$JS.ACK.") === true ? reply.split(".").filter((_, index) => index !== 7) : undefined;
  return {
    ...(place !== undefined && { place: place.join("."), subject }),
    ...(status !== undefined && { status: status.code }),
    fields: fields.filter(([name]) => !ignoredFields.has(name)).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)),
    ...(json === undefined ? { text } : { json: withoutMoments(json, ignored) }),
  };
}

function parsed(text: string): unknown {
  try {
    return text === "" ? undefined : (JSON.parse(text) as unknown);
  } catch {
    return undefined;
  }
}

function withoutMoments(value: unknown, ignored: ReadonlySet<string>): unknown {
  if (Array.isArray(value)) return value.map((inner) => withoutMoments(inner, ignored));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => !ignored.has(key))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => [key, key === "config" ? configOf(inner) : withoutMoments(inner, ignored)]),
  );
}

function configOf(config: unknown): unknown {
  const given = config as Readonly<Record<string, unknown>>;
  return Object.fromEntries(comparedConfig.map((name) => [name, given[name] ?? false]));
}
