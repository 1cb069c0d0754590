/** What each fact of a deployment means: both sides of every boundary, and what it comes to. */
import { describe, expect, test } from "vitest";
import type { BucketFacts, DeploymentFacts, MonitorFacts, StreamFacts } from "./facts.ts";
import type { Finding } from "./finding.ts";
import { exitCodeOf, gradeDeployment, gradeUnreachable } from "./grades.ts";

const stream: StreamFacts = {
  name: "KV_shop",
  storage: "file",
  discard: "new",
  replicas: 3,
  placed: {
    leader: "n1",
    followers: [
      { name: "n2", current: true, offline: false },
      { name: "n3", current: true, offline: false },
    ],
  },
  messages: 7,
  bytes: 2_048,
  maxBytes: -1,
  maxMessages: -1,
  consumers: 2,
  maxConsumers: -1,
  denyDelete: true,
  allowAtomic: false,
};
const bucket: BucketFacts = {
  bucket: "shop",
  stream,
  partitions: 64,
  runtimeKeys: undefined,
  errors: [],
  warnings: [],
};
const monitor = (server: string, change: Partial<MonitorFacts> = {}): MonitorFacts =>
  ({
    url: `http://${server}:8222`,
    server,
    isSynced: true,
    syncIntervalMs: 0,
    clusterSize: 3,
    defaultMaxConsumers: 1_000,
    usedBytes: 1_000,
    maxBytes: 1_000_000_000,
    ...change,
  }) as MonitorFacts;
const synced = ["n1", "n2", "n3"].map((server) => monitor(server));
const node = { node: "a", session: "s", partitions: [0, 1], silentMs: 900, ttlMs: 3_000, isDraining: false };

/** Nothing to be said against it. */
const sound: DeploymentFacts = {
  server: { name: "n1", url: "n1:4222", version: "2.15.1", apiLevel: 5, cluster: "c", maxPayloadBytes: 1_048_576 },
  jetstreamProblem: undefined,
  role: "node",
  permissions: [{ operation: "publish", subject: "$KV.shop._probe", use: "write", outcome: "allowed" }],
  account: { usedBytes: 4_096, maxBytes: -1, streams: 2, maxStreams: -1, consumers: 4, maxConsumers: -1 },
  buckets: [bucket],
  leases: { ...bucket, bucket: "shop-leases", stream: { ...stream, name: "KV_shop-leases" } },
  grantor: "KV_shop-leases 2026-11-29",
  leaseIdentity: "KV_shop-leases 2026-11-29",
  nodes: [node],
  unowned: 0,
  journal: undefined,
  clock: { offsetMs: 3, errorMs: 1 },
  roundTrip: { samples: 20, p50Ms: 1, p90Ms: 4, of: "reads" },
  monitors: synced,
};

const withServer = (change: Partial<DeploymentFacts["server"]>) => ({ server: { ...sound.server, ...change } });
const withBucket = (change: Partial<BucketFacts>) => ({ buckets: [{ ...bucket, ...change }] });
const withStream = (change: Partial<StreamFacts>) => withBucket({ stream: { ...stream, ...change } });
const withAccount = (change: Partial<NonNullable<DeploymentFacts["account"]>>) => ({
  account: { ...(sound.account as NonNullable<DeploymentFacts["account"]>), ...change },
});
const clockOff = (offsetMs: number, errorMs = 1) => ({ clock: { offsetMs, errorMs } });
const permission = (outcome: "denied" | "nobody") => ({
  permissions: [{ operation: "publish" as const, subject: "$JS.API.INFO", use: "see the account", outcome }],
});
const trip = (p90Ms: number) => ({ roundTrip: { samples: 20, p50Ms: 1, p90Ms, of: "reads" } });
const journal = (lag: number) => ({
  journal: { name: "shop-journal", sources: [{ name: "KV_shop", lag }], isLimited: false },
});
const mebibyte = 1_048_576;

