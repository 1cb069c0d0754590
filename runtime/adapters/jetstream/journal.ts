/**
 * The journal: a stream beside the bucket that sources it, and so keeps the commits that the bucket forgets. It copies
 * after the fact: a bucket that forgets faster than the journal copies leaves a gap, which `history` shows as numbers
 * that are missing.
 */
import { type Api, errorCodes, type StreamInfo } from "./api.ts";
import { BucketDiffers, JetStreamOff, NoRoom, PermissionMissing, ServerFailed } from "./errors.ts";
import type { BucketSettings } from "./options.ts";
import { streamOf } from "./setup.ts";

export function journalName(bucket: string): string {
  return `${bucket}-journal`;
}

/** Makes the journal, or compares it with what was asked. Answers its stream; undefined: none is wanted. */
export async function prepareJournal(
  api: Api,
  settings: BucketSettings,
  buckets: readonly string[],
): Promise<string | undefined> {
  if (settings.journal === undefined) return journalOf(api, settings);
  const name = journalName(settings.bucket);
  const sources = buckets.map((bucket) => streamOf(bucket));
  const found = (await api.streamInfo(name)) ?? (await create(api, name, sources, settings));
  const has = (found.config.sources ?? []).map((source) => source.name).sort();
  if (JSON.stringify(has) !== JSON.stringify([...sources].sort())) {
    throw new BucketDiffers(name, [
      `it sources ${has.join(", ") || "nothing"}, not ${sources.join(", ")}: remove the stream, or choose another bucket`,
    ]);
  }
  return name;
}

/** The journal that stands beside the bucket, if there is one. */
async function journalOf(api: Api, settings: BucketSettings): Promise<string | undefined> {
  const name = journalName(settings.bucket);
  return (await api.streamInfo(name)) === undefined ? undefined : name;
}

/** The journal, for who may not see every stream: what does not answer to a reader is none, since the bucket did. */
export async function journalSeen(api: Api, settings: BucketSettings): Promise<string | undefined> {
  try {
    return await api.naming(() => journalOf(api, settings));
  } catch (error) {
    if (error instanceof PermissionMissing || error instanceof JetStreamOff) return undefined;
    throw error;
  }
}

async function create(
  api: Api,
  name: string,
  sources: readonly string[],
  settings: BucketSettings,
): Promise<StreamInfo> {
  try {
    return await api.createStream({
      name,
      description: `commits of the actors in ${settings.bucket}`,
      storage: "file",
      discard: "old",
      num_replicas: settings.replicas,
      max_age: (settings.journal?.maxAgeMs ?? 0) * 1_000_000,
      max_bytes: settings.journal?.maxBytes ?? -1,
      sources: sources.map((source) => ({ name: source })),
    });
  } catch (error) {
    if (error instanceof ServerFailed && error.errorCode === errorCodes.streamExists) {
      const info = await api.streamInfo(name);
      if (info !== undefined) return info;
    }
    if (error instanceof ServerFailed && error.errorCode !== 0)
      throw new NoRoom(`the journal ${name} cannot be made: ${error.message}`, { cause: error });
    throw error;
  }
}
