/**
 * Grades a deployment on NATS: facts in, findings and a verdict out, in the order in which one would look. Nothing is asked
 * of a server here. Start reading at `gradeDeployment`.
 */

import type { NodeRow } from "../control/verbs.ts";

export type Grade = "ok" | "warn" | "fail";

export type Finding = {
  readonly grade: Grade;
  readonly what: string;
  readonly why: string;
  /** What to type, or to write into the server's configuration. */
  readonly command?: string;
};

/** What an acknowledged event survives; "nothing" also where a runtime could not work at all. */
export type SafeFor = "nothing" | "process crash" | "replicated" | "power loss";

export type Verdict = { readonly safeFor: SafeFor; readonly text: string };

export type ServerFacts = {
  readonly name: string;
  readonly url: string;
  readonly version: string;
  /** Of JetStream's API; undefined before 2.11. */
  readonly apiLevel: number | undefined;
  readonly cluster: string | undefined;
  readonly maxPayloadBytes: number;
};

/** Where a stream lives. A server that is alone is its own leader. */
export type ReplicaFacts = {
  readonly leader: string | undefined;
  readonly followers: readonly { readonly name: string; readonly current: boolean; readonly offline: boolean }[];
};

export type StreamFacts = {
  readonly name: string;
  readonly storage: string;
  readonly discard: string;
  readonly replicas: number;
  readonly placed: ReplicaFacts;
  readonly messages: number;
  readonly bytes: number;
  readonly maxBytes: number;
  readonly maxMessages: number;
  readonly consumers: number;
  /** -1: whatever the server's default is. */
  readonly maxConsumers: number;
  readonly denyDelete: boolean;
  readonly allowAtomic: boolean;
};

export type BucketFacts = {
  readonly bucket: string;
  /** Undefined: there is no such bucket. */
  readonly stream: StreamFacts | undefined;
  /** Undefined: its metadata is not ours. */
  readonly partitions: number | undefined;
  /** Set where it holds what a runtime writes first, whatever its metadata says. */
  readonly runtimeKeys: RuntimeKeys | undefined;
  /** Each is `what: why`, with a command in backquotes where one helps. */
  readonly errors: readonly string[];
  readonly warnings: readonly string[];
};

/** The fixed numbers of a bucket as they can be told without its metadata. */
export type RuntimeKeys = {
  /** As many as were ever leased; undefined where the leases are not to be seen. */
  readonly partitions: number | undefined;
  readonly shards: number;
  readonly shard: number;
};

export type JournalFacts = {
  readonly name: string;
  readonly sources: readonly { readonly name: string; readonly lag: number }[];
  readonly isLimited: boolean;
};

export type AccountFacts = {
  readonly usedBytes: number;
  /** -1: no limit. */
  readonly maxBytes: number;
  readonly streams: number;
  readonly maxStreams: number;
  readonly consumers: number;
  readonly maxConsumers: number;
};

export type PermissionFacts = {
  readonly operation: "publish" | "subscribe";
  readonly subject: string;
  /** "see the bucket": what the role needs it for. */
  readonly use: string;
  /** "nobody": it may be published, and nobody is there to answer, as where an account does not import it. */
  readonly outcome: "allowed" | "denied" | "nobody";
};

/** One server's monitoring page. */
export type MonitorFacts =
  | { readonly url: string; readonly problem: string }
  | {
      readonly url: string;
      readonly server: string;
      readonly isSynced: boolean;
      readonly syncIntervalMs: number;
      readonly clusterSize: number | undefined;
      readonly defaultMaxConsumers: number | undefined;
      /** What this server keeps on its disk for all accounts, and may keep. */
      readonly usedBytes: number;
      readonly maxBytes: number;
    };

