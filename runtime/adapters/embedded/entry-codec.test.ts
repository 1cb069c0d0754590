import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "vitest";
import {
  afterKey,
  afterPrefix,
  decodeKey,
  decodeRecord,
  decodeRevisions,
  encodeKey,
  encodeRecord,
  encodeRevisions,
  MAX_KEY_LENGTH,
} from "./entry-codec.ts";

// Units at every boundary of the encoding, lone surrogates among them.
const unit = fc.constantFrom(0, 1, 0x2d, 0x2e, 0x61, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xd83d, 0xde00, 0xe000, 0xffff);
const key = fc.array(unit, { maxLength: 6 }).map((units) => String.fromCharCode(...units));

test("encoded keys sort as the text does, and decode to it", () => {
  fc.assert(
    fc.property(key, key, (a, b) => {
      assert.equal(Math.sign(Buffer.compare(encodeKey(a), encodeKey(b))), a < b ? -1 : a > b ? 1 : 0);
      assert.equal(decodeKey(encodeKey(a)), a);
    }),
  );
});

test("what comes after a key or a prefix is bounded by them", () => {
  fc.assert(
    fc.property(key, key, (a, b) => {
      assert.equal(Buffer.compare(encodeKey(b), afterKey(a)) >= 0, b > a);
      const isWithin =
        Buffer.compare(encodeKey(b), encodeKey(a)) >= 0 && Buffer.compare(encodeKey(b), afterPrefix(a)) < 0;
      assert.equal(isWithin, b.startsWith(a));
    }),
  );
});

test("the longest key fits into LMDB's", () => {
  assert.ok(afterKey("\uffff".repeat(MAX_KEY_LENGTH)).length <= 1_978);
});

test("revisions are kept up to the largest", () => {
  const revisions = [2 ** 48 - 1, 2 ** 32, 2 ** 32 - 1, 256, 1];
  assert.deepEqual(decodeRevisions(encodeRevisions(revisions)), revisions);
  assert.deepEqual(decodeRevisions(encodeRevisions([])), []);
});

test("a record is its header and its value", () => {
  const text = fc.string({ unit: "binary" }); // any code point
  fc.assert(
    fc.property(text, text, text, fc.option(text, { nil: undefined }), (value, commit, hash, trace) => {
      const header = { commit, hash, ...(trace === undefined ? {} : { trace }) };
      const entry = decodeRecord("order.a", 7, encodeRecord(value, header));
      assert.deepEqual(entry, { key: "order.a", value, revision: 7, header });
    }),
  );
});
