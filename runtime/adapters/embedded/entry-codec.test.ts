import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "vitest";
import {
  afterKey,
  afterPrefix,
  decodeRecord,
  encodeRecord,
  keyOfRecord,
  MAX_KEY_LENGTH,
  recordKeyOf,
  revisionOfRecord,
} from "./entry-codec.ts";

// Units at every boundary of the encoding, lone surrogates among them.
const unit = fc.constantFrom(0, 1, 0x2d, 0x2e, 0x61, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xd83d, 0xde00, 0xe000, 0xffff);
const key = fc.array(unit, { maxLength: 6 }).map((units) => String.fromCharCode(...units));

test("encoded keys sort as the text does, and decode to it", () => {
  fc.assert(
    fc.property(key, key, (a, b) => {
      assert.equal(Math.sign(Buffer.compare(recordKeyOf(a), recordKeyOf(b))), a < b ? -1 : a > b ? 1 : 0);
      assert.equal(keyOfRecord(recordKeyOf(a)), a);
    }),
  );
});

test("what comes after a key or a prefix is bounded by them", () => {
  fc.assert(
    fc.property(key, key, (a, b) => {
      assert.equal(Buffer.compare(recordKeyOf(b), afterKey(a)) >= 0, b > a);
      const isWithin =
        Buffer.compare(recordKeyOf(b), recordKeyOf(a)) >= 0 && Buffer.compare(recordKeyOf(b), afterPrefix(a)) < 0;
      assert.equal(isWithin, b.startsWith(a));
    }),
  );
});

test("the longest key fits into LMDB's", () => {
  assert.ok(afterKey("\uffff".repeat(MAX_KEY_LENGTH)).length <= 1_978);
});

test("a record is its header and its value", () => {
  const text = fc.string({ unit: "binary" }); // any code point
  fc.assert(
    fc.property(
      text,
      text,
      text,
      fc.option(text, { nil: undefined }),
      fc.maxSafeNat(),
      (value, commit, hash, trace, revision) => {
        const header = { commit, hash, ...(trace === undefined ? {} : { trace }) };
        const record = encodeRecord(value, revision, header);
        assert.deepEqual(decodeRecord("order.a", record), { key: "order.a", value, revision, header });
        assert.equal(revisionOfRecord(record), revision);
      },
    ),
  );
});

test("bytes that are not a record are refused", () => {
  for (const bytes of ["", "{}\n{}", '["c","h"]\n{}', "\0\0\0\0"]) {
    assert.throws(() => decodeRecord("order.a", Buffer.from(bytes)));
    assert.throws(() => revisionOfRecord(Buffer.from(bytes)));
  }
});
