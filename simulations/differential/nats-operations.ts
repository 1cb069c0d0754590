/**
 * Random operations on one stream, as data: every kind of message and call that the adapters make, and those around
 * them whose answers tell a model from a server. What an operation needs to know of the stream, it takes from answers.
 */

import { bytesOf, type Fields, type WireMessage } from "../models/jetstream/wire.ts";
import type { Dice } from "../world/dice.ts";
import type { Question } from "./exchange.ts";

export type Episode = {
  readonly stream: string;
  readonly bucket: string;
  readonly config: Readonly<Record<string, unknown>>;
};

/** What answers have told so far. */
export type Known = {
  lastSeq: number;
  readonly lastOf: Map<string, number>;
  readonly ids: string[];
};

export type Operation = { readonly name: string; readonly question: Question };

type Message = Omit<WireMessage, "reply" | "storedUnder">;

/** Which of a version's abilities an episode may use. */
export type Abilities = { readonly level: number; readonly servers: number };

export function newEpisode(
  number: number,
  dice: Dice,
  { level, servers }: Abilities,
  withTtl: boolean,
  isSlow: boolean,
): Episode {
  const bucket = `d${number}`;
  // Where the oldest goes first, a kill may cost more than what was under way; our buckets refuse what is new.
  const isNew = isSlow || dice.chance(0.75);
  const isLimited = dice.chance(0.2);
  return {
    stream: `KV_${bucket}`,
    bucket,
    config: {
      name: `KV_${bucket}`,
      subjects: [`$KV.${bucket}.>`],
      storage: "file",
      discard: isNew ? "new" : "old",
      max_msgs_per_subject: dice.pick([1, 1, 3, 10, 64]),
      num_replicas: servers,
      allow_direct: dice.chance(0.9),
      allow_rollup_hdrs: dice.chance(0.9),
      deny_delete: true,
      ...(isLimited && dice.chance(0.5) && { max_msgs: dice.whole(5, 40) }),
      ...(isLimited && dice.chance(0.5) && { max_bytes: dice.whole(1_000, 6_000) }),
      ...(dice.chance(0.3) && { max_msg_size: 400 }),
      ...(level >= 2 && dice.chance(0.8) && { allow_atomic: true }),
      ...(withTtl && { allow_msg_ttl: true, ...(dice.chance(0.7) && { subject_delete_marker_ttl: 120_000_000_000 }) }),
    },
  };
}

const kinds: readonly (readonly [weight: number, name: string, make: Make])[] = [
  [30, "cas", cas],
  [8, "put", (episode, dice) => one({ subject: key(episode, dice), fields: [], data: value(dice) })],
  [6, "message id", withId],
  [4, "expected stream", expectedStream],
  [4, "expected last sequence", expectedSequence],
  [3, "expected last id", expectedId],
  [4, "guard on another subject", guarded],
  [5, "delete marker", (episode, dice) => one({ ...empty(key(episode, dice)), fields: [["KV-Operation", "DEL"]] })],
  [6, "purge", rollup],
  [2, "large", (episode, dice) => one({ subject: key(episode, dice), fields: [], data: bytesOf("x".repeat(500)) })],
  [1, "headers too large", tooLarge],
  [2, "ttl", ttl],
  [10, "leader read", leaderRead],
  [8, "direct read", directRead],
  [3, "direct read of many", directMany],
  [5, "info", info],
  [8, "batch", batch],
  [1, "stream purge", streamPurge],
  [1, "message delete", (episode, dice) => call(`STREAM.MSG.DELETE.${episode.stream}`, { seq: dice.whole(1, 20) })],
  [
    1,
    "no such stream",
    (_, dice) => (dice.chance(0.5) ? call("STREAM.INFO.none", {}) : call("STREAM.MSG.GET.none", { seq: 1 })),
  ],
  [1, "nobody there", (_, dice) => one({ subject: `nobody.${dice.whole(1, 9)}`, fields: [], data: value(dice) })],
  [1, "stream again", again],
];

type Make = (episode: Episode, dice: Dice, known: Known, abilities: Abilities, staysPurged: boolean) => Question;

/** `staysPurged`: without calls that purge; what they remove may be back after a kill of the server. */
export function nextOperation(
  episode: Episode,
  dice: Dice,
  known: Known,
  abilities: Abilities,
  staysPurged: boolean,
): Operation {
  let roll = dice.whole(
    1,
    kinds.reduce((sum, [weight]) => sum + weight, 0),
  );
  for (const [weight, name, make] of kinds) {
    roll -= weight;
    if (roll > 0 || (staysPurged && (make === streamPurge || make === rollup))) continue;
    // Messages sent in one turn race with each other on replicas that know no batches.
    if (make === batch && abilities.level < 2 && abilities.servers > 1) continue;
    // From then on replicas of 2.15.1 answer nothing any more.
    if (make === expectedId && abilities.level >= 1 && abilities.servers > 1) continue;
    return { name, question: make(episode, dice, known, abilities, staysPurged) };
  }
  return nextOperation(episode, dice, known, abilities, staysPurged);
}

