/**
 * Mistakes that other implementations of Raft have made, each with the test that would have shown it. What belongs to the
 * log on disk (torn and damaged records) is tested there.
 */
import { describe, expect, test } from "vitest";
import { Cluster, electionTicks } from "./cluster.fixture.ts";
import { encodeConfChange } from "./conf-change.ts";
import { RaftInvariantError } from "./invariant.ts";
import { whyUnsafe } from "./membership-rules.ts";
import {
  type ConfChangeSingle,
  type ConfChangeTransition,
  type ConfChangeV2,
  type Entry,
  emptyConfState,
  localAppendThread,
  message,
  type NodeId,
  type Snapshot,
} from "./messages.ts";
import { briefly, entryOf, TestNode } from "./node.fixture.ts";

const protectedNode = { preVote: true, checkQuorum: true };

function change(
  changes: readonly ConfChangeSingle[],
  transition: ConfChangeTransition = "ConfChangeTransitionAuto",
): ConfChangeV2 {
  return { kind: "v2", transition, changes, context: "" };
}

const add = (nodeId: NodeId): ConfChangeSingle => ({ type: "ConfChangeAddNode", nodeId });
const addLearner = (nodeId: NodeId): ConfChangeSingle => ({ type: "ConfChangeAddLearnerNode", nodeId });
const remove = (nodeId: NodeId): ConfChangeSingle => ({ type: "ConfChangeRemoveNode", nodeId });

const changeEntry = (index: number, term: number, made: ConfChangeV2): Entry => ({
  ...encodeConfChange(made),
  index,
  term,
});

function snapshotAt(index: number, term: number, voters: readonly NodeId[]): Snapshot {
  return { data: new Uint8Array(), metadata: { index, term, confState: { ...emptyConfState, voters } } };
}

function clusterOf(voters: readonly NodeId[], isAsync = false): Cluster {
  let drawn = 0;
  const random = (below: number) => drawn++ % below;
  return new Cluster({ voters, spares: [], isAsync, isProtected: true, maxMessageBytes: 1_000, random });
}

describe("1: a vote or term that is not durable before the answer", () => {
  test("the write that must be flushed comes with the vote", () => {
    const node = new TestNode();
    node.receive("MsgVote", { from: 2, term: 5 });
    node.settle();
    expect(node.readies).toHaveLength(1);
    expect(node.readies[0]).toMatchObject({ hardState: { term: 5, vote: 2 }, mustSync: true });
    expect(briefly(node.readies[0]!.messages)).toEqual(["MsgVoteResp->2 0/0"]);
  });

  test("with async storage writes the vote is an answer to the write, and only that", () => {
    const node = new TestNode({ asyncStorageWrites: true });
    node.receive("MsgVote", { from: 2, term: 5 });
    const { messages } = node.raw.ready();
    expect(messages.map(({ type, to, term, vote }) => [type, to, term, vote])).toEqual([
      ["MsgStorageAppend", localAppendThread, 5, 2],
    ]);
    expect(briefly(messages[0]!.responses)).toEqual(["MsgVoteResp->2 0/0"]);
  });

  test("a candidate does not count its own vote before it is durable", () => {
    const node = new TestNode({ voters: [1], asyncStorageWrites: true });
    node.raw.campaign();
    const [write] = node.raw.ready().messages;
    expect(node.raft.state).toBe("StateCandidate");
    for (const response of write!.responses) node.raw.step(response);
    expect(node.raft.state).toBe("StateLeader");
  });
});

test("2: copies of an entry of an older term, counted (figure 8 of the paper)", () => {
  const node = new TestNode({ log: [1, 2], term: 3 }).lead();
  node.settle();
  node.receive("MsgAppResp", { from: 2, index: 2 });
  node.receive("MsgAppResp", { from: 3, index: 2 });
  expect(node.raft.log.committed).toBe(0);
  node.receive("MsgAppResp", { from: 2, index: 3 });
  expect(node.raft.log.committed).toBe(3);
});

test("3: a log that is longer, but of an older term, taken as more up to date", () => {
  const node = new TestNode({ log: [1, 2] });
  node.receive("MsgVote", { from: 2, term: 3, logTerm: 1, index: 9 });
  expect(briefly(node.settle())).toEqual(["MsgVoteResp->2 0/0 rejected"]);
});

