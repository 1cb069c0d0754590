/** What bounds a leader's memory and its network, and how leadership is handed over. */
import { expect, test } from "vitest";
import { briefly, TestNode } from "./node.fixture.ts";

const ofBytes = (count: number) => new Uint8Array(count);

/** A leader whose follower 2 has everything so far. */
function replicating(config: ConstructorParameters<typeof TestNode>[0]): TestNode {
  const node = new TestNode(config).lead();
  node.settle();
  node.receive("MsgAppResp", { from: 2, index: 1 });
  node.settle();
  return node;
}

const toSecond = (node: TestNode) => node.settle().filter(({ to, type }) => to === 2 && type === "MsgApp");

for (const { it, config, sent } of [
  { it: "two messages", config: { maxInflightMessages: 2 }, sent: 2 },
  {
    it: "bytes, of which the last message may exceed it",
    config: { maxInflightBytes: 250, maxMessageBytes: 200 },
    sent: 3,
  },
])
  test(`no more is in flight than ${it}; an acknowledgement lets the rest out`, () => {
    const node = replicating(config);
    for (let left = 5; left > 0; left--) node.raw.propose(ofBytes(100));
    expect(toSecond(node)).toHaveLength(sent);
    node.receive("MsgAppResp", { from: 2, index: 1 + sent });
    const next = toSecond(node);
    expect(next[0]).toMatchObject({ index: 1 + sent });
    expect(next.flatMap(({ entries }) => entries.map(({ index }) => index))).toEqual([2, 3, 4, 5, 6].slice(sent));
  });

test("many proposals at once are one message", () => {
  const node = replicating({});
  node.raw.propose(ofBytes(1), ofBytes(2), ofBytes(3));
  expect(toSecond(node).map(({ entries }) => entries.length)).toEqual([3]);
});

test("proposals beyond the bytes that may be uncommitted are dropped, one alone never", () => {
  const node = replicating({ maxUncommittedBytes: 100 });
  expect(node.raw.propose(ofBytes(500))).toBe("stepped");
  expect(node.raw.propose(ofBytes(1))).toBe("proposalDropped");
  expect(node.raw.propose(ofBytes(0))).toBe("stepped");
  node.settle();
  node.receive("MsgAppResp", { from: 2, index: 3 });
  node.settle();
  expect(node.raw.propose(ofBytes(100))).toBe("stepped");
});

test("a change of membership that was dropped, for too much was uncommitted, is not taken for one under way", () => {
  const node = replicating({ maxUncommittedBytes: 100 });
  const change = { kind: "v1", type: "ConfChangeAddLearnerNode", nodeId: 4, context: "" } as const;
  node.raw.propose(ofBytes(500));
  expect(node.raw.proposeConfChange(change)).toBe("proposalDropped");
  node.settle();
  node.receive("MsgAppResp", { from: 2, index: 2 });
  node.settle();
  expect(node.raw.proposeConfChange(change)).toBe("stepped");
  expect(node.raft.log.entries(3, 1_000)).toMatchObject([{ index: 3, type: "EntryConfChange" }]);
});

test("committed entries are handed out up to their bytes, and more once those are applied", () => {
  const node = replicating({ maxCommittedBytes: 250 });
  node.readies.length = 0;
  node.raw.propose(...Array.from({ length: 5 }, () => ofBytes(100)));
  node.settle();
  node.receive("MsgAppResp", { from: 2, index: 6 });
  node.settle();
  expect(node.readies.map(({ committedEntries }) => committedEntries.length).filter((count) => count > 0)).toEqual([
    2, 2, 1,
  ]);
});

test("leadership goes to a follower that has all, at once; until then nothing is taken", () => {
  const node = replicating({});
  node.raw.transferLeader(2);
  expect(briefly(node.settle())).toEqual(["MsgTimeoutNow->2 0/0"]);
  expect(node.raw.propose(ofBytes(1))).toBe("proposalDropped");
  node.tick(10);
  expect(node.raw.propose(ofBytes(1))).toBe("stepped");
});

test("a node that is told to take over does so without a pre-vote, and is voted for although there is a leader", () => {
  const config = { preVote: true, checkQuorum: true };
  const heir = new TestNode(config).follow(2);
  heir.receive("MsgTimeoutNow", { from: 2 });
  const [request] = heir.settle();
  expect(request).toMatchObject({ type: "MsgVote", to: 2, term: 2 });
  const voter = new TestNode({ ...config, id: 3 }).follow(2);
  voter.raw.step({ ...request!, to: 3 });
  expect(briefly(voter.settle())).toEqual(["MsgVoteResp->1 0/0"]);
});

test("a follower passes proposals on, unless its leader must be the one who makes them", () => {
  const follower = new TestNode().follow(2);
  expect(follower.raw.propose(ofBytes(1))).toBe("stepped");
  expect(briefly(follower.settle())).toEqual(["MsgProp->2 0/0"]);
  expect(new TestNode({ disableProposalForwarding: true }).follow(2).raw.propose(ofBytes(1))).toBe("proposalDropped");
  expect(new TestNode().raw.propose(ofBytes(1))).toBe("proposalDropped");
});

test("a node takes no local messages from others, and no answers from strangers", () => {
  const node = replicating({});
  const m = node.settle();
  expect(m).toEqual([]);
  const base = { entries: [], logTerm: 0, index: 0, commit: 0, vote: 0, snapshot: undefined, reject: false };
  const rest = { ...base, rejectHint: 0, context: "", responses: [], term: 1, to: 1 };
  expect(node.raw.step({ ...rest, type: "MsgHup", from: 2 })).toBe("localMessage");
  expect(node.raw.step({ ...rest, type: "MsgAppResp", from: 9 })).toBe("unknownPeer");
});
