/**
 * What the command line can ask for, and what it gets: the same over the socket of a host and from a directory that no
 * host has open. Bytes from outside become a checked question in `perform`, and nowhere else. All values are JSON.
 */
import type { SendResult } from "../client.ts";
import type { DocumentStatus } from "../document.ts";
import type { HostInfo } from "../host/host.ts";
import type { ParkedRecord } from "../host/parking.ts";
import type { ActorName } from "../keys.ts";
import type { StoreInfo } from "../ports/store.ts";
import { ControlError } from "./errors.ts";
import type { JobRow } from "./job-rows.ts";

export type ListQuestion = {
  readonly type?: string;
  readonly state?: string;
  readonly tag?: string;
  readonly status?: DocumentStatus;
  /** Where an earlier answer stopped: its `next`. */
  readonly after?: string;
  /** Most rows of this answer: 1 to 1,000. */
  readonly limit?: number;
};

/** One actor in a list. Times are ISO 8601. */
export type ActorRow = ActorName & {
  readonly state: string;
  readonly status: DocumentStatus;
  readonly tags: readonly string[];
  readonly revision: number;
  readonly at: string | null;
  /** Effects and messages that are not done. */
  readonly pending: number;
  /** The earliest timer. */
  readonly nextTimer: string | null;
  /** Why it is set aside, if it is. */
  readonly parked?: string;
  /** Why its document cannot be read, if it cannot. */
  readonly problem?: string;
};

/**
 * `next`: there may be more; ask again `after` it. An answer may have no rows and still a `next`. `unknown`: what no machine
 * of the host has of what was asked for; null: it has all of it; left out: nobody here knows the machines.
 */
export type ListAnswer = {
  readonly actors: readonly ActorRow[];
  readonly next?: string;
  readonly unknown?: string | null;
};

/** One revision of a document, its text as it stands in the store, readable or not. */
export type StoredText = {
  readonly storeRevision: number;
  /** "hand": what a runtime wrote has another hash, or none. */
  readonly by: "runtime" | "hand";
  readonly text: string;
};

export type ParkedRow = ActorName &
  Omit<ParkedRecord, "actor" | "revision" | "token"> & { readonly storeRevision: number };

export type HostReport = HostInfo & { readonly pid: number; readonly types: readonly string[] };

export type DirectoryInfo = {
  readonly directory: string;
  /** null: none runs. */
  readonly host: HostReport | null;
  readonly store: StoreInfo;
};

/** A process that hosts actors of a bucket, by what it last said of itself. */
export type NodeRow = {
  readonly node: string;
  readonly session: string;
  readonly partitions: readonly number[];
  /** Since it last said that it is alive, by the server's clock; within `ttlMs` it has to. */
  readonly silentMs: number;
  readonly ttlMs: number;
  readonly isDraining: boolean;
  /** Its share beside the others, and where it stands, if it says so. */
  readonly weight?: number;
  readonly zone?: string;
  /** Why it takes no partitions. */
  readonly problem?: string;
};

export type BucketInfo = {
  readonly nats: {
    readonly server: string;
    readonly version: string;
    readonly bucket: string;
    readonly app: string;
    readonly partitions: number;
  };
  /** null: this user may not see them. */
  readonly nodes: readonly NodeRow[] | null;
  readonly store: StoreInfo;
};

export type InfoAnswer = DirectoryInfo | BucketInfo;