/** A watch: the consumer, and how many deliveries it will make (as the model says). */
export function watchOperation(
  episode: Episode,
  dice: Dice,
  known: Known,
  number: number,
): (count: number) => Operation {
  const on = `watch.${episode.bucket}.${number}`;
  const policy = dice.pick(["by_start_sequence", "by_start_sequence", "all", "last_per_subject"]);
  const start = policy === "by_start_sequence" ? { opt_start_seq: dice.whole(1, known.lastSeq + 1) } : {};
  const filter = dice.pick([
    { filter_subject: `$KV.${episode.bucket}.>` },
    { filter_subject: `$KV.${episode.bucket}.a.>` },
    { filter_subjects: [`$KV.${episode.bucket}.a.1`, `$KV.${episode.bucket}.b.>`] },
  ]);
  const config = {
    name: `w${number}`,
    deliver_subject: on,
    deliver_policy: policy,
    ...start,
    ...filter,
    ack_policy: "none",
    max_deliver: 1,
    headers_only: dice.chance(0.2),
    flow_control: true,
    idle_heartbeat: 5_000_000_000,
    inactive_threshold: 600_000_000_000,
    mem_storage: true,
    num_replicas: 1,
  };
  const ask = { stream_name: episode.stream, config };
  return (count) => ({
    name: "watch",
    question: {
      messages: [
        {
          subject: `$JS.API.CONSUMER.CREATE.${episode.stream}.w${number}`,
          fields: [],
          data: bytesOf(JSON.stringify(ask)),
        },
      ],
      answers: { deliveries: count, on },
    },
  });
}

/** What will be gone a second later. */
export function shortLived(episode: Episode, dice: Dice): Operation {
  const fields: Fields = [["Nats-TTL", dice.pick(["1s", "1"])]];
  return { name: "ttl", question: one({ subject: key(episode, dice), fields, data: value(dice) }) };
}

// ---- the kinds ----

function one(message: Message): Question {
  return { messages: [message], answers: "one" };
}

function call(name: string, body: object, answers: "one" | "list" = "one"): Question {
  return { messages: [{ subject: `$JS.API.${name}`, fields: [], data: bytesOf(JSON.stringify(body)) }], answers };
}

export function key(episode: Episode, dice: Dice): string {
  return `$KV.${episode.bucket}.${dice.pick(["a", "a", "b", "c"])}.${dice.whole(1, 3)}`;
}

function value(dice: Dice): Uint8Array {
  return bytesOf(dice.chance(0.1) ? "" : `{"n":${dice.whole(1, 1_000_000)}}`);
}

function empty(subject: string): Message {
  return { subject, fields: [], data: bytesOf("") };
}

/** The right one, none, an old one, or one that is not there yet. */
function expected(subject: string, dice: Dice, known: Known): string {
  const last = known.lastOf.get(subject) ?? 0;
  return String(dice.pick([last, last, last, 0, Math.max(0, last - 1), last + 1, known.lastSeq, 2 ** 52]));
}

function cas(episode: Episode, dice: Dice, known: Known): Question {
  const subject = key(episode, dice);
  const fields: Fields = [
    ["Nats-Expected-Last-Subject-Sequence", expected(subject, dice, known)],
    ["Holdfast-Commit", dice.id()],
  ];
  return one({ subject, fields, data: value(dice) });
}

function withId(episode: Episode, dice: Dice, known: Known): Question {
  const subject = key(episode, dice);
  const repeated = known.ids.length > 0 && dice.chance(0.5);
  const id = repeated ? dice.pick(known.ids) : dice.id();
  if (!repeated) known.ids.push(id);
  const guard: Fields = dice.chance(0.5)
    ? [["Nats-Expected-Last-Subject-Sequence", expected(subject, dice, known)]]
    : [];
  return one({ subject, fields: [["Nats-Msg-Id", id], ...guard], data: value(dice) });
}

function expectedStream(episode: Episode, dice: Dice): Question {
  const name = dice.pick([episode.stream, "KV_other"]);
  return one({ subject: key(episode, dice), fields: [["Nats-Expected-Stream", name]], data: value(dice) });
}

function expectedSequence(episode: Episode, dice: Dice, known: Known): Question {
  const sequence = String(dice.pick([known.lastSeq, known.lastSeq + 1, 0]));
  return one({ subject: key(episode, dice), fields: [["Nats-Expected-Last-Sequence", sequence]], data: value(dice) });
}

function expectedId(episode: Episode, dice: Dice, known: Known): Question {
  const id = dice.pick([...known.ids.slice(-2), "never"]);
  return one({ subject: key(episode, dice), fields: [["Nats-Expected-Last-Msg-Id", id]], data: value(dice) });
}

function guarded(episode: Episode, dice: Dice, known: Known): Question {
  const guard = key(episode, dice);
  const fields: Fields = [
    ["Nats-Expected-Last-Subject-Sequence", expected(guard, dice, known)],
    ["Nats-Expected-Last-Subject-Sequence-Subject", guard],
  ];
  return one({ subject: key(episode, dice), fields, data: value(dice) });
}