const cases: readonly (readonly [
  it: string,
  change: Partial<DeploymentFacts>,
  says: string,
  grade: Finding["grade"],
])[] = [
  ["a server of today", {}, "server n1: nats-server 2.15.1, API level 5 at n1:4222, in cluster c", "ok"],
  ["2.9", withServer({ version: "2.9.25" }), "the oldest that is supported is 2.10", "fail"],
  ["2.10.22", withServer({ version: "2.10.22" }), "before 2.10.23 can lose acknowledged writes", "fail"],
  ["2.10.23", withServer({ version: "2.10.23" }), "before 2.14.7, compaction ignored", "warn"],
  ["2.14.6", withServer({ version: "2.14.6" }), "before 2.14.7, compaction ignored", "warn"],
  ["2.14.7", withServer({ version: "2.14.7" }), "server n1: nats-server 2.14.7", "ok"],
  ["a version that is none", withServer({ version: "dev" }), "its version cannot be read", "warn"],
  ["JetStream that is off", { jetstreamProblem: "it is off", buckets: [] }, "JetStream: it is off", "fail"],
  [
    "what is denied",
    permission("denied"),
    "permission to publish: $JS.API.INFO is denied: a node needs it to see the account",
    "fail",
  ],
  ["what is not imported", permission("nobody"), "permission by import: nobody answers on $JS.API.INFO", "fail"],
  ["a bucket as it should be", {}, "bucket shop: as a runtime makes it: 7 entries, 2 KiB, 64 partitions", "ok"],
  ["no bucket", withBucket({ stream: undefined }), "bucket shop: is not there", "warn"],
  [
    "a difference that forbids use",
    withBucket({ errors: ["discard is old: it drops; `nats stream edit KV_shop --discard=new`"] }),
    "bucket shop: discard is old: it drops",
    "fail",
  ],
  [
    "a difference that does no harm",
    withBucket({ warnings: ["it keeps 3 revisions"] }),
    "bucket shop: it keeps 3 revisions",
    "warn",
  ],
  [
    "a bucket after `nats kv edit`",
    withBucket({ partitions: undefined, runtimeKeys: { partitions: 64, shards: 1, shard: 0 } }),
    "bucket shop: a runtime wrote into it, but its metadata is gone",
    "fail",
  ],
  ["79 % of max_bytes", withStream({ bytes: 79, maxBytes: 100 }), "bucket shop: as a runtime makes it", "ok"],
  [
    "80 % of max_bytes",
    withStream({ bytes: 80, maxBytes: 100 }),
    "80 % of max_bytes is used: at the limit every write is refused",
    "fail",
  ],
  [
    "a limit that drops",
    withStream({ messages: 9, maxMessages: 10, discard: "old" }),
    "90 % of max_msgs is used: at the limit documents are dropped",
    "fail",
  ],
  ["no deny_delete", withStream({ denyDelete: false }), "bucket shop: deny_delete is off", "warn"],
  [
    "leases on fewer servers",
    { leases: { ...bucket, bucket: "shop-leases", stream: { ...stream, replicas: 1 } } },
    "leases shop-leases: 1 replicas, the actors have 3",
    "fail",
  ],
  ["a node in time", { nodes: [{ ...node, silentMs: 3_000 }] }, "nodes: a (2)", "ok"],
  [
    "a node that is late",
    { nodes: [{ ...node, silentMs: 3_001 }] },
    "node a: said nothing for 3 s, and had promised to within 3 s",
    "warn",
  ],
  [
    "a node with a problem",
    { nodes: [{ ...node, problem: "its clock" }] },
    "node a: takes no partitions: its clock",
    "fail",
  ],
  ["nobody", { nodes: [] }, "nodes: no runtime is alive", "warn"],
  [
    "leases on Raft, of which the bucket knows nothing",
    { nodes: [], grantor: "raft:shop.x.1" },
    "leases: granted by raft:shop.x.1: `holdfast leases --data",
    "ok",
  ],
  [
    "a lease bucket that is gone",
    { leaseIdentity: undefined, leases: { ...bucket, bucket: "shop-leases", stream: undefined } },
    "leases shop-leases: is gone, and the actors were run under KV_shop-leases 2026-11-29: no node can hold a partition",
    "fail",
  ],
  [
    "a lease bucket that was made anew",
    { nodes: [], leaseIdentity: "KV_shop-leases 2027-01-01" },
    "leases shop-leases: the actors were run under KV_shop-leases 2026-11-29, and this is KV_shop-leases 2027-01-01: no runtime starts",
    "fail",
  ],
  ["a partition that is free", { unowned: 1 }, "nodes: 1 of 64 partitions have no owner", "warn"],
  ["a journal that keeps up", journal(1_000), "journal shop-journal: keeps up with KV_shop", "ok"],
  ["a journal that does not", journal(1_001), "journal shop-journal: 1001 commits behind KV_shop", "warn"],
  [
    "a journal of nothing",
    { journal: { name: "j", sources: [], isLimited: false } },
    "journal j: it copies from no bucket",
    "fail",
  ],
  ["replicas that are there", {}, "replicas of KV_shop: 3, all current: n1, n2, n3", "ok"],
  ["no leader", withStream({ placed: { leader: "", followers: [] } }), "replicas of KV_shop: no leader", "fail"],
  [
    "one that is gone",
    withStream({ placed: { leader: "n1", followers: [{ name: "n2", current: false, offline: true }] } }),
    "replicas of KV_shop: n2 offline",
    "fail",
  ],
  [
    "one that is behind",
    withStream({ placed: { leader: "n1", followers: [{ name: "n2", current: false, offline: false }] } }),
    "replicas of KV_shop: n2 is behind the leader, or gone",
    "warn",
  ],
  ["an even number", withStream({ replicas: 2 }), "replicas of KV_shop: 2: an even number", "warn"],
  [
    "one replica in a cluster",
    { ...withStream({ replicas: 1 }), leases: undefined },
    "replicas of KV_shop: 1, in a cluster of 3",
    "warn",
  ],
  [
    "one replica on a server that is alone",
    {
      ...withStream({ replicas: 1 }),
      ...withServer({ cluster: undefined }),
      leases: undefined,
      monitors: [monitor("n1", { clusterSize: undefined })],
    },
    "replicas of KV_shop: 1, on n1: the loss of its disk loses the actors",
    "ok",
  ],
  ["a cluster of two", { monitors: [monitor("n1", { clusterSize: 2 })] }, "cluster: of 2 servers", "fail"],
  ["a server that syncs", {}, "sync on n2: always", "ok"],
  [
    "one that does not",
    { monitors: [monitor("n1", { isSynced: false, syncIntervalMs: 120_000 })] },
    "sync on n1: every 120 s: a power cut takes",
    "warn",
  ],
  [
    "one that does not, although the bucket says so",
    { ...withStream({ allowAtomic: true }), monitors: [monitor("n1", { isSynced: false, syncIntervalMs: 120_000 })] },
    "sync on n1: every 120 s: a power cut takes what was acknowledged since, and the bucket was made with `synced: true`",
    "fail",
  ],
  ["servers that were not looked at", { monitors: [monitor("n1")] }, "sync interval: not seen of n2, n3", "warn"],
  ["no monitoring page", { monitors: [] }, "sync interval: a client cannot see it", "warn"],
  [
    "a page that does not answer",
    { monitors: [{ url: "http://x", problem: "cannot be read: refused" }] },
    "monitor http://x: cannot be read: refused",
    "warn",
  ],
  ["799 consumers of 1,000", withStream({ consumers: 799 }), "consumers of KV_shop: 799 of at most 1000", "ok"],
  [
    "800 consumers of 1,000",
    withStream({ consumers: 800 }),
    "consumers of KV_shop: 800 of at most 1000; each process that watches has one: beyond it nobody new can watch",
    "warn",
  ],
  ["1,000 consumers of 1,000", withStream({ consumers: 1_000 }), "consumers of KV_shop: 1000 of at most 1000", "fail"],
  [
    "consumers without a limit",
    { ...withStream({ consumers: 5_000 }), ...withServer({ apiLevel: undefined }), monitors: [] },
    "consumers of KV_shop: 5000, no limit",
    "ok",
  ],
  [
    "an account with room",
    withAccount({ usedBytes: 79 * mebibyte, maxBytes: 100 * mebibyte }),
    "account: storage 79 MiB of 100 MiB",
    "ok",
  ],
  [
    "an account that fills",
    withAccount({ usedBytes: 80 * mebibyte, maxBytes: 100 * mebibyte }),
    "account: 80 MiB of 100 MiB: when it is full",
    "warn",
  ],
  [
    "room for one more",
    withAccount({ usedBytes: 99 * mebibyte, maxBytes: 100 * mebibyte }),
    "account: 99 MiB of 100 MiB: when it is full",
    "warn",
  ],
  [
    "a full account",
    withAccount({ usedBytes: 99 * mebibyte + 1, maxBytes: 100 * mebibyte }),
    "account: 99 MiB of 100 MiB: commits are refused until there is room; nothing is lost",
    "fail",
  ],
  [
    "streams all made",
    withAccount({ streams: 4, maxStreams: 4 }),
    "account: 4 of 4 streams: no more can be made",
    "fail",
  ],
  [
    "a full server",
    { monitors: [...synced.slice(1), monitor("n1", { usedBytes: 10 * mebibyte, maxBytes: 10 * mebibyte })] },
    "storage of n1: 10 MiB of 10 MiB: commits are refused",
    "fail",
  ],
  ["a clock 1 s off", clockOff(1_001), "clock: 1001 ms ahead of the server's, within 1 ms", "ok"],
  [
    "a clock more than 1 s off",
    clockOff(-1_002),
    "clock: 1002 ms behind the server's, within 1 ms: timers fire that much early or late",
    "warn",
  ],
  ["a clock 5 s off", clockOff(5_001), "clock: 5001 ms ahead of", "warn"],
  [
    "a clock more than 5 s off",
    clockOff(5_002),
    "clock: 5002 ms ahead of the server's, within 1 ms: a node more than 5 s off takes no partitions",
    "fail",
  ],
  ["a clock an hour off", clockOff(-3_600_000), "clock: 3600 s behind the server's", "fail"],
  ["a clock that is not known to be off", clockOff(6_000, 1_500), "clock: 6000 ms ahead of", "warn"],
  ["a round trip below 100 ms", trip(99), "round trip: p50 1 ms, p90 99 ms over 20", "ok"],
  ["a round trip of 100 ms", trip(100), "round trip: p50 1 ms, p90 100 ms over 20 (reads): every event waits", "warn"],
  ["a round trip of 750 ms", trip(750), "leases of 3 s cannot be renewed in time", "fail"],
  ["64 KiB of payload", withServer({ maxPayloadBytes: 65_536 }), "max_payload: 64 KiB", "warn"],
  ["less than 64 KiB of payload", withServer({ maxPayloadBytes: 65_535 }), "too little for most machines", "fail"],
];

