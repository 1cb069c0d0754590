import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeConfChange, encodeConfChange, UnreadableConfChange } from "./conf-change.ts";
import type { ConfChange, EntryType } from "./messages.ts";
import { type Joint, jointCommitted, jointVote } from "./quorum.ts";

const ids = fc.uniqueArray(fc.integer({ min: 1, max: 6 }), { maxLength: 6 }).map((each) => new Set(each));
const joint: fc.Arbitrary<Joint> = fc.record({ incoming: ids, outgoing: ids });
const perVoter = <T>(value: fc.Arbitrary<T>) => fc.dictionary(fc.constantFrom("1", "2", "3", "4", "5", "6"), value);

/** Whether more than half of a half agree; an empty half agrees. */
const agrees = (half: ReadonlySet<number>, says: (id: number) => boolean) =>
  half.size === 0 || [...half].filter(says).length > half.size / 2;
const bothAgree = ({ incoming, outgoing }: Joint, says: (id: number) => boolean) =>
  agrees(incoming, says) && agrees(outgoing, says);

test("an index is committed when a majority of both halves has it, and no higher one is", () => {
  fc.assert(
    fc.property(joint, perVoter(fc.integer({ min: 0, max: 9 })), (voters, acked) => {
      const reached = (index: number) => bothAgree(voters, (id) => (acked[id] ?? 0) >= index);
      const expected = [9, 8, 7, 6, 5, 4, 3, 2, 1, 0].find(reached);
      const isEmpty = voters.incoming.size + voters.outgoing.size === 0;
      expect(jointCommitted(voters, (id) => acked[id])).toBe(isEmpty ? Number.POSITIVE_INFINITY : expected);
    }),
  );
});

test("an election is won when both halves grant it, lost when one cannot any more, and else open", () => {
  fc.assert(
    fc.property(joint, perVoter(fc.boolean()), (voters, said) => {
      const won = bothAgree(voters, (id) => said[id] === true);
      const possible = bothAgree(voters, (id) => said[id] !== false);
      const votes = new Map(Object.entries(said).map(([id, vote]) => [Number(id), vote]));
      expect(jointVote(voters, votes)).toBe(won ? "VoteWon" : possible ? "VotePending" : "VoteLost");
    }),
  );
});

const single = fc.record({
  type: fc.constantFrom("ConfChangeAddNode" as const, "ConfChangeAddLearnerNode", "ConfChangeRemoveNode"),
  nodeId: fc.maxSafeNat(),
});
const changes: fc.Arbitrary<ConfChange> = fc.oneof(
  fc.record({
    kind: fc.constant("v2" as const),
    transition: fc.constantFrom("ConfChangeTransitionAuto" as const, "ConfChangeTransitionJointExplicit"),
    changes: fc.array(single),
    context: fc.string(),
  }),
  fc.tuple(single, fc.string()).map(([change, context]) => ({ kind: "v1" as const, ...change, context })),
);

test("a change of membership comes out of the log as it went in", () => {
  fc.assert(
    fc.property(changes, (change) => {
      const { type, data } = encodeConfChange(change);
      expect(decodeConfChange(type, data)).toEqual(change);
    }),
  );
});

for (const [type, text] of [
  ["EntryConfChange", ""],
  ["EntryConfChange", '{"changes":"v1 v2"}'],
  ["EntryConfChangeV2", "{"],
  ["EntryConfChangeV2", "null"],
  ["EntryConfChangeV2", '{"changes":"x1","transition":"ConfChangeTransitionAuto"}'],
  ["EntryConfChangeV2", '{"changes":"v-1","transition":"ConfChangeTransitionAuto"}'],
  ["EntryConfChangeV2", '{"changes":"v1","transition":"Never"}'],
  ["EntryConfChangeV2", '{"changes":1,"transition":"ConfChangeTransitionAuto"}'],
] as [EntryType, string][])
  test(`${type} ${text} is refused by name`, () => {
    expect(() => decodeConfChange(type, new TextEncoder().encode(text))).toThrow(UnreadableConfChange);
  });