function rollup(episode: Episode, dice: Dice, known: Known, { level }: Abilities): Question {
  const subject = key(episode, dice);
  // 2.10 does not answer what is neither.
  const what = dice.pick(["sub", "sub", "sub", "sub", "all", level > 0 ? "other" : "sub"]);
  const guard: Fields = dice.chance(0.6)
    ? [["Nats-Expected-Last-Subject-Sequence", expected(subject, dice, known)]]
    : [];
  return one({ ...empty(subject), fields: [["KV-Operation", "PURGE"], ["Nats-Rollup", what], ...guard] });
}

function tooLarge(episode: Episode, dice: Dice): Question {
  return one({ subject: key(episode, dice), fields: [["X-Large", "x".repeat(66_000)]], data: value(dice) });
}

function ttl(episode: Episode, dice: Dice): Question {
  const time = dice.pick(["60s", "90", "never", "0", "100ms", "x", "1h", "2m"]);
  return one({ subject: key(episode, dice), fields: [["Nats-TTL", time]], data: value(dice) });
}

function leaderRead(episode: Episode, dice: Dice, known: Known): Question {
  const subject = dice.chance(0.8) ? key(episode, dice) : `$KV.${episode.bucket}.${dice.pick(["a.>", ">", "a.*"])}`;
  const seq = dice.whole(0, known.lastSeq + 2);
  const ask = dice.pick<object>([
    { last_by_subj: subject },
    { last_by_subj: subject },
    { seq },
    { seq, next_by_subj: subject },
    { next_by_subj: subject },
    {},
  ]);
  return call(`STREAM.MSG.GET.${episode.stream}`, ask);
}

function directRead(episode: Episode, dice: Dice, known: Known): Question {
  const subject = key(episode, dice);
  if (dice.chance(0.5)) return one(empty(`$JS.API.DIRECT.GET.${episode.stream}.${subject}`));
  const seq = dice.whole(1, known.lastSeq + 2);
  const ask = dice.pick<object>([{ seq }, { last_by_subj: subject }, { seq, next_by_subj: subject }]);
  return call(`DIRECT.GET.${episode.stream}`, ask);
}

function directMany(episode: Episode, dice: Dice, known: Known, { level }: Abilities): Question {
  if (level < 1 || episode.config.allow_direct !== true) return directRead(episode, dice, known);
  const patterns = dice.pick([[`$KV.${episode.bucket}.>`], [key(episode, dice), `$KV.${episode.bucket}.b.*`]]);
  const upTo = dice.chance(0.4) ? { up_to_seq: dice.whole(1, known.lastSeq + 1) } : {};
  return call(`DIRECT.GET.${episode.stream}`, { multi_last: patterns, ...upTo }, "list");
}

function info(episode: Episode, dice: Dice): Question {
  const filter = dice.pick([`$KV.${episode.bucket}.>`, `$KV.${episode.bucket}.a.>`, key(episode, dice)]);
  const ask = dice.chance(0.7) ? { subjects_filter: filter, offset: dice.pick([0, 0, 2]) } : {};
  return call(`STREAM.INFO.${episode.stream}`, ask);
}

function batch(episode: Episode, dice: Dice, known: Known, _: Abilities, staysPurged: boolean): Question {
  const size = dice.whole(1, 5);
  const id = dice.id();
  const gap = dice.chance(0.08) ? dice.whole(1, size) : 0;
  const repeated = dice.id();
  const messages = Array.from({ length: size }, (_, index): Message => {
    const subject = key(episode, dice);
    const right = String(known.lastOf.get(subject) ?? 0);
    const guard: Fields = dice.chance(0.7)
      ? [["Nats-Expected-Last-Subject-Sequence", dice.chance(0.85) ? right : expected(subject, dice, known)]]
      : [];
    const messageId: Fields = dice.chance(0.05) ? [["Nats-Msg-Id", repeated]] : [];
    const purge: Fields =
      !staysPurged && dice.chance(0.06)
        ? [
            ["KV-Operation", "PURGE"],
            ["Nats-Rollup", "sub"],
          ]
        : [];
    const sequence = index + 1 >= gap && gap > 0 ? index + 2 : index + 1;
    const commit: Fields = index === size - 1 ? [["Nats-Batch-Commit", "1"]] : [];
    const place: Fields = [["Nats-Batch-Id", id], ["Nats-Batch-Sequence", String(sequence)], ...commit];
    return { subject, fields: [...guard, ...place, ...messageId, ...purge], data: value(dice) };
  });
  return { messages, answers: "one" };
}

function streamPurge(episode: Episode, dice: Dice, known: Known): Question {
  const ask = dice.pick<object>([
    { filter: key(episode, dice) },
    { filter: `$KV.${episode.bucket}.a.>`, keep: 1 },
    { filter: `$KV.${episode.bucket}.b.>`, seq: dice.whole(1, known.lastSeq + 1) },
  ]);
  return call(`STREAM.PURGE.${episode.stream}`, ask);
}

function again(episode: Episode, dice: Dice): Question {
  const changed = dice.pick<object>([{}, { max_msgs_per_subject: 7 }, { name: "other" }]);
  const config = { ...episode.config, ...changed } as { name: string };
  return call(`STREAM.CREATE.${config.name}`, config);
}
