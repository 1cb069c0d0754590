import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { UnknownLeaseEntry } from "../../lease/entry.ts";
import { emptyConfState, type Message, message } from "../../raft/messages.ts";
import { decodeFrame, encodeFrame, type Frame, UnreadableFrame } from "./wire.ts";

const seed = Number(process.env.SEED ?? 20_260_101);
const whole = fc.maxSafeNat();
const id = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });
const data = fc.uint8Array({ maxLength: 40 });
const metadata = fc.record({
  index: whole,
  term: whole,
  confState: fc.record({
    voters: fc.array(whole),
    learners: fc.array(whole),
    votersOutgoing: fc.array(whole),
    learnersNext: fc.array(whole),
    autoLeave: fc.boolean(),
  }),
});
const entry = fc.record({
  type: fc.constantFrom("EntryNormal" as const, "EntryConfChange" as const, "EntryConfChangeV2" as const),
  term: whole,
  index: whole,
  data,
});
const raftMessage: fc.Arbitrary<Message> = fc
  .record({
    type: fc.constantFrom("MsgApp" as const, "MsgVoteResp" as const, "MsgSnap" as const, "MsgTimeoutNow" as const),
    to: id,
    from: id,
    term: id,
    logTerm: whole,
    index: whole,
    commit: whole,
    rejectHint: whole,
    reject: fc.boolean(),
    context: fc.string(),
    entries: fc.array(entry, { maxLength: 4 }),
    snapshot: fc.option(fc.record({ metadata, data }), { nil: undefined }),
  })
  .map((fields) =>
    message(fields.type === "MsgSnap" && fields.snapshot === undefined ? { ...fields, type: "MsgApp" } : fields),
  );
const frame: fc.Arbitrary<Frame> = fc.oneof(
  fc.record({ kind: fc.constant("raft" as const), message: raftMessage }),
  fc.record({ kind: fc.constant("repair" as const), neededIndex: whole }),
  fc.record({ kind: fc.constant("repaired" as const), snapshot: fc.record({ metadata, data }) }),
  fc.record({ kind: fc.constant("foreign" as const), reason: fc.string() }),
  fc.record({ kind: fc.constant("refused" as const), ask: fc.string(), reason: fc.string() }),
  fc.record({
    kind: fc.constant("manage" as const),
    ask: fc.string(),
    wish: fc.oneof(
      fc.record({ kind: fc.constantFrom("remove" as const, "transfer" as const), id: fc.nat() }),
      fc.record({ kind: fc.constant("add" as const), id: fc.nat(), address: fc.string(), replaces: fc.nat() }),
      fc.record({ kind: fc.constant("announce" as const), id: fc.nat(), address: fc.string(), life: fc.string() }),
    ),
  }),
  fc.record({
    kind: fc.constant("ask" as const),
    renewals: fc.array(
      fc.record({ session: fc.string(), beat: whole, attributes: fc.constantFrom(undefined, { draining: true }) }),
    ),
    requests: fc.array(fc.record({ kind: fc.constant("close" as const), session: fc.string() })),
  }),
);

test(`frames are read as they were written (seed ${seed})`, () => {
  fc.assert(
    fc.property(frame, (sent) => {
      expect(decodeFrame(encodeFrame(sent))).toEqual(sent);
    }),
    { seed, numRuns: 500 },
  );
});

test(`a frame that was cut, spoiled or made up is read, or refused as unreadable, and nothing else (seed ${seed})`, () => {
  const read = (bytes: Uint8Array) => {
    try {
      decodeFrame(bytes);
    } catch (error) {
      if (!(error instanceof UnreadableFrame || error instanceof UnknownLeaseEntry)) throw error;
    }
  };
  fc.assert(
    fc.property(frame, fc.nat(), fc.nat(255), (sent, place, byte) => {
      const bytes = encodeFrame(sent);
      read(bytes.slice(0, place % bytes.length));
      bytes[place % bytes.length] = byte;
      read(bytes);
    }),
    { seed, numRuns: 500 },
  );
  fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), read), { seed, numRuns: 500 });
});

describe("what no member may say to another", () => {
  const plain = message({ type: "MsgApp", to: 1, from: 2, term: 1 });
  const wrong: readonly [string, Message][] = [
    ["an order of a node to its own disk", { ...plain, type: "MsgStorageAppend" }],
    ["a call to stand for election", { ...plain, type: "MsgHup" }],
    ["a term below nothing", { ...plain, term: -1 }],
    ["an append of no term", { ...plain, term: 0 }],
    ["a proposal of a term", { ...plain, type: "MsgProp" }],
    ["a snapshot that is not there", { ...plain, type: "MsgSnap" }],
    ["half an index", { ...plain, index: 0.5 }],
    [
      "a membership of no numbers",
      {
        ...plain,
        snapshot: {
          data: new Uint8Array(),
          metadata: { index: 1, term: 1, confState: { ...emptyConfState, voters: [Number.NaN] } },
        },
      },
    ],
  ];
  test.each(wrong)("%s", (_, sent) => {
    expect(() => decodeFrame(encodeFrame({ kind: "raft", message: sent }))).toThrow(UnreadableFrame);
  });
});
