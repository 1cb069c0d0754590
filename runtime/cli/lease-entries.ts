/** Who is alive and who owns what, read from the lease bucket as it stands. Nothing is written, and no session opened. */
import { epochKey } from "../../coordinator/lease/epoch.ts";
import { leaseName } from "../../coordinator/placement/partition-leases.ts";
import type { Api, StoredMessage } from "../adapters/jetstream/api.ts";
import { entryOf, rawOf, subjectOf } from "../adapters/jetstream/entry.ts";
import { JetStreamOff } from "../adapters/jetstream/errors.ts";
import { streamOf } from "../adapters/jetstream/setup.ts";
import { ControlError } from "../control/errors.ts";
import type { NodeRow } from "../control/verbs.ts";
import type { NatsLink } from "./nats-target.ts";

export type LeaseRow = {
  readonly lease: string;
  /** The lower part of tokens granted with it. */
  readonly index: number;
  readonly session: string;
  /** null: its session is gone, so the lease is free. */
  readonly node: string | null;
};

export type LeaseEntries = {
  readonly nodes: readonly NodeRow[];
  readonly leases: readonly LeaseRow[];
  /** Names of all leases that ever were, those that were given back among them. */
  readonly names: readonly string[];
};

type Found = {
  readonly key: string;
  readonly message: StoredMessage;
  readonly value: Readonly<Record<string, unknown>>;
};

const sessionPrefix = "session.";
const leasePrefix = "lease.";
const readsAtATime = 32;

/** Under whose leases the actors of this bucket, or first shard, were run last. Undefined: nobody's, or not to be seen. */
export async function grantorOf(api: Api, bucket: string): Promise<string | undefined> {
  const message = await api.lastOf(streamOf(bucket), subjectOf(bucket, epochKey)).catch(() => undefined);
  if (message === undefined) return undefined;
  const { backend } = parsed(entryOf(rawOf(bucket, message))?.value ?? "") ?? {};
  return typeof backend === "string" ? backend : undefined;
}

/** What a bucket of leases does not know: its runtimes are members of a cluster of their own. */
export function isRaft(grantor: string | undefined): grantor is string {
  return grantor?.startsWith("raft:") === true;
}

/** As `leasesOf`, of the bucket alone: where a Raft cluster grants, what the bucket holds says nothing, and that is told. */
export async function leasesInUse(link: NatsLink): Promise<LeaseEntries> {
  const { api, target } = link;
  const grantor = (await grantorOf(api, target.bucket)) ?? (await grantorOf(api, `${target.bucket}-00`));
  if (!isRaft(grantor)) return leasesOf(link);
  throw new ControlError(
    "NotAllowed",
    `leases are granted by ${grantor}, not by a bucket: ask a member, with \`holdfast leases --data <its folder>\``,
  );
}

/** Rejects with ControlError where there are none, or none for this user to see. */
export async function leasesOf({ api, target }: NatsLink): Promise<LeaseEntries> {
  const bucket = `${target.bucket}-leases`;
  let found: LeaseEntries | undefined;
  try {
    found = await api.naming(() => readLeases(api, bucket));
  } catch (error) {
    // The account of the nodes does not export it, or JetStream is off: to whom is not told.
    if (!(error instanceof JetStreamOff) || target.domain === undefined) throw error;
    const message = `${bucket} is not shown to this user: ask as a node, in the account where the leases are`;
    throw new ControlError("NotAllowed", message, { cause: error });
  }
  if (found !== undefined) return found;
  throw new ControlError("BucketNotFound", `there is no bucket ${bucket} on this server: the first runtime makes it`);
}