describe("4: a log that is truncated by every append", () => {
  const entries = [1, 2, 3, 4, 5].map((index) => entryOf(index, 1));

  test("an older message leaves what came after it", () => {
    const node = new TestNode().follow(2);
    node.receive("MsgApp", { from: 2, entries });
    node.settle();
    node.receive("MsgApp", { from: 2, entries: entries.slice(0, 2) });
    expect(briefly(node.settle())).toEqual(["MsgAppResp->2 0/2"]);
    expect(node.log).toEqual([1, 1, 1, 1, 1]);
  });

  test("a conflict with what is committed stops the node", () => {
    const node = new TestNode({ log: [1, 1, 1], commit: 2, term: 2 }).follow(2);
    const conflicting = message({
      type: "MsgApp",
      from: 2,
      to: 1,
      term: 2,
      index: 2,
      logTerm: 1,
      entries: [entryOf(2, 2)],
    });
    expect(() => node.raw.step(conflicting)).toThrow(RaftInvariantError);
  });
});

test("5: a commit index beyond what the leader is known to share", () => {
  const node = new TestNode({ log: [1, 1, 1, 1], term: 2 }).follow(2);
  node.receive("MsgApp", { from: 2, index: 2, logTerm: 1, commit: 4 });
  expect(node.raft.log.committed).toBe(2);
  node.receive("MsgApp", { from: 2, index: 2, logTerm: 1, entries: [entryOf(3, 2)], commit: 4 });
  expect(node.raft.log.committed).toBe(3);
});

test("a term never falls, whatever a message says", () => {
  const node = new TestNode({ term: 4 });
  node.raw.campaign();
  expect(() => node.receive("MsgApp", { from: 2, term: 0 })).toThrow(RaftInvariantError);
  expect(node.raft.term).toBe(5);
});

describe("6: a stale read", () => {
  /** The answers to read requests so far. */
  const readsOf = (node: TestNode) => node.readies.flatMap(({ readStates }) => readStates);

  test("a leader that has committed nothing in its term keeps reads until it has", () => {
    const node = new TestNode({ log: [1], commit: 1 }).lead();
    node.settle();
    node.raw.readIndex("early");
    expect(briefly(node.settle())).toEqual([]);
    node.receive("MsgAppResp", { from: 2, index: 2 });
    const beats = node.settle().filter(({ type, to }) => type === "MsgHeartbeat" && to === 2);
    expect(beats).toHaveLength(1);
    node.receive("MsgHeartbeatResp", { from: 2, context: beats[0]!.context });
    node.settle();
    expect(readsOf(node)).toEqual([{ index: 2, requestContext: "early" }]);
  });

  test("the only voter waits, too: what it has stored of the commit index may be old", () => {
    const node = new TestNode({ voters: [1], log: [1, 1], commit: 0 });
    node.raw.campaign();
    node.storage.setHardState(node.raw.ready().hardState!);
    node.raw.advance();
    expect(node.raft.state).toBe("StateLeader");
    node.raw.readIndex("early");
    node.settle();
    expect(readsOf(node)).toEqual([{ index: 3, requestContext: "early" }]);
    node.raw.readIndex("later");
    node.settle();
    expect(readsOf(node).at(-1)).toEqual({ index: 3, requestContext: "later" });
  });

  test("answers to heartbeats from before a read do not confirm it, even when it is asked again", () => {
    const node = new TestNode().lead();
    node.settle();
    node.receive("MsgAppResp", { from: 2, index: 1 });
    node.settle();
    node.raw.readIndex("a");
    const [first] = node.settle().filter(({ type }) => type === "MsgHeartbeat");
    node.receive("MsgHeartbeatResp", { from: 2, context: first!.context });
    node.settle();
    expect(readsOf(node)).toEqual([{ index: 1, requestContext: "a" }]);
    node.raw.readIndex("a");
    const [second] = node.settle().filter(({ type }) => type === "MsgHeartbeat");
    node.receive("MsgHeartbeatResp", { from: 3, context: first!.context });
    node.settle();
    expect(readsOf(node)).toHaveLength(1);
    node.receive("MsgHeartbeatResp", { from: 3, context: second!.context });
    node.settle();
    expect(readsOf(node)).toHaveLength(2);
  });

  test("reads that wait when all others are removed are answered: there is nobody left to ask", () => {
    const node = new TestNode({ voters: [1, 2] }).lead();
    node.settle();
    node.receive("MsgAppResp", { from: 2, index: 1 });
    node.raw.readIndex("a");
    node.raw.readIndex("b");
    node.raw.proposeConfChange(change([remove(2)]));
    node.settle();
    expect(readsOf(node)).toEqual([]);
    node.receive("MsgAppResp", { from: 2, index: 2 });
    node.settle();
    expect(readsOf(node)).toEqual(["a", "b"].map((requestContext) => ({ index: 1, requestContext })));
  });

  test("reads are answered when the voter that had not confirmed them is removed", () => {
    const node = new TestNode({ voters: [1, 2, 3, 4] }).lead();
    node.receive("MsgVoteResp", { from: 3 });
    node.settle();
    for (const from of [2, 3]) node.receive("MsgAppResp", { from, index: 1 });
    node.settle();
    node.raw.readIndex("a");
    const beat = node.settle().find(({ type, to }) => type === "MsgHeartbeat" && to === 2)!;
    node.raw.proposeConfChange(change([remove(4)]));
    node.settle();
    node.receive("MsgHeartbeatResp", { from: 2, context: beat.context });
    node.receive("MsgAppResp", { from: 2, index: 2 });
    node.settle();
    expect(readsOf(node), "two of four").toEqual([]);
    node.receive("MsgAppResp", { from: 3, index: 2 });
    node.settle();
    expect(readsOf(node), "two of three").toEqual([{ index: 1, requestContext: "a" }]);
  });

  test("a leader that is out, and goes on, does not answer for the only voter that is left", () => {
    const node = new TestNode({ voters: [1, 2], stepDownOnRemoval: false }).lead();
    node.settle();
    node.receive("MsgAppResp", { from: 2, index: 1 });
    node.raw.proposeConfChange(change([remove(1)]));
    node.settle();
    node.receive("MsgAppResp", { from: 2, index: 2 });
    node.settle();
    expect(node.raft.state).toBe("StateLeader");
    node.raw.readIndex("a");
    const beat = node.settle().find(({ type }) => type === "MsgHeartbeat")!;
    expect(readsOf(node)).toEqual([]);
    node.receive("MsgHeartbeatResp", { from: 2, context: beat.context });
    node.settle();
    expect(readsOf(node)).toEqual([{ index: 2, requestContext: "a" }]);
  });

  test("a leader that steps down forgets the reads it was asked", () => {
    const node = new TestNode().lead();
    node.settle();
    node.receive("MsgAppResp", { from: 2, index: 1 });
    node.raw.readIndex("a");
    const [beat] = node.settle().filter(({ type, context }) => type === "MsgHeartbeat" && context !== "");
    node.receive("MsgApp", { from: 3, term: node.raft.term + 1 });
    node.lead();
    node.settle();
    node.receive("MsgAppResp", { from: 2, index: node.raft.log.lastIndex() });
    node.receive("MsgHeartbeatResp", { from: 2, context: beat!.context });
    node.settle();
    expect(readsOf(node)).toEqual([]);
  });
});