export type Verbs = {
  ls(question: ListQuestion): Promise<ListAnswer>;
  get(question: ActorName): Promise<StoredText & { readonly parked?: ParkedRow }>;
  /** Oldest first. */
  history(question: ActorName & { readonly limit?: number }): Promise<readonly StoredText[]>;
  parked(question: object): Promise<readonly ParkedRow[]>;
  jobs(question: object): Promise<readonly JobRow[]>;
  /** `changed`: it was there until now. */
  removeJob(question: { readonly name: string }): Promise<{ readonly name: string; readonly changed: boolean }>;
  info(question: object): Promise<InfoAnswer>;
  /** An absolute path: the host may work in another directory than the one who asks. */
  backup(question: { readonly directory: string }): Promise<{ readonly directory: string }>;
  /** Values are encoded: a date is `{"@date": "…"}`, as in documents. */
  send(question: ActorName & { readonly event: unknown; readonly key?: string }): Promise<SendResult>;
  create(question: ActorName & { readonly input?: unknown; readonly key?: string }): Promise<SendResult>;
  resume(question: ActorName & { readonly mode?: "retry" | "accept" | "discard" }): Promise<ActorName>;
  graph(question: {
    readonly type: string;
    readonly id?: string;
  }): Promise<{ readonly mermaid: string; readonly state?: string }>;
};

export type VerbName = keyof Verbs;
export type QuestionOf<TVerb extends VerbName> = Parameters<Verbs[TVerb]>[0];
export type AnswerOf<TVerb extends VerbName> =
  ReturnType<Verbs[TVerb]> extends Promise<infer TAnswer> ? TAnswer : never;

type Check = (value: unknown) => boolean;

const isText: Check = (value) => typeof value === "string";
const oneOf =
  (...texts: string[]): Check =>
  (value) =>
    texts.includes(value as string);
const isLimit: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) <= 1_000;
const isAnything: Check = () => true;

type Shape = { readonly needs: Readonly<Record<string, Check>>; readonly takes: Readonly<Record<string, Check>> };

const actor = { type: isText, id: isText };

const shapes: Readonly<Record<VerbName, Shape>> = {
  ls: {
    needs: {},
    takes: {
      type: isText,
      state: isText,
      tag: isText,
      status: oneOf("active", "done", "error", "stopped", "deleted"),
      after: isText,
      limit: isLimit,
    },
  },
  get: { needs: actor, takes: {} },
  history: { needs: actor, takes: { limit: isLimit } },
  parked: { needs: {}, takes: {} },
  jobs: { needs: {}, takes: {} },
  removeJob: { needs: { name: isText }, takes: {} },
  info: { needs: {}, takes: {} },
  backup: { needs: { directory: isText }, takes: {} },
  send: { needs: { ...actor, event: isAnything }, takes: { key: isText } },
  create: { needs: actor, takes: { input: isAnything, key: isText } },
  resume: { needs: actor, takes: { mode: oneOf("retry", "accept", "discard") } },
  graph: { needs: { type: isText }, takes: { id: isText } },
};

/** Checks a question and has it answered. Rejects with ControlError for what is not a question. */
export async function perform(verbs: Verbs, verb: unknown, question: unknown): Promise<unknown> {
  if (typeof verb !== "string" || !Object.hasOwn(shapes, verb)) {
    const known = Object.keys(shapes).join(", ");
    throw new ControlError(
      "UnknownVerb",
      `there is no verb ${JSON.stringify(verb ?? null).slice(0, 80)}; this host knows ${known}`,
    );
  }
  const name = verb as VerbName;
  const given = question ?? {};
  if (typeof given !== "object" || Array.isArray(given)) throw invalid(name, "its arguments must be an object");
  const { needs, takes } = shapes[name];
  for (const [field, value] of Object.entries(given)) {
    const check = Object.hasOwn(needs, field) ? needs[field] : Object.hasOwn(takes, field) ? takes[field] : undefined;
    if (check === undefined) throw invalid(name, `it takes no ${JSON.stringify(field.slice(0, 80))}`);
    if (!check(value)) throw invalid(name, `its ${field} is not usable: ${(JSON.stringify(value) ?? "").slice(0, 80)}`);
  }
  for (const field of Object.keys(needs)) if (!Object.hasOwn(given, field)) throw invalid(name, `it needs ${field}`);
  return (verbs[name] as (question: unknown) => Promise<unknown>)(given);
}

function invalid(verb: VerbName, what: string): ControlError {
  return new ControlError("InvalidRequest", `${verb}: ${what}`);
}