const textOf = ({ what, why }: Finding) => `${what}: ${why}`;

describe("graded", () => {
  test.each(cases)("%s", (_, change, says, grade) => {
    const { findings } = gradeDeployment({ ...sound, ...change });
    const found = findings.filter((finding) => textOf(finding).includes(says));
    expect(
      found.map((finding) => finding.grade),
      findings.map(textOf).join("\n"),
    ).toEqual([grade]);
    // Whatever is wrong, nothing else is said to be because of it but what depends on it.
    const worse = findings.filter((finding) => finding.grade === "fail" && !found.includes(finding));
    expect(worse.map(textOf)).toEqual([]);
  });
});

describe("the verdict and the exit code", () => {
  const alone = { leases: undefined, ...withServer({ cluster: undefined }) };
  test.each([
    ["synced and replicated", {}, "power loss", "safe for: power loss, and the loss of one server", 0],
    [
      "replicated alone",
      { monitors: [] },
      "replicated",
      "safe for: replicated (the loss of one server and its disk); not for a power cut of all",
      1,
    ],
    [
      "replicated, one server of three known to sync",
      { monitors: [monitor("n1")] },
      "replicated",
      "safe for: replicated",
      1,
    ],
    [
      "synced alone",
      {
        ...alone,
        ...withStream({ replicas: 1, placed: { leader: "n1", followers: [] } }),
        monitors: [monitor("n1", { clusterSize: undefined })],
      },
      "power loss",
      "safe for: power loss; not for the loss of its disk",
      0,
    ],
    [
      "synced, by a server that does not keep it",
      {
        ...alone,
        ...withStream({ replicas: 1, placed: { leader: "n1", followers: [] } }),
        ...withServer({ version: "2.10.27", cluster: undefined }),
        monitors: [monitor("n1", { clusterSize: undefined })],
      },
      "process crash",
      "safe for: process crash",
      1,
    ],
    [
      "in memory",
      withBucket({ stream: { ...stream, storage: "memory" }, warnings: ["storage is memory"] }),
      "nothing",
      "safe for nothing: the bucket is in memory",
      1,
    ],
    ["without a bucket", withBucket({ stream: undefined }), "nothing", "safe for nothing yet: there is no bucket", 1],
    [
      "seen by who sees no bucket",
      { buckets: [], role: "sender", leases: undefined, clock: undefined },
      "nothing",
      "the role sender has what it needs",
      0,
    ],
    ["with a failure", { jetstreamProblem: "off", buckets: [] }, "nothing", "not safe: 1 finding fails", 2],
  ] as const)("of what is %s", (_, change, safeFor, text, code) => {
    const report = gradeDeployment({ ...sound, ...change } as DeploymentFacts);
    expect(report.verdict.safeFor).toBe(safeFor);
    expect(report.verdict.text).toContain(text);
    expect(exitCodeOf(report)).toBe(code);
  });

  test("of a server to which there is no way", () => {
    const report = gradeUnreachable("nobody is there");
    expect([report.verdict.safeFor, exitCodeOf(report)]).toEqual(["nothing", 2]);
  });
});

