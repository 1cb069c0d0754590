/** Atomic batches: messages collected until the last one commits them, then judged together and stored together. */
import type { StreamSettings } from "./config.ts";
import { type ApiError, apiErrors } from "./errors.ts";
import { names, type Published, type StreamModel, type UnderWay } from "./stream.ts";
import { type Fields, fieldOf } from "./wire.ts";

export type Batch = { readonly messages: Published[] };

export type BatchPlace = {
  readonly id: string;
  readonly sequence: number | undefined;
  readonly commits: boolean;
};

export type Taken =
  | { readonly kind: "refused"; readonly error: ApiError }
  | { readonly kind: "waiting" }
  /** Dropped without an answer. */
  | { readonly kind: "whole"; readonly messages: readonly Published[] };

const mostMessages = 1_000;
const longestId = 64;

/** Where a message stands in a batch; undefined: in none. */
export function batchIn(fields: Fields): BatchPlace | undefined {
  const id = fieldOf(fields, "Nats-Batch-Id");
  if (id === undefined || id === "") return undefined;
  const sequence = fieldOf(fields, "Nats-Batch-Sequence");
  return {
    id,
    sequence: sequence !== undefined && /^\d+$/.test(sequence) ? Number(sequence) : undefined,
    commits: fieldOf(fields, "Nats-Batch-Commit") === "1",
  };
}

export function takeIntoBatch(
  batches: Map<string, Batch>,
  settings: StreamSettings,
  place: BatchPlace,
  message: Published,
): Taken {
  const refuse = (error: ApiError): Taken => {
    batches.delete(place.id);
    return { kind: "refused", error };
  };
  if (settings.allow_atomic !== true) return refuse(apiErrors.batchDisabled);
  if (place.id.length > longestId) return refuse(apiErrors.batchIdInvalid);
  if (place.sequence === undefined) return refuse(apiErrors.batchSequenceMissing);
  const batch = place.sequence === 1 ? { messages: [] } : batches.get(place.id);
  if (batch === undefined || batch.messages.length !== place.sequence - 1) return refuse(apiErrors.batchIncomplete);
  if (place.sequence > mostMessages) return refuse(apiErrors.batchTooLarge(mostMessages));
  batches.set(place.id, batch);
  batch.messages.push({ subject: message.subject, fields: message.fields, data: message.data });
  if (!place.commits) return { kind: "waiting" };
  batches.delete(place.id);
  return { kind: "whole", messages: batch.messages };
}

type Judged =
  | { readonly kind: "store"; readonly messages: readonly Published[] }
  | { readonly kind: "refused"; readonly error: ApiError };

/** Each message is judged as if those before it were on their way; the first refusal is that of the batch. */
export function judgeBatch(
  model: StreamModel,
  messages: readonly Published[],
  underWay: UnderWay,
  nowMs: number,
  roomBytes: number,
): Judged {
  const subjects = new Set(underWay.subjects);
  const ids = new Set(underWay.ids);
  for (const [index, message] of messages.entries()) {
    const { subject, fields } = message;
    const id = fieldOf(fields, names.messageId);
    if (id !== undefined && ids.has(id)) return { kind: "refused", error: apiErrors.batchDuplicate };
    const before = { subjects, ids: underWay.ids, checked: underWay.checked, messages: messages.slice(0, index) };
    const verdict = model.judge(message, before, nowMs, roomBytes);
    if (verdict.kind === "duplicate") return { kind: "refused", error: apiErrors.batchDuplicate };
    if (verdict.kind === "refused") return verdict;
    if (fieldOf(fields, names.rollup) !== undefined && subjects.has(subject))
      return { kind: "refused", error: apiErrors.rollupFailed("batch rollup sub invalid") };
    subjects.add(subject);
    if (id !== undefined) ids.add(id);
  }
  return { kind: "store", messages };
}
