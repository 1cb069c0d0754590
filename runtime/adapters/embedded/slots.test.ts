import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "vitest";
import { latestSlot, slotsForWrite, usedSlots } from "./slots.ts";

test("the latest revisions are kept, at any depth, and slot 0 is never empty", () => {
  const depths = fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 30 });
  fc.assert(
    fc.property(depths, fc.integer({ min: 0, max: 3 }), (writes, spareSlots) => {
      let revisions: number[] = [];
      let expected: number[] = [];
      for (const [index, depth] of writes.entries()) {
        const revision = index + 1;
        const { slot, removed } = slotsForWrite(revisions, depth);
        assert.ok(!removed.includes(slot) && !removed.includes(0));
        for (const old of removed) revisions[old] = 0;
        revisions[slot] = revision;
        expected = [...expected, revision].slice(-depth);

        const kept = usedSlots(revisions).map((used) => revisions[used]!);
        assert.deepEqual(
          kept.sort((a, b) => a - b),
          expected,
        );
        assert.equal(latestSlot(revisions), slot);
        assert.notEqual(revisions[0], 0);
        // What a later opening reads has an entry for every slot of the store.
        if (index % 4 === 3) revisions = Array.from({ length: 5 + spareSlots }, (_, at) => revisions[at] ?? 0);
      }
    }),
  );
  assert.equal(latestSlot([]), -1);
});