describe("7: two changes of one server that overlap (raft-dev, 2015)", () => {
  test("a new leader changes no membership before its own term has an applied entry", () => {
    const node = new TestNode({ log: [1] }).lead();
    node.settle();
    node.raw.proposeConfChange(change([add(4)]));
    node.settle();
    node.receive("MsgAppResp", { from: 2, index: 3 });
    node.settle();
    expect(node.applied.map(({ type }) => type)).toEqual(["EntryNormal", "EntryNormal", "EntryNormal"]);
    node.raw.proposeConfChange(change([add(4)]));
    node.settle();
    node.receive("MsgAppResp", { from: 2, index: 4 });
    node.settle();
    expect(node.raw.status().config.voters.incoming).toEqual(new Set([1, 2, 3, 4]));
  });

  test("a second change, before the first is applied, becomes an empty entry", () => {
    const node = new TestNode().lead();
    node.settle();
    node.receive("MsgAppResp", { from: 2, index: 1 });
    node.settle();
    node.raw.proposeConfChange(change([add(4)]));
    node.raw.proposeConfChange(change([add(5)]));
    node.settle();
    node.receive("MsgAppResp", { from: 2, index: 3 });
    node.receive("MsgAppResp", { from: 3, index: 3 });
    node.settle();
    expect(node.raw.status().config.voters.incoming).toEqual(new Set([1, 2, 3, 4]));
    expect(node.applied.at(-1)).toMatchObject({ index: 3, type: "EntryNormal", data: new Uint8Array() });
  });

  test("a change that could never be applied is not logged", () => {
    const node = new TestNode().lead();
    node.settle();
    node.receive("MsgAppResp", { from: 2, index: 1 });
    node.settle();
    node.raw.proposeConfChange(change([remove(1), remove(2), remove(3)]));
    node.settle();
    node.receive("MsgAppResp", { from: 2, index: 2 });
    node.settle();
    expect(node.applied.map(({ type }) => type)).toEqual(["EntryNormal", "EntryNormal"]);
  });
});

