/** What the servers are, allow and have room for. */
import type { DeploymentFacts, ServerFacts } from "./facts.ts";
import { bytesText, type Finding, fail, msText, ok, secondsText, warn } from "./finding.ts";
import { ruleFor } from "./permission-probes.ts";
import { holders } from "./streams.ts";

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

export function gradeServer({ name, url, version, apiLevel, cluster }: ServerFacts): Finding[] {
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

/** Whether `sync_interval: always` keeps what it says. */
export function syncsWhole({ version }: ServerFacts): boolean {
  const parsed = versionOf(version);
  return parsed !== undefined && !isBefore(parsed, [2, 14, 7]);
}

export function gradeJetStream({ jetstreamProblem, buckets }: DeploymentFacts): Finding[] {
  if (jetstreamProblem === undefined) return buckets.length === 0 ? [] : [ok("JetStream", "answers")];
  return [
    fail(
      "JetStream",
      jetstreamProblem,
      "jetstream { store_dir: … } in the server's configuration, and for the account",
    ),
  ];
}

export function gradePermissions({ permissions, role, jetstreamProblem }: DeploymentFacts): Finding[] {
  const needs = `${role === "operator" ? "an" : "a"} ${role} needs it to`;
  const findings = permissions.flatMap(({ operation, subject, use, outcome }): Finding[] => {
    if (outcome === "denied")
      return [
        fail(
          `permission to ${operation}`,
          `${subject} is denied: ${needs} ${use}`,
          `permissions: { ${operation}: "${ruleFor(subject)}" } in the server's configuration (docs/guides/accounts.md has them all)`,
        ),
      ];
    // JetStream that is off answers nothing either, and is spoken of already.
    if (outcome === "allowed" || jetstreamProblem !== undefined) return [];
    return [
      fail(
        "permission by import",
        `nobody answers on ${subject}: ${needs} ${use}`,
        `exports: { service: "${ruleFor(subject)}" } in JetStream's account, and its import here (docs/guides/accounts.md)`,
      ),
    ];
  });
  if (findings.length > 0 || permissions.length === 0 || permissions.some(({ outcome }) => outcome !== "allowed"))
    return findings;
  return [ok("permissions", `all ${permissions.length} that the role ${role} needs`)];
}

export function gradeSync(facts: DeploymentFacts): Finding[] {
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

export function gradeAccount({ account, server }: DeploymentFacts): Finding[] {
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
export function gradeServerRoom({ monitors, server }: DeploymentFacts): Finding[] {
  return monitors.flatMap((one) => {
    if ("problem" in one || one.maxBytes <= 0) return [];
    return gradeRoom(`storage of ${one.server}`, one.usedBytes, one.maxBytes, server.maxPayloadBytes, "max_file_store");
  });
}

/** Full is what has no room for one more of the largest documents. */
export function gradeRoom(what: string, used: number, limit: number, largest: number, command: string): Finding[] {
  const why = `${bytesText(used)} of ${bytesText(limit)}`;
  if (limit - used < largest)
    return [fail(what, `${why}: commits are refused until there is room; nothing is lost`, `raise ${command}`)];
  if (used >= limit * 0.8) return [warn(what, `${why}: when it is full, commits are refused`, `raise ${command}`)];
  return [];
}

/** As the coordinator has it: a node beyond this takes no partitions. */
const largestOffsetMs = 5_000;
const notableOffsetMs = 1_000;

export function gradeClock({ clock, buckets }: DeploymentFacts): Finding[] {
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

export function gradeRoundTrip(trip: DeploymentFacts["roundTrip"]): Finding[] {
  if (trip === undefined) return [];
  const why = `p50 ${msText(trip.p50Ms)}, p90 ${msText(trip.p90Ms)} over ${trip.samples} (${trip.of})`;
  if (trip.p90Ms >= 750)
    return [fail("round trip", `${why}: leases of 3 s cannot be renewed in time; raise leaseTtlMs`)];
  if (trip.p90Ms >= 100) return [warn("round trip", `${why}: every event waits for at least one`)];
  return [ok("round trip", why)];
}

export function gradePayload(maxPayloadBytes: number): Finding[] {
  const why = `${bytesText(maxPayloadBytes)}: the largest document, with its headers`;
  if (maxPayloadBytes < 64 * 1024)
    return [
      fail("max_payload", `${why}; too little for most machines`, "max_payload: 1MB in the server's configuration"),
    ];
  if (maxPayloadBytes < 1024 * 1024)
    return [warn("max_payload", why, "max_payload: 1MB in the server's configuration")];
  return [ok("max_payload", why)];
}