export type DeploymentFacts = {
  readonly server: ServerFacts;
  /** Why JetStream does not answer; undefined: it does. */
  readonly jetstreamProblem: string | undefined;
  readonly role: string;
  readonly permissions: readonly PermissionFacts[];
  readonly account: AccountFacts | undefined;
  /** One per shard. */
  readonly buckets: readonly BucketFacts[];
  /** Undefined: not to be seen by this role. */
  readonly leases: BucketFacts | undefined;
  readonly nodes: readonly NodeRow[];
  /** Partitions whose owner is gone, or that never had one. */
  readonly unowned: number;
  readonly journal: JournalFacts | undefined;
  /** How far this machine's clock is ahead of the server's. Undefined: it could not be measured. */
  readonly clock: { readonly offsetMs: number; readonly errorMs: number } | undefined;
  readonly roundTrip:
    | { readonly samples: number; readonly p50Ms: number; readonly p90Ms: number; readonly of: string }
    | undefined;
  readonly monitors: readonly MonitorFacts[];
};

export type Report = { readonly findings: readonly Finding[]; readonly verdict: Verdict };

export function gradeDeployment(facts: DeploymentFacts): Report {
  const findings = [
    ...gradeServer(facts.server),
    ...gradeJetStream(facts),
    ...gradePermissions(facts),
    ...facts.buckets.flatMap((bucket) => gradeBucket(bucket, "bucket")),
    ...(facts.leases === undefined ? [] : gradeLeaseBucket(facts.leases, facts)),
    ...gradeNodes(facts),
    ...gradeJournal(facts.journal),
    ...gradePlacement(facts),
    ...gradeSync(facts),
    ...gradeConsumers(facts),
    ...gradeAccount(facts),
    ...gradeServerRoom(facts),
    ...gradeClock(facts),
    ...gradeRoundTrip(facts.roundTrip),
    ...gradePayload(facts.server.maxPayloadBytes),
  ];
  return { findings, verdict: verdictOf(facts, findings) };
}

/** Of a server to which there is no way. */
export function gradeUnreachable(problem: string): Report {
  return {
    findings: [fail("server", problem)],
    verdict: { safeFor: "nothing", text: "not safe: there is no server to look at" },
  };
}

/** 0 nothing to do, 1 something to look at, 2 something that fails. */
export function exitCodeOf({ findings }: Report): 0 | 1 | 2 {
  if (findings.some(({ grade }) => grade === "fail")) return 2;
  return findings.some(({ grade }) => grade === "warn") ? 1 : 0;
}

const ok = (what: string, why: string): Finding => ({ grade: "ok", what, why });
const warn = (what: string, why: string, command?: string): Finding => ({ grade: "warn", what, why, ...said(command) });
const fail = (what: string, why: string, command?: string): Finding => ({ grade: "fail", what, why, ...said(command) });
const said = (command: string | undefined) => (command === undefined ? {} : { command });

type Version = readonly [major: number, minor: number, patch: number];

/** Oldest first: what servers before a version are known for. */
const knownBefore: readonly { readonly version: Version; readonly grade: "warn" | "fail"; readonly why: string }[] = [
  { version: [2, 10, 0], grade: "fail", why: "the oldest that is supported is 2.10" },
  {
    version: [2, 10, 23],
    grade: "fail",
    why: "servers before 2.10.23 can lose acknowledged writes when one is killed",
  },
  {
    version: [2, 14, 7],
    grade: "warn",
    why: "before 2.14.7, compaction ignored `sync_interval: always`, so that a power cut could take acknowledged writes",
  },
];

function gradeServer({ name, url, version, apiLevel, cluster }: ServerFacts): Finding[] {
  const what = `server ${name}`;
  const level = apiLevel === undefined ? "" : `, API level ${apiLevel}`;
  const where = `nats-server ${version}${level} at ${url}${cluster === undefined ? "" : `, in cluster ${cluster}`}`;
  const parsed = versionOf(version);
  if (parsed === undefined) return [warn(what, `${where}: its version cannot be read`)];
  const known = knownBefore.find((one) => isBefore(parsed, one.version));
  if (known === undefined) return [ok(what, where)];
  return [{ grade: known.grade, what, why: `${where}: ${known.why}`, command: "upgrade to nats-server 2.15 or newer" }];
}

function versionOf(text: string): Version | undefined {
  const found = /^(\d+)\.(\d+)\.(\d+)/.exec(text);
  return found === null ? undefined : [Number(found[1]), Number(found[2]), Number(found[3])];
}