test("8: a candidate whose committed change of membership is not applied", () => {
  const node = new TestNode().follow(2);
  node.receive("MsgApp", { from: 2, entries: [changeEntry(1, 1, change([add(4)]))], commit: 1 });
  node.raw.campaign();
  expect(node.raft.state).toBe("StateFollower");
  node.settle();
  node.raw.campaign();
  expect(briefly(node.settle())).toEqual(["MsgVote->2 1/1", "MsgVote->3 1/1", "MsgVote->4 1/1"]);
});

test("9: a joint configuration that is never left, because the leader that entered it is gone", () => {
  const node = new TestNode().follow(2);
  const joint = changeEntry(1, 1, change([add(4), add(5)], "ConfChangeTransitionJointImplicit"));
  node.receive("MsgApp", { from: 2, entries: [joint], commit: 1 });
  node.settle();
  expect(node.raw.status().config).toMatchObject({ autoLeave: true });
  node.raw.campaign();
  node.settle();
  for (const from of [2, 3, 4]) node.receive("MsgVoteResp", { from });
  for (const index of [2, 3]) {
    node.settle();
    for (const from of [2, 3, 4]) node.receive("MsgAppResp", { from, index });
  }
  node.settle();
  const { voters, autoLeave } = node.raw.status().config;
  expect([voters, autoLeave]).toEqual([{ incoming: new Set([1, 2, 3, 4, 5]), outgoing: new Set() }, false]);
});

test("10: a learner that does not vote, though it is a voter by a change it has not got", () => {
  const node = new TestNode({ voters: [2, 3], learners: [1], ...protectedNode });
  expect(node.raft.isLearner).toBe(true);
  for (const type of ["MsgPreVote", "MsgVote"] as const) {
    node.receive(type, { from: 3, term: 2, logTerm: 1, index: 5 });
    expect(node.settle()).toMatchObject([{ type: `${type}Resp`, to: 3, reject: false, term: 2 }]);
  }
});

describe("11: pre-vote: nodes of lower and higher terms that ignore each other", () => {
  test("a pre-vote of a lower term is rejected with our term", () => {
    const node = new TestNode({ term: 5, ...protectedNode });
    node.receive("MsgPreVote", { from: 2, term: 3, logTerm: 2, index: 9 });
    expect(node.settle()).toMatchObject([{ type: "MsgPreVoteResp", to: 2, reject: true, term: 5 }]);
  });

  for (const type of ["MsgHeartbeat", "MsgApp"] as const)
    test(`a leader of a lower term is told ours when it sends ${type}`, () => {
      const node = new TestNode({ term: 5, ...protectedNode });
      node.receive(type, { from: 2, term: 3 });
      expect(node.settle()).toMatchObject([{ type: "MsgAppResp", to: 2, reject: false, term: 5, index: 0 }]);
    });
});

describe("12: a partition through which one node keeps all others from having a leader", () => {
  /** Lets time pass for all; `isCut` says which pairs do not hear each other. */
  const pass = (cluster: Cluster, ticks: number, isCut: (from: NodeId, to: NodeId) => boolean) => {
    for (let left = ticks; left > 0; left--) {
      for (const member of cluster.members) cluster.on(member, (raw) => raw.tick());
      for (let rounds = 0; rounds < 20; rounds++) {
        for (const member of cluster.members) cluster.processReady(member);
        for (const m of [...cluster.inFlight]) isCut(m.from, m.to) ? cluster.drop(m) : cluster.deliver(m);
      }
    }
  };
  const between =
    (one: NodeId, other: NodeId) =>
    (from: NodeId, to: NodeId): boolean =>
      (from === one && to === other) || (from === other && to === one);
  const led = (voters: readonly NodeId[]) => {
    const cluster = clusterOf(voters);
    cluster.on(cluster.member(1), (raw) => raw.campaign());
    cluster.settle();
    expect(cluster.leader()?.id).toBe(1);
    return { cluster, term: cluster.member(1).raw.raft.term };
  };

  test("both remedies are on unless they are turned off", () => {
    const { config } = clusterOf([1, 2, 3]).member(1).raw.raft;
    const { preVote, checkQuorum, stepDownOnRemoval } = new TestNode({ ...protectedNode }).raft.config;
    expect([config.preVote, config.checkQuorum, preVote, checkQuorum, stepDownOnRemoval]).toEqual(Array(5).fill(true));
  });

  test("a follower that hears all but the leader does not depose it", () => {
    const { cluster, term } = led([1, 2, 3]);
    pass(cluster, 20 * electionTicks, between(1, 3));
    expect(cluster.leader()).toMatchObject({ id: 1, raw: { raft: { term } } });
  });

  test("a node that was cut off comes back without a higher term", () => {
    const { cluster, term } = led([1, 2, 3]);
    pass(cluster, 20 * electionTicks, (from, to) => from === 3 || to === 3);
    expect(cluster.member(3).raw.raft.term).toBe(term);
    pass(cluster, 2 * electionTicks, () => false);
    expect(cluster.leader()).toMatchObject({ id: 1, raw: { raft: { term } } });
  });

  test("a leader whom nobody answers steps down, although its messages still arrive", () => {
    const { cluster, term } = led([1, 2, 3]);
    pass(cluster, 10 * electionTicks, (_, to) => to === 1);
    const leader = cluster.leader();
    expect(leader?.id).not.toBe(1);
    expect(leader?.raw.raft.term).toBeGreaterThan(term);
  });

  test("a bridge: five nodes that all hear only one", () => {
    const { cluster } = led([1, 2, 3, 4, 5]);
    pass(cluster, 20 * electionTicks, (from, to) => from !== 3 && to !== 3);
    expect(cluster.leader()?.id).toBe(3);
  });
});

