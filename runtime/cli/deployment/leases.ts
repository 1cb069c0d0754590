/** Who runs the partitions, and whether the leases outlive what the actors do. */
import type { NodeRow } from "../../control/verbs.ts";
import { isRaft } from "../lease-entries.ts";
import type { BucketFacts, DeploymentFacts } from "./facts.ts";
import { type Finding, fail, ok, secondsText, warn } from "./finding.ts";
import { gradeBucket } from "./streams.ts";

/** A runtime compares who granted last with who grants: where they differ, none starts. */
export function gradeLeases(facts: DeploymentFacts): Finding[] {
  const { grantor, leaseIdentity, leases } = facts;
  if (isRaft(grantor))
    return [ok("leases", `granted by ${grantor}: \`holdfast leases --data <folder of a member>\` tells who is alive`)];
  if (leases === undefined) return [];
  if (grantor === undefined || grantor === leaseIdentity)
    return [...gradeLeaseBucket(leases, facts), ...gradeNodes(facts)];
  const what = `leases ${leases.bucket}`;
  const was = `the actors were run under ${grantor}`;
  if (leaseIdentity === undefined)
    return [
      fail(
        what,
        `is gone, and ${was}: no node can hold a partition. Stop every runtime and start one: it makes the bucket, and is refused`,
        "holdfast leases adopt",
      ),
    ];
  return [
    fail(what, `${was}, and this is ${leaseIdentity}: no runtime starts. Stop every runtime`, "holdfast leases adopt"),
  ];
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