function isBefore(a: Version, b: Version): boolean {
  for (const [at, part] of a.entries()) if (part !== b[at]) return part < (b[at] as number);
  return false;
}

function gradeJetStream({ jetstreamProblem, buckets }: DeploymentFacts): Finding[] {
  if (jetstreamProblem === undefined) return buckets.length === 0 ? [] : [ok("JetStream", "answers")];
  return [
    fail(
      "JetStream",
      jetstreamProblem,
      "jetstream { store_dir: … } in the server's configuration, and for the account",
    ),
  ];
}

function gradePermissions({ permissions, role, jetstreamProblem }: DeploymentFacts): Finding[] {
  const needs = `${role === "operator" ? "an" : "a"} ${role} needs it to`;
  const findings = permissions.flatMap(({ operation, subject, use, outcome }): Finding[] => {
    if (outcome === "denied")
      return [
        fail(
          `permission to ${operation}`,
          `${subject} is denied: ${needs} ${use}`,
          `permissions: { ${operation}: "${subject}" } in the server's configuration (docs/guides/accounts.md has them all)`,
        ),
      ];
    // JetStream that is off answers nothing either, and is spoken of already.
    if (outcome === "allowed" || jetstreamProblem !== undefined) return [];
    return [
      fail(
        "permission by import",
        `nobody answers on ${subject}: ${needs} ${use}`,
        `exports: { service: "${subject}" } in JetStream's account, and its import here (docs/guides/accounts.md)`,
      ),
    ];
  });
  if (findings.length > 0 || permissions.length === 0 || permissions.some(({ outcome }) => outcome !== "allowed"))
    return findings;
  return [ok("permissions", `all ${permissions.length} that the role ${role} needs`)];
}

function gradeBucket(facts: BucketFacts, kind: string): Finding[] {
  const { bucket, stream, partitions, runtimeKeys, errors, warnings } = facts;
  const what = `${kind} ${bucket}`;
  if (stream === undefined) return [warn(what, "is not there: the first runtime makes it")];
  if (partitions === undefined && runtimeKeys !== undefined) return [lostMetadata(what, stream, runtimeKeys)];
  const findings = [
    ...errors.map((line) => fromLine(what, line, "fail")),
    ...warnings.map((line) => fromLine(what, line, "warn")),
    ...gradeLimits(what, stream),
  ];
  if (!stream.denyDelete && errors.length === 0) {
    findings.push(
      warn(
        what,
        "deny_delete is off, as no runtime makes it: a revision can be taken out of the middle",
        `keep \`nats stream rmm ${stream.name}\` to yourself`,
      ),
    );
  }
  if (findings.length > 0) return findings;
  const known = partitions === undefined ? "" : `, ${partitions} partitions`;
  return [ok(what, `as a runtime makes it: ${stream.messages} entries, ${bytesText(stream.bytes)}${known}`)];
}

/** `nats kv edit` writes a configuration of its own: the metadata goes, history and replicas become 1 unless given. */
function lostMetadata(what: string, { name }: StreamFacts, { partitions, shards, shard }: RuntimeKeys): Finding {
  const numbers = Object.entries({ layout: 1, partitions: partitions ?? "<n>", shards, shard });
  const flags = numbers.map(([key, value]) => `--metadata=holdfast-${key}=${value}`).join(" ");
  const guess = partitions === undefined ? "; <n> is the `partitions` of your runtimes" : "";
  return fail(
    what,
    `a runtime wrote into it, but its metadata is gone, as \`nats kv edit\` leaves it: no runtime opens it so${guess}`,
    `nats stream edit ${name} -f ${flags}; then set --max-msgs-per-subject and --replicas to what they were`,
  );
}