test("13: the answer to a write, taken for that of a later one with equal entries (ABA)", () => {
  const node = new TestNode({ asyncStorageWrites: true, voters: [1, 2, 3, 4, 5] });
  const writeOf = () => node.raw.ready().messages.find(({ type }) => type === "MsgStorageAppend")!;
  const attestation = (write: ReturnType<typeof writeOf>) =>
    write.responses.find(({ type }) => type === "MsgStorageAppendResp")!;
  const append = (from: NodeId, term: number, entryTerm: number) => {
    node.receive("MsgApp", { from, term, entries: [entryOf(1, entryTerm)] });
    return writeOf();
  };
  const first = append(2, 1, 1);
  append(3, 2, 2);
  const third = append(2, 3, 1);
  // The first write is done. The second is not, and would put another entry there if it were believed.
  node.raw.step(attestation(first));
  expect(node.raft.log.unstable.length).toBe(1);
  node.storage.append(third.entries);
  node.raw.step(attestation(third));
  expect(node.raft.log.unstable.length).toBe(0);
});

describe("14: a snapshot and the membership", () => {
  test("a node that starts again has the membership of its snapshot", () => {
    const node = new TestNode({ voters: [2, 3], learners: [1] }).follow(2);
    node.receive("MsgSnap", { from: 2, snapshot: snapshotAt(7, 1, [1, 4, 5]) });
    node.settle();
    expect(node.raft.log.committed).toBe(7);
    expect(node.storage.initialState().confState.voters).toEqual([1, 4, 5]);
    expect(node.raw.status().config.voters.incoming).toEqual(new Set([1, 4, 5]));
  });

  test("a snapshot of what is committed already changes nothing", () => {
    const node = new TestNode({ log: [1, 1, 1], commit: 3 }).follow(2);
    node.receive("MsgSnap", { from: 2, snapshot: snapshotAt(2, 1, [1, 4, 5]) });
    expect(briefly(node.settle())).toEqual(["MsgAppResp->2 0/3"]);
    expect(node.raw.status().config.voters.incoming).toEqual(new Set([1, 2, 3]));
  });

  test("a snapshot of what is in the log only commits it", () => {
    const node = new TestNode({ log: [1, 1, 1], commit: 1 }).follow(2);
    node.receive("MsgSnap", { from: 2, snapshot: snapshotAt(2, 1, [1, 2, 3]) });
    node.settle();
    expect([node.raft.log.committed, node.log]).toEqual([2, [1, 1, 1]]);
  });

  test("a change that was handed out before a snapshot came is not made on top of it", () => {
    const node = new TestNode({ asyncStorageWrites: true });
    const made = change([add(4)]);
    const work = () => node.raw.ready().messages;
    node.receive("MsgApp", { from: 2, term: 1, entries: [changeEntry(1, 1, made)], commit: 1 });
    const [write] = work();
    node.storage.append(write!.entries);
    for (const m of write!.responses) if (m.to === 1) node.raw.step(m);
    expect(work().map(({ type }) => type)).toEqual(["MsgStorageApply"]);
    node.receive("MsgSnap", { from: 2, snapshot: snapshotAt(9, 1, [1, 2, 3]) });
    expect(node.raw.applyConfChange(made)).toBe("superseded");
    expect(node.raw.status().config.voters.incoming).toEqual(new Set([1, 2, 3]));
  });

  test("no snapshot is sent to whom it does not know", () => {
    const node = new TestNode({ learners: [4] }).lead();
    node.settle();
    node.receive("MsgAppResp", { from: 2, index: 1 });
    node.settle();
    node.storage.createSnapshot(1, { ...emptyConfState, voters: [1, 2, 3] }, new Uint8Array());
    node.storage.compact(1);
    node.receive("MsgAppResp", { from: 4, index: 0, reject: true, rejectHint: 0 });
    expect(briefly(node.settle())).toEqual([]);
  });
});

