/**
 * Grades a deployment on NATS: facts in, findings and a verdict out, in the order in which one would look. Nothing is asked
 * of a server here. Start reading at `gradeDeployment`.
 */
import type { DeploymentFacts } from "./facts.ts";
import { type Finding, fail } from "./finding.ts";
import { gradeLeases } from "./leases.ts";
import {
  gradeAccount,
  gradeClock,
  gradeJetStream,
  gradePayload,
  gradePermissions,
  gradeRoundTrip,
  gradeServer,
  gradeServerRoom,
  gradeSync,
  syncsWhole,
} from "./servers.ts";
import { gradeBucket, gradeConsumers, gradeJournal, gradePlacement, holders } from "./streams.ts";

/** What an acknowledged event survives; "nothing" also where a runtime could not work at all. */
export type SafeFor = "nothing" | "process crash" | "replicated" | "power loss";

export type Verdict = { readonly safeFor: SafeFor; readonly text: string };

export type Report = { readonly findings: readonly Finding[]; readonly verdict: Verdict };

export function gradeDeployment(facts: DeploymentFacts): Report {
  const findings = [
    ...gradeServer(facts.server),
    ...gradeJetStream(facts),
    ...gradePermissions(facts),
    ...facts.buckets.flatMap((bucket) => gradeBucket(bucket, "bucket")),
    ...gradeLeases(facts),
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

function verdictOf(facts: DeploymentFacts, findings: readonly Finding[]): Verdict {
  const failures = findings.filter(({ grade }) => grade === "fail").length;
  const streams = facts.buckets.flatMap(({ stream }) => (stream === undefined ? [] : [stream]));
  const isOnDisk = streams.every(({ storage }) => storage === "file");
  const isReplicated = streams.length > 0 && streams.every(({ replicas }) => replicas >= 3);
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
  if (isSynced && syncsWhole(facts.server))
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