/** `what: why; \`command\`` as the bucket's own comparison says it. */
function fromLine(what: string, line: string, grade: "warn" | "fail"): Finding {
  const command = /`([^`]+)`\s*$/.exec(line);
  if (command === null) return { grade, what, why: line };
  const why = line.slice(0, command.index).replace(/[;:,]?( give it)?\s*$/, "");
  return { grade, what, why, command: (command[1] as string).replace(/^(nats stream edit \S+)/, "$1 -f") };
}

/** A limit of the bucket's own, how near it is; under `discard: old` the server drops documents there. */
function gradeLimits(what: string, stream: StreamFacts): Finding[] {
  const limits = [
    { name: "max_bytes", flag: "max-bytes", used: stream.bytes, limit: stream.maxBytes },
    { name: "max_msgs", flag: "max-msgs", used: stream.messages, limit: stream.maxMessages },
  ];
  return limits.flatMap(({ name, flag, used, limit }) => {
    if (limit <= 0 || used < limit * 0.8) return [];
    const outcome = stream.discard === "old" ? "documents are dropped" : "every write is refused";
    return [
      fail(
        what,
        `${Math.round((used / limit) * 100)} % of ${name} is used: at the limit ${outcome}`,
        `nats stream edit ${stream.name} -f --${flag}=-1`,
      ),
    ];
  });
}

function gradeLeaseBucket(leases: BucketFacts, { buckets }: DeploymentFacts): Finding[] {
  const findings = gradeBucket(leases, "leases");
  const least = Math.min(...buckets.map(({ stream }) => stream?.replicas ?? Number.POSITIVE_INFINITY));
  const { stream } = leases;
  if (stream !== undefined && Number.isFinite(least) && stream.replicas < least) {
    findings.push(
      fail(
        `leases ${leases.bucket}`,
        `${stream.replicas} replicas, the actors have ${least}: the loss of one server stops every runtime`,
        `nats stream edit ${stream.name} -f --replicas=${least}`,
      ),
    );
  }
  return findings;
}

function gradeNodes({ nodes, unowned, leases, buckets }: DeploymentFacts): Finding[] {
  if (leases?.stream === undefined) return [];
  const isSilent = ({ silentMs, ttlMs }: NodeRow) => silentMs > ttlMs;
  const findings: Finding[] = nodes.flatMap((one) => {
    const what = `node ${one.node}`;
    if (one.problem !== undefined) return [fail(what, `takes no partitions: ${one.problem}`)];
    if (!isSilent(one)) return [];
    const why = `said nothing for ${secondsText(one.silentMs)}, and had promised to within ${secondsText(one.ttlMs)}`;
    return [warn(what, `${why}: the others take over from it`)];
  });
  const alive = nodes.filter((one) => !isSilent(one));
  const total = buckets[0]?.partitions ?? 0;
  if (alive.length === 0)
    findings.push(warn("nodes", "no runtime is alive: events wait, timers do not fire", "start one"));
  else if (unowned > 0) {
    const why = `${unowned} of ${total} partitions have no owner: they should within seconds, or the nodes' logs say why`;
    findings.push(warn("nodes", why, "holdfast leases"));
  } else findings.push(ok("nodes", alive.map(({ node, partitions }) => `${node} (${partitions.length})`).join(", ")));
  return findings;
}

function gradeJournal(journal: JournalFacts | undefined): Finding[] {
  if (journal === undefined) return [];
  const what = `journal ${journal.name}`;
  const behind = journal.sources.filter(({ lag }) => lag > 1_000);
  if (journal.sources.length === 0)
    return [
      fail(
        what,
        "it copies from no bucket: history ends where the bucket's own does",
        `nats stream info ${journal.name}`,
      ),
    ];
  if (behind.length > 0)
    return behind.map(({ name, lag }) =>
      warn(
        what,
        `${lag} commits behind ${name}: what the bucket forgets meanwhile is lost to it`,
        `nats stream info ${journal.name}`,
      ),
    );
  return [
    ok(
      what,
      `keeps up with ${journal.sources.map(({ name }) => name).join(", ")}${journal.isLimited ? ", within limits" : ""}`,
    ),
  ];
}

