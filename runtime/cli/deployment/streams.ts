/** What the streams under buckets and the journal are like, and where they lie. */
import type { BucketFacts, DeploymentFacts, JournalFacts, MonitorFacts, RuntimeKeys, StreamFacts } from "./facts.ts";
import { bytesText, type Finding, fail, ok, warn } from "./finding.ts";

export function gradeBucket(facts: BucketFacts, kind: string): Finding[] {
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
export function gradeLimits(what: string, stream: StreamFacts): Finding[] {
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

export function gradeJournal(journal: JournalFacts | undefined): Finding[] {
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

export function gradePlacement({ buckets, leases, monitors, server }: DeploymentFacts): Finding[] {
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

/** Names of the servers on which the actors lie. */
export function holders({ buckets }: DeploymentFacts): string[] {
  const names = buckets.flatMap(({ stream }) =>
    stream === undefined ? [] : [stream.placed.leader ?? "", ...stream.placed.followers.map(({ name }) => name)],
  );
  return [...new Set(names)].filter((name) => name !== "").sort();
}

/** What servers with this level of the API allow where a stream says nothing. */
const defaultMaxConsumers = 1_000;

export function gradeConsumers({ buckets, monitors, server }: DeploymentFacts): Finding[] {
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
