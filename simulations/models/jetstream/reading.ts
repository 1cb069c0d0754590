/** The two ways to read a message: from the leader, in JSON and base64, and directly, as a message. */
import { Buffer } from "node:buffer";
import type { ApiLevel } from "./config.ts";
import { apiErrors } from "./errors.ts";
import type { Stored, StreamModel } from "./stream.ts";
import { type Fields, headerBlock, instantOf, noBytes, type WireMessage } from "./wire.ts";

export type StoredAnswer = Omit<WireMessage, "subject">;

export function messageGet(model: StreamModel, ask: Readonly<Record<string, unknown>>): unknown {
  const stored = found(model, ask);
  if (stored === "bad") return { error: apiErrors.badRequest };
  if (stored === undefined) return { error: apiErrors.messageNotFound };
  const header = headerBlock(stored.fields);
  return {
    message: {
      subject: stored.subject,
      seq: stored.seq,
      ...(header !== "" && { hdrs: Buffer.from(header).toString("base64") }),
      ...(stored.data.length > 0 && { data: Buffer.from(stored.data).toString("base64") }),
      time: instantOf(stored.atMs),
    },
  };
}

function found(model: StreamModel, ask: Readonly<Record<string, unknown>>): Stored | undefined | "bad" {
  const {
    seq,
    last_by_subj: last,
    next_by_subj: next,
  } = ask as {
    seq?: number;
    last_by_subj?: string;
    next_by_subj?: string;
  };
  if (last !== undefined && (seq ?? 0) > 0) return "bad";
  if (last !== undefined && next !== undefined) return "bad";
  if (last !== undefined) return model.lastOf(last);
  if (next !== undefined) return model.nextOf([next], seq ?? 0);
  return (seq ?? 0) > 0 ? model.get(seq as number) : "bad";
}

/** `stale`: the messages that a replica which is behind still takes for the last ones. */
export function directGet(
  model: StreamModel,
  ask: Readonly<Record<string, unknown>>,
  level: ApiLevel,
  stale: ReadonlyMap<string, Stored> | undefined,
): readonly StoredAnswer[] {
  const multi = ask.multi_last as readonly string[] | undefined;
  if (multi !== undefined && level >= 1) return lastOfMany(model, multi, ask.up_to_seq as number | undefined);
  const stored = found(model, ask);
  if (stored === "bad") return [status(408, "Empty Request")];
  if (stored === undefined) return [status(404, "Message Not Found")];
  const old = typeof ask.last_by_subj === "string" ? stale?.get(stored.subject) : undefined;
  return [asMessage(model, old ?? stored, [])];
}

function lastOfMany(model: StreamModel, patterns: readonly string[], upTo: number | undefined): StoredAnswer[] {
  // A sequence that is not there yet finds nothing at all.
  const all = (upTo ?? 0) > model.lastSeq ? [] : model.lastOfEach(patterns, upTo);
  if (all.length > 1_024) return [status(413, "Too Many Results")];
  if (all.length === 0) return [status(404, "No Results")];
  const limit = upTo ?? model.lastSeq;
  const answers = all.map((stored, index) =>
    asMessage(model, stored, [
      ["Nats-Num-Pending", String(all.length - 1 - index)],
      ["Nats-Last-Sequence", String(all[index - 1]?.seq ?? 0)],
    ]),
  );
  const end: Fields = [
    ["Nats-Num-Pending", "0"],
    ["Nats-Last-Sequence", String(all.at(-1)?.seq ?? 0)],
    ["Nats-UpTo-Sequence", String(limit)],
  ];
  return [...answers, { status: { code: 204, text: "EOB" }, fields: end, data: noBytes }];
}

function asMessage(model: StreamModel, stored: Stored, more: Fields): StoredAnswer {
  const about: Fields = [
    ["Nats-Stream", model.settings.name],
    ["Nats-Subject", stored.subject],
    ["Nats-Sequence", String(stored.seq)],
    ["Nats-Time-Stamp", instantOf(stored.atMs)],
  ];
  return { fields: [...stored.fields, ...about, ...more], data: stored.data };
}

function status(code: number, text: string): StoredAnswer {
  return { status: { code, text }, fields: [], data: noBytes };
}
