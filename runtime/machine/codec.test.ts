/** The codec's promise: what is accepted comes back exactly, through JSON text; all else is refused, with its path. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import vm from "node:vm";
import fc from "fast-check";
import { test } from "vitest";
import {
  DamagedValueError,
  decodeValue,
  encodeValue,
  type Json,
  LiveTable,
  maxNesting,
  NotStorableError,
  type RefTag,
} from "./codec.ts";

const encode = (value: unknown) => encodeValue(value, { path: "context" });
const throughText = (json: Json) => JSON.parse(JSON.stringify(json)) as Json;

class Cart {
  readonly items = [1];
}
class StaleError extends Error {
  override readonly name = "StaleError";
}

const tags: { it: string; value: unknown; json: Json }[] = [
  { it: "a date", value: new Date(0), json: { "@date": "1970-01-01T00:00:00.000Z" } },
  { it: "the latest date", value: new Date(8.64e15), json: { "@date": "+275760-09-13T00:00:00.000Z" } },
  { it: "a map", value: new Map<unknown, unknown>([["a", 1n]]), json: { "@map": [["a", { "@bigint": "1" }]] } },
  { it: "an empty map", value: new Map(), json: { "@map": [] } },
  { it: "a set", value: new Set([1, "b"]), json: { "@set": [1, "b"] } },
  { it: "a negative bigint", value: -12n, json: { "@bigint": "-12" } },
  { it: "undefined", value: undefined, json: { "@undefined": true } },
  { it: "undefined in an object", value: { a: undefined }, json: { a: { "@undefined": true } } },
  { it: "undefined in an array", value: [undefined, 1], json: [{ "@undefined": true }, 1] },
  { it: "NaN", value: Number.NaN, json: { "@number": "NaN" } },
  { it: "Infinity", value: Number.POSITIVE_INFINITY, json: { "@number": "Infinity" } },
  { it: "-Infinity", value: Number.NEGATIVE_INFINITY, json: { "@number": "-Infinity" } },
  { it: "-0", value: -0, json: { "@number": "-0" } },
  { it: "0 without a tag", value: 0, json: 0 },
  { it: "bytes", value: new Uint8Array([0, 255]), json: { "@bytes": "AP8=" } },
  { it: "no bytes", value: new Uint8Array(), json: { "@bytes": "" } },
  { it: "a part of a buffer", value: new Uint8Array([1, 2, 3]).subarray(1, 2), json: { "@bytes": "Ag==" } },
  { it: "an expression", value: /a\/b/gi, json: { "@regexp": ["a\\/b", "gi"] } },
  { it: "an error", value: new Error("no"), json: { "@error": { name: "Error", message: "no" } } },
  { it: "a built-in error", value: new TypeError("no"), json: { "@error": { name: "TypeError", message: "no" } } },
  {
    it: "an error with a cause and properties",
    value: Object.assign(new RangeError("no", { cause: 1n }), { code: "E1" }),
    json: { "@error": { name: "RangeError", message: "no", cause: { "@bigint": "1" }, code: "E1" } },
  },
  {
    it: "an error of errors",
    value: new AggregateError([new Error("a")], "all"),
    json: {
      "@error": { name: "AggregateError", message: "all", errors: [{ "@error": { name: "Error", message: "a" } }] },
    },
  },
  { it: "a key with @", value: { "@date": "no" }, json: { "@@date": "no" } },
  { it: "keys with @@ beside others", value: { a: 1, "@@": 2, "@": 3 }, json: { a: 1, "@@@": 2, "@@": 3 } },
  { it: "@ inside a key and a text, untouched", value: { "a@b": "@date" }, json: { "a@b": "@date" } },
];

for (const { it, value, json } of tags)
  test(`the codec keeps ${it}`, () => {
    assert.deepEqual(encode(value), json);
    assert.deepEqual(decodeValue(throughText(json)), value);
  });

test("the codec keeps an invalid date", () => {
  const json = encode(new Date(Number.NaN));
  assert.deepEqual(json, { "@date": "invalid" });
  const decoded = decodeValue(json);
  assert.ok(decoded instanceof Date && Number.isNaN(decoded.getTime()));
});

test("the codec keeps a URL", () => {
  const json = encode(new URL("https://a.b/c?d=1#e"));
  assert.deepEqual(json, { "@url": "https://a.b/c?d=1#e" });
  const decoded = decodeValue(json);
  assert.ok(decoded instanceof URL);
  assert.equal(decoded.href, "https://a.b/c?d=1#e");
});

test("an error of a user's class comes back as an Error with its name, without a stack of the past", () => {
  const json = encode(new StaleError("old"));
  assert.deepEqual(json, { "@error": { name: "StaleError", message: "old" } });
  const decoded = decodeValue(json);
  assert.ok(decoded instanceof Error);
  assert.equal(decoded.name, "StaleError");
  assert.deepEqual(encode(decoded), json);
});

test("a DOMException comes back as an Error of its name", () => {
  const decoded = decodeValue(encode(AbortSignal.abort().reason));
  assert.ok(decoded instanceof Error);
  assert.equal(decoded.name, "AbortError");
});

test("a hole in an array comes back as undefined", () => {
  const sparse = [1];
  sparse[2] = 3;
  assert.deepEqual(decodeValue(throughText(encode(sparse))), [1, undefined, 3]);
});

test("an object without a prototype comes back as a plain one", () => {
  const bare: Record<string, unknown> = Object.assign(Object.create(null), { a: 1n });
  assert.deepEqual(decodeValue(throughText(encode(bare))), { a: 1n });
});

test("values of another realm are kept as those of this one", () => {
  const foreign: unknown = vm.runInNewContext("({ list: [1, undefined], at: new Date(0), map: new Map([[1, 2]]) })");
  assert.deepEqual(decodeValue(throughText(encode(foreign))), {
    list: [1, undefined],
    at: new Date(0),
    map: new Map([[1, 2]]),
  });
});

test("a Proxy of plain data behaves as its target", () => {
  assert.deepEqual(throughText(encode({ a: new Proxy({ b: [1] }, {}), c: new Proxy([2n], {}) })), {
    a: { b: [1] },
    c: [{ "@bigint": "2" }],
  });
});

test("what needs no tag is not copied, and what does is copied only on the way to it", () => {
  const value = { same: { deep: [1, { a: null }] }, list: [1, [2]], date: { at: new Date(0) } };
  assert.equal(encode(value.same), value.same);
  const encoded = encode(value) as Record<string, unknown>;
  assert.equal(encoded.same, value.same);
  assert.equal(encoded.list, value.list);
  assert.ok(value.date.at instanceof Date);
  const decoded = decodeValue(encoded as Json) as Record<string, unknown>;
  assert.equal(decoded.same, value.same);
});

const symbolKeyed = { [Symbol("secret")]: 1 };
const withProto: unknown = JSON.parse('{"a":1,"__proto__":{}}');
const nest = (levels: number, leaf: unknown = 1) => {
  let value = leaf;
  for (let level = 0; level < levels; level++) value = level % 2 ? [value] : { a: value };
  return value;
};
const cyclic = () => {
  const cart: Record<string, unknown> = { items: [] };
  (cart.items as unknown[]).push({ price: 1 }, { owner: cart });
  return { other: cart.nothing, cart };
};
const cyclicMap = () => {
  const map = new Map<unknown, unknown>();
  map.set("self", map);
  return { map };
};

const refusals: { it: string; value: unknown; path: string; what: RegExp }[] = [
  { it: "a function", value: { cart: { run: () => 1 } }, path: "context.cart.run", what: /^a function$/ },
  { it: "a function in a list", value: { a: [1, [() => 1]] }, path: "context.a[1][0]", what: /^a function$/ },
  { it: "a class", value: { Cart }, path: "context.Cart", what: /^a function$/ },
  { it: "a symbol", value: { a: Symbol("x") }, path: "context.a", what: /^a symbol$/ },
  { it: "a symbol key", value: { a: symbolKeyed }, path: "context.a", what: /symbol key Symbol\(secret\)/ },
  { it: "a class instance", value: { a: new Cart() }, path: "context.a", what: /^an instance of class Cart$/ },
  { it: "a subclass of Map", value: new (class Bag extends Map {})(), path: "context", what: /class Bag$/ },
  {
    it: "a subclass of Array",
    value: { a: new (class List extends Array {})() },
    path: "context.a",
    what: /class List$/,
  },
  { it: "a Buffer", value: { a: Buffer.from("a") }, path: "context.a", what: /^an instance of class Buffer$/ },
  { it: "an unnamed class", value: new (class {})(), path: "context", what: /class \(unnamed\)$/ },
  { it: "an odd prototype", value: { a: Object.create({}) }, path: "context.a", what: /prototype of its own$/ },
  { it: "a borrowed prototype", value: { a: Object.create(Date.prototype) }, path: "context.a", what: /class Date$/ },
  { it: "a Proxy of a Map", value: { a: new Proxy(new Map(), {}) }, path: "context.a", what: /^a Proxy of/ },
  { it: "a Promise", value: { a: Promise.resolve() }, path: "context.a", what: /^a Promise$/ },
  { it: "a WeakMap", value: { a: new WeakMap() }, path: "context.a", what: /^a WeakMap$/ },
  { it: "a cycle", value: cyclic(), path: "context.cart.items[1].owner", what: /^a cycle back to context\.cart$/ },
  { it: "a cycle in a map", value: cyclicMap(), path: 'context.map.get("self")', what: /back to context\.map$/ },
  {
    it: "a getter",
    value: {
      a: {
        get b() {
          return 1;
        },
      },
    },
    path: "context.a.b",
    what: /^an accessor/,
  },
  { it: "own key __proto__", value: { a: withProto }, path: "context.a", what: /own key "__proto__"/ },
  { it: "an odd key", value: { "a b": { "0": () => 1 } }, path: 'context["a b"]["0"]', what: /^a function$/ },
  { it: "a map's value", value: new Map([["a", () => 1]]), path: 'context.get("a")', what: /^a function$/ },
  { it: "a map's key", value: new Map([[() => 1, 1]]), path: "context.keys()[0]", what: /^a function$/ },
  { it: "a member of a set", value: new Set([1, () => 1]), path: "context.values()[1]", what: /^a function$/ },
  {
    it: "an error's cause",
    value: new Error("", { cause: { a: () => 1 } }),
    path: "context.cause.a",
    what: /^a function$/,
  },
  {
    it: "an error's property",
    value: Object.assign(new Error(""), { f() {} }),
    path: "context.f",
    what: /^a function$/,
  },
  { it: "too deep a value", value: nest(maxNesting + 1), path: "", what: /^nested deeper than 200 levels$/ },
];

for (const { it, value, path, what } of refusals)
  test(`the codec refuses ${it}`, () => {
    assert.throws(
      () => encode(value),
      (error: unknown) => {
        assert.ok(error instanceof NotStorableError);
        if (path !== "") assert.equal(error.path, path);
        assert.match(error.what, what);
        assert.ok(error.message.includes(error.path) && error.message.includes(error.what));
        return true;
      },
    );
  });

test("a value nested exactly as deep as allowed is kept", () => {
  const value = nest(maxNesting);
  assert.equal(encode(value), value);
  assert.equal(decodeValue(value as Json), value);
  const withTag = nest(maxNesting, 1n);
  assert.deepEqual(decodeValue(throughText(encode(withTag))), withTag);
  assert.throws(() => decodeValue(nest(maxNesting + 2) as Json), DamagedValueError);
});

test("one object at two places is no cycle", () => {
  const shared = { a: 1n };
  assert.deepEqual(encode([shared, { shared }]), [{ a: { "@bigint": "1" } }, { shared: { a: { "@bigint": "1" } } }]);
});

test("references are asked for before an instance is refused, and made again by the decoder", () => {
  const known = new Cart();
  const foreign = new Cart();
  const refs = (value: object): RefTag | undefined =>
    value === known ? { "@ref": "s3" } : value === foreign ? { "@address": ["order", "o-1"] } : undefined;
  const json = encodeValue({ known, list: [foreign] }, { path: "context", refs });
  assert.deepEqual(json, { known: { "@ref": "s3" }, list: [{ "@address": ["order", "o-1"] }] });
  const decoded = decodeValue(throughText(json), { refs: (tag) => ("@ref" in tag ? known : foreign) });
  assert.deepEqual(decoded, { known, list: [foreign] });
  assert.throws(() => encodeValue(new Cart(), { path: "context", refs }), NotStorableError);
});

test("with a live table nothing is refused, and the very same values come back", () => {
  const live = new LiveTable();
  const cart = new Cart();
  const cycle: { self?: unknown; date: Date } = { date: new Date(0) };
  cycle.self = cycle;
  const run = () => 1;
  const value = { cart, again: cart, run, cycle, symbolKeyed, withProto, deep: nest(maxNesting + 9), n: 1n };
  const json = throughText(encodeValue(value, { path: "context", live }));
  const decoded = decodeValue(json, { live }) as typeof value;
  for (const key of ["cart", "again", "run", "cycle", "symbolKeyed", "withProto"] as const) {
    assert.equal(decoded[key], value[key], key);
  }
  assert.equal(decoded.n, 1n);
  assert.deepEqual(decoded.deep, value.deep);
  assert.deepEqual(encodeValue(cart, { path: "context", live }), encodeValue(cart, { path: "other", live }));
});

const damages: { it: string; text: string; path: string }[] = [
  { it: "an unknown tag", text: '{"a":[{"@what":1}]}', path: "value.a[0]" },
  { it: "a tag beside other keys", text: '{"@date":"1970-01-01T00:00:00.000Z","b":1}', path: "value" },
  { it: "a key beside a tag", text: '{"b":1,"@date":"1970-01-01T00:00:00.000Z"}', path: "value" },
  { it: "__proto__", text: '{"a":{"__proto__":{"b":1}}}', path: "value.a" },
  { it: "__proto__ in an error", text: '{"@error":{"name":"Error","message":"","__proto__":1}}', path: "value" },
  { it: "a date that is no date", text: '{"@date":"yesterday"}', path: "value" },
  { it: "a date in another form", text: '{"@date":"1970-01-01"}', path: "value" },
  { it: "a number of another kind", text: '{"@number":"1"}', path: "value" },
  { it: "a bigint with a fraction", text: '{"@bigint":"1.5"}', path: "value" },
  { it: "a bigint -0", text: '{"@bigint":"-0"}', path: "value" },
  { it: "undefined false", text: '{"@undefined":false}', path: "value" },
  { it: "bytes that are not base64", text: '{"@bytes":"?"}', path: "value" },
  { it: "an expression that does not compile", text: '{"@regexp":["(",""]}', path: "value" },
  { it: "an expression without flags", text: '{"@regexp":["a"]}', path: "value" },
  { it: "a URL without a scheme", text: '{"@url":"a"}', path: "value" },
  { it: "a map of singles", text: '{"@map":[["a"]]}', path: "value" },
  { it: "a map with a key twice", text: '{"@map":[["a",1],["a",2]]}', path: "value" },
  { it: "a set that is no list", text: '{"@set":{}}', path: "value" },
  { it: "a set with a member twice", text: '{"@set":[1,1]}', path: "value" },
  { it: "an error without a message", text: '{"@error":{"name":"Error"}}', path: "value" },
  { it: "an AggregateError without errors", text: '{"@error":{"name":"AggregateError","message":""}}', path: "value" },
  { it: "a reference that nobody knows to make", text: '{"@ref":"s1"}', path: "value" },
  { it: "an address of one part", text: '{"@address":["a"]}', path: "value" },
  { it: "a live value without a table", text: '{"@live":0}', path: "value" },
  { it: "damage inside a map", text: '{"@map":[["a",{"@x":1}]]}', path: 'value.get("a")' },
];

for (const { it, text, path } of damages)
  test(`the decoder refuses ${it}`, () => {
    assert.throws(
      () => decodeValue(JSON.parse(text) as Json),
      (error: unknown) => error instanceof DamagedValueError && error.path === path && error.message.includes(path),
    );
  });

const leaf = fc.oneof(
  fc.string(),
  fc.double(),
  fc.integer(),
  fc.boolean(),
  fc.constant(null),
  fc.constant(undefined),
  fc.bigInt(),
  fc.date({ noInvalidDate: true }),
  fc.uint8Array({ maxLength: 9 }),
  fc.constantFrom(/a/g, /[@/]+/su),
);
const key = fc.oneof(
  fc.string({ maxLength: 5 }).filter((text) => text !== "__proto__"),
  fc.constantFrom("@", "@date", "@@date", "@map", "constructor", "toString", "0"),
);
const errors = fc
  .tuple(fc.constantFrom(Error, TypeError, RangeError), fc.string())
  .map(([made, text]) => new made(text));
const { value: anyValue } = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 5, withCrossShrink: true },
    leaf,
    errors,
    tie("list"),
    tie("object"),
    tie("map"),
    tie("set"),
  ),
  list: fc.array(tie("value"), { maxLength: 4 }),
  object: fc.dictionary(key, tie("value"), { maxKeys: 4, noNullPrototype: true }),
  map: fc.array(fc.tuple(tie("value"), tie("value")), { maxLength: 3 }).map((entries) => new Map(entries)),
  set: fc.array(tie("value"), { maxLength: 3 }).map((items) => new Set(items)),
}));

test("property: every accepted value comes back equal through JSON text", () => {
  fc.assert(
    fc.property(anyValue, (value) => {
      const json = encode(value);
      assert.deepEqual(decodeValue(throughText(json)), value);
      assert.deepEqual(decodeValue(json), value, "without text in between");
      assert.deepEqual(encode(decodeValue(throughText(json))), json, "encoded again");
    }),
    { numRuns: 1000 },
  );
});

test("property: plain JSON is neither copied nor changed, in both directions", () => {
  const plain = fc
    .jsonValue({ maxDepth: 5 })
    .map((json) => JSON.parse(JSON.stringify(json).replaceAll("@", "a").replaceAll("__proto__", "p")) as Json);
  fc.assert(
    fc.property(plain, (json) => {
      assert.equal(encode(json), json);
      assert.equal(decodeValue(json), json);
    }),
    { numRuns: 500 },
  );
});

test("property: the decoder answers any JSON with a value or with DamagedValueError", () => {
  const tagged = fc.dictionary(fc.constantFrom("@map", "@set", "@date", "@error", "@ref", "a"), fc.jsonValue());
  fc.assert(
    fc.property(fc.oneof(tagged, fc.jsonValue()), (json) => {
      try {
        decodeValue(throughText(json as Json));
      } catch (error) {
        assert.ok(error instanceof DamagedValueError, String(error));
      }
    }),
  );
});