describe("what to type", () => {
  test("is the command of the bucket's own comparison, without its question", () => {
    const { findings } = gradeDeployment({
      ...sound,
      ...withBucket({ errors: ["its subjects are x: give it `nats stream edit KV_shop --subjects='$KV.shop.>'`"] }),
    });
    expect(findings.find(({ grade }) => grade === "fail")).toEqual({
      grade: "fail",
      what: "bucket shop",
      why: "its subjects are x",
      command: "nats stream edit KV_shop -f --subjects='$KV.shop.>'",
    });
  });

  test("gives a bucket after `nats kv edit` back its fixed numbers, or says which are not known", () => {
    const commandOf = (partitions: number | undefined) =>
      gradeDeployment({
        ...sound,
        ...withBucket({ partitions: undefined, runtimeKeys: { partitions, shards: 4, shard: 2 } }),
      }).findings.find(({ grade }) => grade === "fail");
    expect(commandOf(64)?.command).toMatch(
      /^nats stream edit KV_shop -f --metadata=holdfast-layout=1 --metadata=holdfast-partitions=64 --metadata=holdfast-shards=4 --metadata=holdfast-shard=2;/,
    );
    expect(commandOf(undefined)?.command).toContain("--metadata=holdfast-partitions=<n>");
    expect(commandOf(undefined)?.why).toMatch(/<n> is the `partitions` of your runtimes$/);
  });
});
