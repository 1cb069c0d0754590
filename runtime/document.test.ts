import { describe, expect, test } from "vitest";
import { DamagedDocumentError, formatVersion, NewerDocumentError, readDocument, stateText } from "./document.ts";

const good = {
  id: "o",
  type: "order",
  state: "a",
  status: "active",
  at: "2026-11-20T15:00:01.120Z",
  seq: 1,
  format: 1,
  causes: [],
  born: "b",
  token: [1, 0],
  commit: "c",
  machine: { version: 1, hash: "h" },
  actors: { s0: { snap: {} } },
  timers: { t1: { due: "2026-11-20T15:00:01.120Z", id: "x", event: { type: "x" } } },
  outbox: [{ n: 1, do: "emit", event: { type: "e" } }],
  seen: {},
  next: [1, 2],
};

test("a whole document is read", () => {
  expect(readDocument(JSON.stringify(good))).toEqual(good);
});

describe("a damaged one is refused, naming the field", () => {
  const damages: [field: keyof typeof good, value: unknown][] = [
    ["id", 1],
    ["status", "sleeping"],
    ["at", "yesterday"],
    ["seq", 0],
    ["seq", 1.5],
    ["token", [1]],
    ["token", [1, -1]],
    ["machine", { version: "1", hash: "h" }],
    ["actors", { s0: {} }],
    ["timers", { t1: { due: "soon", id: "x", event: {} } }],
    ["outbox", [{ do: "emit" }]],
    ["next", undefined],
    ["causes", {}],
  ];
  test.each(damages)("%s = %j", (field, value) => {
    const text = JSON.stringify({ ...good, [field]: value });
    expect(() => readDocument(text)).toThrow(DamagedDocumentError);
    expect(() => readDocument(text)).toThrow(`"${field}"`);
  });

  test.each(["", "{", "null", "[]", '"x"', JSON.stringify(good).slice(0, 50)])("%s", (text) => {
    expect(() => readDocument(text)).toThrow(DamagedDocumentError);
  });
});

test("one of a newer format is left to a newer node, whatever else is in it", () => {
  expect(() => readDocument(JSON.stringify({ format: formatVersion + 1 }))).toThrow(NewerDocumentError);
});

test.each([
  ["paying", "paying"],
  [{ open: "editing" }, "open.editing"],
  [{ audio: "on", video: { playing: "fast" } }, "audio.on,video.playing.fast"],
  [{ a: { b: "c", d: "e" } }, "a.b.c,a.d.e"],
  [{}, ""],
  [undefined, ""],
])("the state %j reads %j", (value, text) => {
  expect(stateText(value)).toBe(text);
});