/** Undefined: there is no lease bucket. Rejects as the API does. Costs a list of the keys and a read of each. */
export async function readLeases(api: Api, bucket: string): Promise<LeaseEntries | undefined> {
  const listed = await listKeys(api, bucket);
  if (listed === undefined) return undefined;
  const found = await readAll(api, bucket, listed.keys);
  const sessions = under(found, sessionPrefix);
  const leases = under(found, leasePrefix).map(([lease, { message, value }]): LeaseRow => {
    const session = String(value.session);
    const holder = sessions.find(([id]) => id === session)?.[1].value.node;
    return { lease, index: message.seq, session, node: holder === undefined ? null : String(holder) };
  });
  const nodes = sessions.map(([session, entry]) => nodeRow(session, entry, leases, listed.serverMs));
  return {
    nodes: nodes.sort((a, b) => order(a.node, b.node) || order(a.session, b.session)),
    leases: leases.sort((a, b) => order(a.lease, b.lease)),
    names: listed.keys.filter((key) => key.startsWith(leasePrefix)).map((key) => key.slice(leasePrefix.length)),
  };
}

/** Those that nobody who is alive holds. */
export function unownedOf({ leases }: LeaseEntries, partitions: number): number[] {
  const owned = new Set(leases.filter(({ node }) => node !== null).map(({ lease }) => lease));
  return Array.from({ length: partitions }, (_, partition) => partition).filter(
    (partition) => !owned.has(leaseName(partition)),
  );
}

/** The number of a partition's lease; undefined for a lease of somebody's own. */
export function partitionIn(lease: string): number | undefined {
  const number = Number(/\d+$/.exec(lease)?.[0]);
  return Number.isSafeInteger(number) && leaseName(number) === lease ? number : undefined;
}

function nodeRow(session: string, { message, value }: Found, leases: readonly LeaseRow[], serverMs: number): NodeRow {
  const { problem, draining, weight, zone } = (value.attributes ?? {}) as Readonly<Record<string, unknown>>;
  const held = leases.filter((lease) => lease.session === session).map(({ lease }) => partitionIn(lease));
  return {
    node: String(value.node),
    session,
    partitions: held.filter((partition) => partition !== undefined).sort((a, b) => a - b),
    silentMs: Math.max(0, Math.round(serverMs - Date.parse(message.time))),
    ttlMs: Number(value.ttlMs),
    isDraining: draining === true,
    ...(typeof weight === "number" && { weight }),
    ...(typeof zone === "string" && { zone }),
    ...(problem !== undefined && { problem: String(problem) }),
  };
}

async function listKeys(
  api: Api,
  bucket: string,
): Promise<{ readonly keys: readonly string[]; readonly serverMs: number } | undefined> {
  const prefix = subjectOf(bucket, "");
  const keys: string[] = [];
  for (;;) {
    const ask = { subjects_filter: `${prefix}>`, offset: keys.length };
    const info = await api.streamInfo(streamOf(bucket), ask);
    if (info === undefined) return undefined;
    const page = Object.keys(info.state.subjects ?? {}).map((subject) => subject.slice(prefix.length));
    keys.push(...page);
    if (page.length === 0 || keys.length >= (info.total ?? 0)) return { keys, serverMs: Date.parse(info.ts ?? "") };
  }
}

/** What is purged, or no JSON object, is left out. */
async function readAll(api: Api, bucket: string, keys: readonly string[]): Promise<Found[]> {
  const found: Found[] = [];
  for (let at = 0; at < keys.length; at += readsAtATime) {
    const some = keys.slice(at, at + readsAtATime);
    const messages = await Promise.all(some.map((key) => api.lastOf(streamOf(bucket), subjectOf(bucket, key))));
    messages.forEach((message, index) => {
      if (message === undefined) return;
      const value = parsed(entryOf(rawOf(bucket, message))?.value ?? "");
      if (value !== undefined) found.push({ key: some[index] as string, message, value });
    });
  }
  return found;
}

function under(found: readonly Found[], prefix: string): (readonly [name: string, entry: Found])[] {
  return found.filter(({ key }) => key.startsWith(prefix)).map((entry) => [entry.key.slice(prefix.length), entry]);
}

const collator = new Intl.Collator("en", { numeric: true });
const order = (a: string, b: string) => collator.compare(a, b);

function parsed(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
