/**
 * The rules of "In Search of an Understandable Consensus Algorithm" (Ongaro and Ousterhout), section by section, as
 * etcd's raft_paper_test.go has them.
 */
import { describe, expect, test } from "vitest";
import type { Message, RaftState } from "./messages.ts";
import { briefly, entryOf, TestNode } from "./node.fixture.ts";

const become: Record<"follower" | "candidate" | "leader", (node: TestNode) => void> = {
  follower: (node) => node.follow(2),
  candidate: (node) => {
    node.raw.campaign();
    node.settle();
  },
  leader: (node) => {
    node.lead();
    node.settle();
  },
};
const states = Object.keys(become) as (keyof typeof become)[];

describe("5.1: terms", () => {
  for (const state of states)
    test(`a ${state} that hears a higher term adopts it and follows`, () => {
      const node = new TestNode();
      become[state](node);
      node.receive("MsgApp", { from: 3, term: 2 });
      expect(node.raft).toMatchObject({ term: 2, state: "StateFollower", lead: 3 });
    });

  for (const state of states)
    test(`a ${state} ignores a message of a lower term`, () => {
      const node = new TestNode({ term: 4 });
      become[state](node);
      const before = node.raft.softState();
      node.settle();
      node.receive("MsgApp", { from: 2, term: 1, entries: [entryOf(1, 1)], commit: 1 });
      expect(node.settle()).toEqual([]);
      expect(node.raft.softState()).toEqual(before);
    });
});

describe("5.2: election", () => {
  test("a node starts as a follower", () => {
    expect(new TestNode().raft.state).toBe("StateFollower");
  });

  test("a leader sends heartbeats, which hold no entries, in each interval", () => {
    const node = new TestNode({ heartbeatTicks: 2 }).lead();
    node.settle();
    node.tick();
    expect(node.settle()).toEqual([]);
    node.tick();
    const sent = node.settle();
    expect(briefly(sent)).toEqual(["MsgHeartbeat->2 0/0", "MsgHeartbeat->3 0/0"]);
    expect(sent.every(({ entries }) => entries.length === 0)).toBe(true);
  });

  for (const state of ["follower", "candidate"] as const)
    test(`a ${state} whose time is over begins an election: next term, own vote, requests to all others`, () => {
      const node = new TestNode();
      become[state](node);
      const { term } = node.raft;
      node.tick(9);
      expect(node.raft.term).toBe(term);
      node.tick(1);
      expect(node.raft).toMatchObject({ state: "StateCandidate", term: term + 1, vote: 1 });
      expect(briefly(node.settle())).toEqual(["MsgVote->2 0/0", "MsgVote->3 0/0"]);
    });

  const elections: { size: number; votes: Record<number, boolean>; state: RaftState }[] = [
    { size: 1, votes: {}, state: "StateLeader" },
    { size: 3, votes: { 2: true, 3: true }, state: "StateLeader" },
    { size: 3, votes: { 2: true }, state: "StateLeader" },
    { size: 5, votes: { 2: true, 3: true, 4: true, 5: true }, state: "StateLeader" },
    { size: 5, votes: { 2: true, 3: true, 4: true }, state: "StateLeader" },
    { size: 5, votes: { 2: true, 3: true }, state: "StateLeader" },
    { size: 3, votes: { 2: false, 3: false }, state: "StateFollower" },
    { size: 5, votes: { 2: false, 3: false, 4: false, 5: false }, state: "StateFollower" },
    { size: 5, votes: { 2: true, 3: false, 4: false, 5: false }, state: "StateFollower" },
    { size: 3, votes: {}, state: "StateCandidate" },
    { size: 5, votes: { 2: true }, state: "StateCandidate" },
    { size: 5, votes: { 2: false, 3: false }, state: "StateCandidate" },
  ];
  for (const { size, votes, state } of elections)
    test(`of ${size}, votes ${JSON.stringify(votes)} make a ${state}`, () => {
      const node = new TestNode({ voters: Array.from({ length: size }, (_, place) => place + 1) });
      become.candidate(node);
      for (const [from, granted] of Object.entries(votes))
        node.receive("MsgVoteResp", { from: Number(from), reject: !granted });
      expect(node.raft).toMatchObject({ state, term: 1 });
    });

  for (const { vote, asks, granted } of [
    { vote: 0, asks: 2, granted: true },
    { vote: 0, asks: 3, granted: true },
    { vote: 2, asks: 2, granted: true },
    { vote: 3, asks: 3, granted: true },
    { vote: 2, asks: 3, granted: false },
    { vote: 3, asks: 2, granted: false },
  ])
    test(`a follower that voted for ${vote} in this term ${granted ? "votes" : "does not vote"} for ${asks}`, () => {
      const node = new TestNode({ term: 1, vote });
      node.receive("MsgVote", { from: asks });
      expect(briefly(node.settle())).toEqual([`MsgVoteResp->${asks} 0/0${granted ? "" : " rejected"}`]);
    });

  for (const term of [1, 2])
    test(`a candidate of term 1 that hears a leader of term ${term} follows it`, () => {
      const node = new TestNode();
      become.candidate(node);
      node.receive("MsgApp", { from: 2, term });
      expect(node.raft).toMatchObject({ state: "StateFollower", term, lead: 2 });
    });

  for (const state of ["follower", "candidate"] as const)
    test(`the time-out of a ${state} is drawn anew for each term`, () => {
      let drawn = 0;
      const node = new TestNode({ randomElectionTicks: () => 10 + drawn++ });
      become[state](node);
      const before = node.raft.randomElectionTicks;
      node.tick(before);
      expect(node.raft.randomElectionTicks).toBeGreaterThan(before);
    });
});