function gradePlacement({ buckets, leases, monitors, server }: DeploymentFacts): Finding[] {
  const findings: Finding[] = [];
  const size = clusterSize(monitors);
  for (const { stream } of [...buckets, ...(leases === undefined ? [] : [leases])]) {
    if (stream === undefined) continue;
    const what = `replicas of ${stream.name}`;
    const { leader, followers } = stream.placed;
    const offline = followers.filter((one) => one.offline);
    const behind = followers.filter((one) => !one.offline && !one.current);
    if (leader === undefined || leader === "")
      findings.push(
        fail(
          what,
          "no leader: nothing can be written until a majority of its servers is back",
          `nats stream info ${stream.name}`,
        ),
      );
    else if (offline.length > 0)
      findings.push(
        fail(
          what,
          `${offline.map(({ name }) => name).join(", ")} offline: start it, or the next loss stops everything`,
          `nats stream info ${stream.name}`,
        ),
      );
    else if (behind.length > 0)
      findings.push(
        warn(
          what,
          `${behind.map(({ name }) => name).join(", ")} is behind the leader, or gone: until it has caught up it counts for nothing`,
          `nats stream info ${stream.name}`,
        ),
      );
    else if (stream.replicas % 2 === 0)
      findings.push(
        warn(
          what,
          `${stream.replicas}: an even number survives no more losses than one less`,
          `nats stream edit ${stream.name} -f --replicas=${stream.replicas + 1}`,
        ),
      );
    else if (stream.replicas === 1 && (size ?? 1) >= 3)
      findings.push(
        warn(
          what,
          `1, in a cluster of ${size}: the loss of one disk loses actors`,
          `nats stream edit ${stream.name} -f --replicas=3`,
        ),
      );
    else if (stream.replicas === 1)
      findings.push(
        server.cluster === undefined
          ? ok(what, `1, on ${leader}: the loss of its disk loses the actors; keep backups`)
          : warn(
              what,
              `1, on ${leader}, in a cluster: the loss of one disk loses actors`,
              `nats stream edit ${stream.name} -f --replicas=3`,
            ),
      );
    else
      findings.push(
        ok(what, `${stream.replicas}, all current: ${[leader, ...followers.map(({ name }) => name)].join(", ")}`),
      );
  }
  if (size === 2) findings.push(fail("cluster", "of 2 servers: the loss of either stops JetStream; run 3 or 5"));
  return findings;
}

function clusterSize(monitors: readonly MonitorFacts[]): number | undefined {
  const sizes = monitors.flatMap((one) => ("problem" in one || one.clusterSize === undefined ? [] : [one.clusterSize]));
  return sizes.length === 0 ? undefined : Math.max(...sizes);
}

function gradeSync(facts: DeploymentFacts): Finding[] {
  if (facts.buckets.length === 0) return [];
  const findings: Finding[] = facts.monitors.flatMap((one) =>
    "problem" in one ? [warn(`monitor ${one.url}`, one.problem)] : [],
  );
  const seen = facts.monitors.flatMap((one) => ("problem" in one ? [] : [one]));
  const saysSynced = facts.buckets.some(({ stream }) => stream?.allowAtomic === true);
  const config = "jetstream { sync_interval: always } in the server's configuration";
  for (const { server, isSynced, syncIntervalMs } of seen) {
    const what = `sync on ${server}`;
    const why = `every ${secondsText(syncIntervalMs)}: a power cut takes what was acknowledged since`;
    if (isSynced) findings.push(ok(what, "always: what is acknowledged is on the disk"));
    else if (saysSynced)
      findings.push(fail(what, `${why}, and the bucket was made with \`synced: true\`, which says otherwise`, config));
    else findings.push(warn(what, why, config));
  }
  if (seen.length === 0) {
    const why =
      "a client cannot see it; the default is every two minutes, so a power cut takes what was acknowledged since";
    findings.push(warn("sync interval", why, "holdfast doctor --monitor http://<server>:8222, of each server"));
  } else {
    const unseen = holders(facts).filter((name) => !seen.some(({ server }) => server === name));
    if (unseen.length > 0)
      findings.push(
        warn("sync interval", `not seen of ${unseen.join(", ")}`, "holdfast doctor --monitor <url>,<url>,…"),
      );
  }
  return findings;
}