test("15: a follower that is thought to need a snapshot for ever, because the report of it was lost", () => {
  const node = new TestNode({ log: [1, 1, 1, 1], commit: 4 });
  node.settle();
  node.storage.createSnapshot(3, undefined, new Uint8Array());
  node.storage.compact(3);
  node.lead();
  node.settle();
  node.receive("MsgAppResp", { from: 2, index: 4, reject: true, rejectHint: 0 });
  expect(briefly(node.settle())).toEqual(["MsgSnap->2 0/0"]);
  // An older snapshot arrived by another way; it reaches into the log.
  node.receive("MsgAppResp", { from: 2, index: 3 });
  expect(node.raw.status().progress.get(2)).toMatchObject({ state: "StateReplicate", match: 3 });
  expect(briefly(node.settle())).toContain("MsgApp->2 1/3");
});

describe("16: a leader that waits for its disk and goes on believing that it leads", () => {
  test("its own copy counts only once it is durable", () => {
    const node = new TestNode({ asyncStorageWrites: true, voters: [1, 2] });
    node.raw.campaign();
    for (const { responses } of node.raw.ready().messages) for (const m of responses) node.raw.step(m);
    node.receive("MsgVoteResp", { from: 2 });
    const write = node.raw.ready().messages.find(({ type }) => type === "MsgStorageAppend")!;
    node.receive("MsgAppResp", { from: 2, index: 1 });
    expect(node.raft.log.committed).toBe(0);
    for (const m of write.responses) node.raw.step(m);
    expect(node.raft.log.committed).toBe(1);
  });

  test("it steps down unless a quorum answered within an election time-out", () => {
    const node = new TestNode(protectedNode);
    node.raw.campaign();
    node.settle();
    for (const type of ["MsgPreVoteResp", "MsgVoteResp"] as const) {
      node.receive(type, { from: 2, term: 1 });
      node.settle();
    }
    expect(node.raft.state).toBe("StateLeader");
    node.receive("MsgHeartbeatResp", { from: 2 });
    node.tick(10);
    expect(node.raft.state).toBe("StateLeader");
    node.tick(10);
    expect(node.raft.state).toBe("StateFollower");
  });
});

describe("17, 18: changes of membership that consensus allows, and production must not make", () => {
  const now = { ...emptyConfState, voters: [1, 2, 3], learners: [4] };
  for (const { it, voters, removed, changes, refused } of [
    { it: "a new id", changes: [add(5)], refused: undefined },
    { it: "an id that was removed", removed: [5], changes: [add(5)], refused: /never used again/ },
    { it: "a removed id as a learner", removed: [5], changes: [addLearner(5)], refused: /never used again/ },
    { it: "a learner made a voter", changes: [add(4)], refused: undefined },
    { it: "the removal of one of three", changes: [remove(3)], refused: /leave 2 voters/ },
    { it: "one of three demoted", changes: [addLearner(3)], refused: /leave 2 voters/ },
    { it: "one of three replaced", changes: [remove(3), add(4)], refused: undefined },
    { it: "growth from one to two", voters: [1], changes: [add(2)], refused: undefined },
    { it: "leaving a joint configuration", changes: [], refused: undefined },
  ] as { it: string; voters?: NodeId[]; removed?: NodeId[]; changes: ConfChangeSingle[]; refused?: RegExp }[])
    test(`${it} is ${refused === undefined ? "allowed" : "refused"}`, () => {
      const state = { ...now, voters: voters ?? now.voters };
      const why = whyUnsafe(state, new Set(removed), change(changes));
      if (refused === undefined) expect(why).toBeUndefined();
      else expect(why).toMatch(refused);
    });
});