describe("5.3: replication", () => {
  test("a leader appends a proposal, and sends it with what precedes it", () => {
    const node = new TestNode().lead();
    node.settle();
    for (const from of [2, 3]) node.receive("MsgAppResp", { from, index: 1 });
    node.settle();
    node.raw.propose(new Uint8Array([1]));
    const sent = node.settle();
    expect(briefly(sent)).toEqual(["MsgApp->2 1/1", "MsgApp->3 1/1"]);
    expect(sent.map(({ entries, commit }) => [entries.map(({ index, term }) => `${term}/${index}`), commit])).toEqual([
      [["1/2"], 1],
      [["1/2"], 1],
    ]);
  });

  test("a leader commits what a majority has, applies it, and tells the others with the next message", () => {
    const node = new TestNode().lead();
    node.settle();
    node.receive("MsgAppResp", { from: 2, index: 1 });
    node.settle();
    node.raw.propose(new Uint8Array([1]));
    node.settle();
    node.receive("MsgAppResp", { from: 2, index: 2 });
    const sent = node.settle();
    expect(node.raft.log.committed).toBe(2);
    expect(node.applied.map(({ index }) => index)).toEqual([1, 2]);
    expect(sent.filter(({ to }) => to === 2).map(({ type, commit }) => [type, commit])).toEqual([["MsgApp", 2]]);
  });

  for (const { size, acks, commits } of [
    { size: 1, acks: [], commits: true },
    { size: 3, acks: [], commits: false },
    { size: 3, acks: [2], commits: true },
    { size: 3, acks: [2, 3], commits: true },
    { size: 5, acks: [2], commits: false },
    { size: 5, acks: [2, 3], commits: true },
    { size: 5, acks: [2, 3, 4, 5], commits: true },
  ])
    test(`of ${size}, acknowledgements of ${JSON.stringify(acks)} ${commits ? "commit" : "do not commit"}`, () => {
      const node = new TestNode({ voters: Array.from({ length: size }, (_, place) => place + 1) });
      become.candidate(node);
      for (let from = 2; from <= size; from++) node.receive("MsgVoteResp", { from });
      node.settle();
      for (const from of acks) node.receive("MsgAppResp", { from, index: 1 });
      expect(node.raft.log.committed).toBe(commits ? 1 : 0);
    });

  for (const log of [[], [2], [1, 2], [1]])
    test(`an entry of its own commits all before it: ${JSON.stringify(log)}`, () => {
      const node = new TestNode({ log, term: 2 }).lead();
      node.settle();
      node.receive("MsgAppResp", { from: 2, index: log.length + 1 });
      node.settle();
      expect(node.applied.map(({ term }) => term)).toEqual([...log, 3]);
    });

  for (const commit of [1, 2, 3])
    test(`a follower applies what the leader says is committed, in order: ${commit}`, () => {
      const node = new TestNode().follow(2);
      node.receive("MsgApp", { from: 2, entries: [entryOf(1, 1), entryOf(2, 1), entryOf(3, 1)], commit });
      node.settle();
      expect(node.applied.map(({ index }) => index)).toEqual([1, 2, 3].slice(0, commit));
    });

  for (const { previous, answer } of [
    { previous: [0, 0], answer: "MsgAppResp->2 0/1" },
    { previous: [1, 1], answer: "MsgAppResp->2 0/1" },
    { previous: [2, 2], answer: "MsgAppResp->2 0/2" },
    { previous: [1, 2], answer: "MsgAppResp->2 1/2 rejected" },
    { previous: [3, 3], answer: "MsgAppResp->2 2/3 rejected" },
  ])
    test(`a follower with 1/1 (committed) and 2/2 checks that ${previous.join("/")} precedes`, () => {
      const node = new TestNode({ log: [1, 2], commit: 1 }).follow(2);
      const [logTerm, index] = previous;
      node.receive("MsgApp", { from: 2, logTerm: logTerm!, index: index! });
      expect(briefly(node.settle())).toEqual([answer]);
    });

  for (const { index, logTerm, entries, log, stored } of [
    { index: 2, logTerm: 2, entries: [3], log: [1, 2, 3], stored: [3] },
    { index: 1, logTerm: 1, entries: [3, 4], log: [1, 3, 4], stored: [3, 4] },
    { index: 0, logTerm: 0, entries: [1], log: [1, 2], stored: [] },
    { index: 0, logTerm: 0, entries: [3], log: [3], stored: [3] },
  ])
    test(`a follower with 1, 2 that gets ${entries} after ${index} has ${log}`, () => {
      const node = new TestNode({ log: [1, 2], term: 4 }).follow(2);
      node.readies.length = 0;
      node.receive("MsgApp", {
        from: 2,
        index,
        logTerm,
        entries: entries.map((term, at) => entryOf(index + at + 1, term)),
      });
      node.settle();
      expect(node.log).toEqual(log);
      expect(node.readies.flatMap((ready) => ready.entries.map(({ term }) => term))).toEqual(stored);
    });

  // Figure 7 of the paper: what followers may look like when a leader of term 8 comes to power.
  const leader = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
  for (const [name, log] of Object.entries({
    a: [1, 1, 1, 4, 4, 5, 5, 6, 6],
    b: [1, 1, 1, 4],
    c: [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
    d: [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
    e: [1, 1, 1, 4, 4, 4, 4],
    f: [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
  }))
    test(`a leader brings follower (${name}) of figure 7 to its own log, in few rounds`, () => {
      const first = new TestNode({ log: leader, term: 7 });
      const second = new TestNode({ id: 2, log, term: 7 });
      const nodes = [first, second];
      first.raw.campaign();
      let inFlight: Message[] = first.settle();
      first.receive("MsgVoteResp", { from: 3 });
      inFlight.push(...first.settle());
      let rounds = 0;
      for (; inFlight.length > 0 && rounds < 20; rounds++) {
        for (const m of inFlight) if (m.to !== 3) nodes[m.to - 1]!.raw.step(m);
        inFlight = nodes.flatMap((node) => node.settle());
      }
      expect(second.log).toEqual([...leader, 8]);
      expect(rounds).toBeLessThan(10);
    });
});

describe("5.4: safety", () => {
  test("a request for a vote names the last entry of the candidate's log", () => {
    for (const [log, last] of [
      [[1], "1/1"],
      [[1, 2], "2/2"],
    ] as const) {
      const node = new TestNode({ log });
      become.candidate(node);
      node.tick(10);
      expect(briefly(node.settle())).toEqual([`MsgVote->2 ${last}`, `MsgVote->3 ${last}`]);
    }
  });

  for (const { log, asks, granted } of [
    { log: [1], asks: [1, 1], granted: true },
    { log: [1], asks: [1, 2], granted: true },
    { log: [1, 1], asks: [1, 1], granted: false },
    { log: [1], asks: [2, 1], granted: true },
    { log: [1], asks: [2, 2], granted: true },
    { log: [1, 1], asks: [2, 1], granted: true },
    { log: [2], asks: [1, 1], granted: false },
    { log: [2], asks: [1, 2], granted: false },
    { log: [1, 2], asks: [1, 1], granted: false },
  ])
    test(`a voter with ${log} ${granted ? "votes" : "does not vote"} for a log that ends with ${asks.join("/")}`, () => {
      const node = new TestNode({ log });
      const [logTerm, index] = asks;
      node.receive("MsgVote", { from: 2, term: 3, logTerm: logTerm!, index: index! });
      expect(briefly(node.settle())).toEqual([`MsgVoteResp->2 0/0${granted ? "" : " rejected"}`]);
    });

  for (const { acknowledged, committed } of [
    { acknowledged: 1, committed: 0 },
    { acknowledged: 2, committed: 0 },
    { acknowledged: 3, committed: 3 },
  ])
    test(`a leader of term 3 with 1, 2 commits ${committed} when a majority has ${acknowledged}`, () => {
      const node = new TestNode({ log: [1, 2] }).lead();
      node.settle();
      node.receive("MsgAppResp", { from: 2, index: acknowledged });
      expect(node.raft.log.committed).toBe(committed);
    });
});