/** Names of the servers on which the actors lie. */
function holders({ buckets }: DeploymentFacts): string[] {
  const names = buckets.flatMap(({ stream }) =>
    stream === undefined ? [] : [stream.placed.leader ?? "", ...stream.placed.followers.map(({ name }) => name)],
  );
  return [...new Set(names)].filter((name) => name !== "").sort();
}

/** What servers with this level of the API allow where a stream says nothing. */
const defaultMaxConsumers = 1_000;

function gradeConsumers({ buckets, monitors, server }: DeploymentFacts): Finding[] {
  const told = monitors.flatMap((one) =>
    "problem" in one || one.defaultMaxConsumers === undefined ? [] : [one.defaultMaxConsumers],
  )[0];
  const byDefault = told ?? ((server.apiLevel ?? 0) >= 5 ? defaultMaxConsumers : -1);
  return buckets.flatMap(({ stream }) => {
    if (stream === undefined) return [];
    const limit = stream.maxConsumers > 0 ? stream.maxConsumers : byDefault;
    const what = `consumers of ${stream.name}`;
    if (limit <= 0) return [ok(what, `${stream.consumers}, no limit`)];
    const why = `${stream.consumers} of at most ${limit}; each process that watches has one`;
    if (stream.consumers < limit * 0.8) return [ok(what, why)];
    return [
      {
        ...warn(what, `${why}: beyond it nobody new can watch`, `nats consumer report ${stream.name}`),
        grade: stream.consumers >= limit ? ("fail" as const) : ("warn" as const),
      },
    ];
  });
}

function gradeAccount({ account, server }: DeploymentFacts): Finding[] {
  if (account === undefined) return [];
  const { usedBytes, maxBytes } = account;
  const findings =
    maxBytes <= 0
      ? []
      : gradeRoom("account", usedBytes, maxBytes, server.maxPayloadBytes, "the account's max_file (jetstream limits)");
  const counts = [
    { name: "streams", used: account.streams, limit: account.maxStreams },
    { name: "consumers", used: account.consumers, limit: account.maxConsumers },
  ];
  for (const { name, used, limit } of counts) {
    if (limit <= 0 || used < limit * 0.8) continue;
    const why = `${used} of ${limit} ${name}${used >= limit ? ": no more can be made" : ""}`;
    findings.push(
      used >= limit ? fail("account", why, "nats account info") : warn("account", why, "nats account info"),
    );
  }
  if (findings.length > 0) return findings;
  const ofLimit = (limit: number, text: string) => (limit <= 0 ? "" : ` of ${text}`);
  const parts = [
    `storage ${bytesText(usedBytes)}${ofLimit(maxBytes, bytesText(maxBytes))}`,
    ...counts.map(({ name, used, limit }) => `${name} ${used}${ofLimit(limit, String(limit))}`),
  ];
  return [ok("account", parts.join(", "))];
}

/** Servers that are full refuse everybody's writes, whatever an account's own limit. */
function gradeServerRoom({ monitors, server }: DeploymentFacts): Finding[] {
  return monitors.flatMap((one) => {
    if ("problem" in one || one.maxBytes <= 0) return [];
    return gradeRoom(`storage of ${one.server}`, one.usedBytes, one.maxBytes, server.maxPayloadBytes, "max_file_store");
  });
}

/** Full is what has no room for one more of the largest documents. */
function gradeRoom(what: string, used: number, limit: number, largest: number, command: string): Finding[] {
  const why = `${bytesText(used)} of ${bytesText(limit)}`;
  if (limit - used < largest)
    return [fail(what, `${why}: commits are refused until there is room; nothing is lost`, `raise ${command}`)];
  if (used >= limit * 0.8) return [warn(what, `${why}: when it is full, commits are refused`, `raise ${command}`)];
  return [];
}

/** As the coordinator has it: a node beyond this takes no partitions. */
const largestOffsetMs = 5_000;
const notableOffsetMs = 1_000;

