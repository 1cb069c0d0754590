/** A stream's configuration as a server takes it: defaults filled in, and what its version does not know left out. */
import { type ApiError, apiErrors } from "./errors.ts";
import { overlap } from "./wire.ts";

export type StreamSettings = {
  readonly name: string;
  readonly subjects: readonly string[];
  readonly retention: string;
  readonly max_consumers: number;
  readonly max_msgs: number;
  readonly max_bytes: number;
  readonly max_age: number;
  readonly max_msgs_per_subject: number;
  readonly max_msg_size: number;
  readonly discard: string;
  readonly storage: string;
  readonly num_replicas: number;
  readonly duplicate_window: number;
  readonly allow_direct: boolean;
  readonly allow_rollup_hdrs: boolean;
  readonly deny_delete: boolean;
  readonly deny_purge: boolean;
  readonly sealed: boolean;
  readonly description?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly sources?: readonly { readonly name: string }[];
  readonly allow_atomic?: boolean;
  readonly allow_msg_ttl?: boolean;
  /** Nanoseconds that a marker stays. */
  readonly subject_delete_marker_ttl?: number;
};

/** What a version of the server can: 2.10 is 0, 2.11 is 1, 2.12 is 2, 2.14 is 4, 2.15 is 5. */
export type ApiLevel = number;

const hour = 3_600_000_000_000;

/** A server drops what it does not know, without a word (reference: fact 4). */
const since: Readonly<Record<string, ApiLevel>> = {
  allow_msg_ttl: 1,
  subject_delete_marker_ttl: 1,
  allow_atomic: 2,
  allow_msg_counter: 2,
  allow_msg_schedules: 2,
  persist_mode: 2,
  allow_batched: 4,
};

export function settingsOf(given: Readonly<Record<string, unknown>>, level: ApiLevel): StreamSettings {
  const known = Object.fromEntries(
    Object.entries(given).filter(([name, value]) => (since[name] ?? 0) <= level && value !== undefined),
  ) as Partial<StreamSettings> & { readonly name: string };
  const maxAge = known.max_age ?? 0;
  const window = Math.min(2 * 60_000_000_000, maxAge > 0 ? maxAge : hour);
  return {
    retention: "limits",
    max_consumers: -1,
    discard: "old",
    storage: "file",
    allow_direct: false,
    allow_rollup_hdrs: false,
    deny_delete: false,
    deny_purge: false,
    sealed: false,
    ...known,
    // Markers are rollups.
    ...((known.subject_delete_marker_ttl ?? 0) > 0 && { allow_rollup_hdrs: true }),
    subjects: known.subjects ?? (known.sources === undefined ? [known.name] : []),
    max_age: maxAge,
    max_msgs: unlimited(known.max_msgs),
    max_bytes: unlimited(known.max_bytes),
    max_msg_size: unlimited(known.max_msg_size),
    max_msgs_per_subject: unlimited(known.max_msgs_per_subject),
    num_replicas: known.num_replicas ?? 1,
    duplicate_window: known.duplicate_window ?? window,
  };
}

function unlimited(value: number | undefined): number {
  return value === undefined || value === 0 ? -1 : value;
}

/** Why a server does not make this stream. */
export function refusalOf(
  settings: StreamSettings,
  others: readonly StreamSettings[],
  servers: number,
): ApiError | undefined {
  const same = others.find(({ name }) => name === settings.name);
  if (same !== undefined) return JSON.stringify(same) === JSON.stringify(settings) ? undefined : apiErrors.streamExists;
  if (settings.num_replicas > 1 && servers === 1) return apiErrors.replicasNotSupported;
  const taken = others.flatMap(({ subjects }) => subjects);
  if (settings.subjects.some((subject) => taken.some((other) => overlap(subject, other))))
    return apiErrors.streamOverlap;
  return undefined;
}