function gradeClock({ clock, buckets }: DeploymentFacts): Finding[] {
  if (buckets.length === 0) return [];
  if (clock === undefined)
    return [warn("clock", "not measured: the server tells its time with a bucket, and there is none")];
  const { offsetMs, errorMs } = clock;
  const aheadMs = Math.abs(offsetMs);
  const why = `${msText(aheadMs)} ${offsetMs < 0 ? "behind" : "ahead of"} the server's, within ${msText(errorMs)}`;
  if (aheadMs - errorMs > largestOffsetMs)
    return [
      fail(
        "clock",
        `${why}: a node more than ${secondsText(largestOffsetMs)} off takes no partitions`,
        "timedatectl set-ntp true",
      ),
    ];
  if (aheadMs - errorMs > notableOffsetMs)
    return [warn("clock", `${why}: timers fire that much early or late`, "timedatectl set-ntp true")];
  return [ok("clock", why)];
}

function gradeRoundTrip(trip: DeploymentFacts["roundTrip"]): Finding[] {
  if (trip === undefined) return [];
  const why = `p50 ${msText(trip.p50Ms)}, p90 ${msText(trip.p90Ms)} over ${trip.samples} (${trip.of})`;
  if (trip.p90Ms >= 750)
    return [fail("round trip", `${why}: leases of 3 s cannot be renewed in time; raise leaseTtlMs`)];
  if (trip.p90Ms >= 100) return [warn("round trip", `${why}: every event waits for at least one`)];
  return [ok("round trip", why)];
}

function gradePayload(maxPayloadBytes: number): Finding[] {
  const why = `${bytesText(maxPayloadBytes)}: the largest document, with its headers`;
  if (maxPayloadBytes < 64 * 1024)
    return [
      fail("max_payload", `${why}; too little for most machines`, "max_payload: 1MB in the server's configuration"),
    ];
  if (maxPayloadBytes < 1024 * 1024)
    return [warn("max_payload", why, "max_payload: 1MB in the server's configuration")];
  return [ok("max_payload", why)];
}

function verdictOf(facts: DeploymentFacts, findings: readonly Finding[]): Verdict {
  const failures = findings.filter(({ grade }) => grade === "fail").length;
  const streams = facts.buckets.flatMap(({ stream }) => (stream === undefined ? [] : [stream]));
  const isOnDisk = streams.every(({ storage }) => storage === "file");
  const isReplicated = streams.length > 0 && streams.every(({ replicas }) => replicas >= 3);
  const version = versionOf(facts.server.version);
  const syncs = version !== undefined && !isBefore(version, [2, 14, 7]);
  const synced = new Set(facts.monitors.flatMap((one) => ("problem" in one || !one.isSynced ? [] : [one.server])));
  const at = holders(facts);
  const isSynced = at.length > 0 && at.every((name) => synced.has(name));
  if (failures > 0)
    return { safeFor: "nothing", text: `not safe: ${failures} ${failures === 1 ? "finding fails" : "findings fail"}` };
  if (facts.buckets.length === 0)
    return {
      safeFor: "nothing",
      text: `the role ${facts.role} has what it needs; it does not see what it is safe for`,
    };
  if (streams.length < facts.buckets.length)
    return { safeFor: "nothing", text: "safe for nothing yet: there is no bucket" };
  if (!isOnDisk) return { safeFor: "nothing", text: "safe for nothing: the bucket is in memory" };
  if (isSynced && syncs)
    return {
      safeFor: "power loss",
      text: `safe for: power loss${isReplicated ? ", and the loss of one server" : "; not for the loss of its disk"}`,
    };
  if (isReplicated)
    return {
      safeFor: "replicated",
      text: "safe for: replicated (the loss of one server and its disk); not for a power cut of all",
    };
  return {
    safeFor: "process crash",
    text: "safe for: process crash (kill -9 of anything); not for a power cut, nor the loss of the disk",
  };
}

function bytesText(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let size = bytes;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit++;
  }
  return `${unit === 0 ? size : size.toFixed(1).replace(/\.0$/, "")} ${units[unit]}`;
}

function msText(ms: number): string {
  return ms >= 10_000 ? secondsText(ms) : `${ms >= 100 ? Math.round(ms) : Number(ms.toFixed(1))} ms`;
}

function secondsText(ms: number): string {
  return `${Number((ms / 1000).toFixed(1))} s`;
}
