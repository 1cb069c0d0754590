/**
 * The other half of the codec: stored JSON to live values. Nothing in the data can choose a prototype or a class beyond
 * the tags, and a value without tags is returned as it is, without a copy.
 */
import { Buffer } from "node:buffer";
import { type Json, type LiveTable, maxNesting, type RefTag } from "./codec.ts";
import { type PathStep, pathText } from "./value-path.ts";

export type DecodeOptions = {
  /** The name of the whole value in refusals; "value" when not given. */
  path?: string | undefined;
  /** Makes the live reference of a tag. Without it, references are refused as damaged. */
  refs?: ((tag: RefTag) => unknown) | undefined;
  live?: LiveTable | undefined;
};

/** Stored bytes that no encoder wrote: damaged, edited by hand, or of a newer format. */
export class DamagedValueError extends Error {
  override readonly name = "DamagedValueError";
  readonly path: string;
  readonly what: string;

  constructor(path: string, what: string, options?: ErrorOptions) {
    super(`${path} is damaged: ${what}; restore it from the actor's history`, options);
    this.path = path;
    this.what = what;
  }
}

/** Throws `DamagedValueError` for what `encodeValue` cannot have written. The result may share objects with `json`. */
export function decodeValue(json: Json, options: DecodeOptions = {}): unknown {
  return decode(json, { options, steps: [] }, 0);
}

/** The walk so far: `steps[d]` leads from depth d to depth d + 1. Deeper entries are left over. */
type Walk = { readonly options: DecodeOptions; readonly steps: PathStep[] };

type JsonObject = { readonly [key: string]: Json };

const atSign = 64;

function decode(json: Json, walk: Walk, depth: number): unknown {
  if (typeof json !== "object" || json === null) return json;
  // One level more than the encoder allows: at its last level it may still have written a tag, such as undefined's.
  if (depth > maxNesting) return damaged(walk, depth, `nested deeper than ${maxNesting} levels`);
  return Array.isArray(json) ? decodeArray(json, walk, depth) : decodeMembers(json as JsonObject, walk, depth);
}

function decodeArray(json: readonly Json[], walk: Walk, depth: number): unknown {
  let copy: unknown[] | undefined;
  for (let index = 0; index < json.length; index++) {
    walk.steps[depth] = index;
    const item = json[index]!;
    const decoded = decode(item, walk, depth + 1);
    if (copy === undefined && decoded !== item) copy = json.slice(0, index);
    if (copy !== undefined) copy.push(decoded);
  }
  return copy ?? json;
}

function decodeMembers(json: JsonObject, walk: Walk, depth: number): unknown {
  let copy: Record<string, unknown> | undefined;
  for (const key in json) {
    if (!Object.hasOwn(json, key)) continue;
    let name = key;
    if (key.charCodeAt(0) === atSign) {
      if (key.charCodeAt(1) !== atSign) return decodeTag(key, json, walk, depth);
      name = key.slice(1);
    } else if (key === "__proto__") return damaged(walk, depth, 'it has the key "__proto__"');
    const member = json[key]!;
    walk.steps[depth] = key;
    const decoded = decode(member, walk, depth + 1);
    if (copy === undefined && (decoded !== member || name !== key)) copy = membersBefore(json, key);
    if (copy !== undefined) copy[name] = decoded;
  }
  return copy ?? json;
}

/** The members before `end`, none of which needed a change. */
function membersBefore(json: JsonObject, end: string): Record<string, unknown> {
  const copy: Record<string, unknown> = {};
  for (const key in json) {
    if (key === end) break;
    if (Object.hasOwn(json, key)) copy[key] = json[key];
  }
  return copy;
}

function decodeTag(tag: string, json: JsonObject, walk: Walk, depth: number): unknown {
  if (Object.keys(json).length !== 1) return damaged(walk, depth, `the tag ${tag} stands beside other keys`);
  const decoder = decoders.get(tag);
  if (decoder === undefined) return damaged(walk, depth, `the tag ${tag} is unknown`);
  const decoded = decoder(json[tag]!, walk, depth);
  return decoded === invalid ? damaged(walk, depth, `the tag ${tag} has a wrong value`) : decoded;
}

/** What a decoder answers when the content of its tag cannot be right. */
const invalid = Symbol("invalid");

type TagDecoder = (content: Json, walk: Walk, depth: number) => unknown;

const decoders = new Map<string, TagDecoder>([
  ["@undefined", (content) => (content === true ? undefined : invalid)],
  ["@number", decodeNumber],
  ["@bigint", decodeBigint],
  ["@date", decodeDate],
  ["@bytes", decodeBytes],
  ["@regexp", decodeRegExp],
  ["@url", decodeUrl],
  ["@map", decodeMap],
  ["@set", decodeSet],
  ["@error", decodeError],
  ["@ref", decodeRef],
  ["@address", decodeAddress],
  ["@live", decodeLive],
]);

function decodeNumber(content: Json): unknown {
  if (content === "-0") return -0;
  return content === "NaN" || content === "Infinity" || content === "-Infinity" ? Number(content) : invalid;
}

function decodeBigint(content: Json): unknown {
  return typeof content === "string" && /^(?:0|-?[1-9][0-9]*)$/.test(content) ? BigInt(content) : invalid;
}

function decodeDate(content: Json): unknown {
  if (content === "invalid") return new Date(Number.NaN);
  if (typeof content !== "string") return invalid;
  const date = new Date(content);
  return !Number.isNaN(date.getTime()) && date.toISOString() === content ? date : invalid;
}

function decodeBytes(content: Json): unknown {
  if (typeof content !== "string") return invalid;
  const bytes = Buffer.from(content, "base64");
  return bytes.toString("base64") === content ? new Uint8Array(bytes) : invalid;
}

function decodeRegExp(content: Json): unknown {
  if (!Array.isArray(content) || content.length !== 2) return invalid;
  const [source, flags]: readonly unknown[] = content;
  if (typeof source !== "string" || typeof flags !== "string") return invalid;
  try {
    return new RegExp(source, flags);
  } catch {
    return invalid; // a SyntaxError: not an expression that this engine knows
  }
}

function decodeUrl(content: Json): unknown {
  return typeof content === "string" && URL.canParse(content) ? new URL(content) : invalid;
}

function decodeMap(content: Json, walk: Walk, depth: number): unknown {
  if (!Array.isArray(content)) return invalid;
  const map = new Map<unknown, unknown>();
  for (let index = 0; index < content.length; index++) {
    const entry: unknown = content[index];
    if (!Array.isArray(entry) || entry.length !== 2) return invalid;
    walk.steps[depth] = { in: "mapKeys", index };
    const key = decode(entry[0], walk, depth + 1);
    walk.steps[depth] = { in: "map", key };
    map.set(key, decode(entry[1], walk, depth + 1));
  }
  return map.size === content.length ? map : invalid;
}

function decodeSet(content: Json, walk: Walk, depth: number): unknown {
  if (!Array.isArray(content)) return invalid;
  const set = new Set<unknown>();
  for (let index = 0; index < content.length; index++) {
    walk.steps[depth] = { in: "set", index };
    set.add(decode(content[index], walk, depth + 1));
  }
  return set.size === content.length ? set : invalid;
}

type ErrorClass = new (message: string) => Error;

const errorClasses = new Map<string, ErrorClass>(
  [Error, TypeError, RangeError, SyntaxError, ReferenceError, EvalError, URIError].map((made) => [made.name, made]),
);

function decodeError(content: Json, walk: Walk, depth: number): unknown {
  if (typeof content !== "object" || content === null || Array.isArray(content)) return invalid;
  const { name, message } = content as JsonObject;
  if (typeof name !== "string" || typeof message !== "string") return invalid;
  const members = new Map<string, unknown>();
  for (const [key, member] of Object.entries(content as JsonObject)) {
    if (key === "name" || key === "message") continue;
    if (key === "__proto__" || key === "stack") return invalid;
    walk.steps[depth] = key;
    members.set(key, decode(member, walk, depth + 1));
  }
  const error = name === "AggregateError" ? aggregate(message, members) : plainError(name, message);
  if (error === undefined) return invalid;
  for (const [key, value] of members) {
    // As the constructors do it: a cause is not enumerable, all else that was stored was.
    Object.defineProperty(error, key, { value, enumerable: key !== "cause", writable: true, configurable: true });
  }
  return error;
}

function aggregate(message: string, members: Map<string, unknown>): Error | undefined {
  const errors = members.get("errors");
  members.delete("errors");
  return Array.isArray(errors) ? new AggregateError(errors, message) : undefined;
}

function plainError(name: string, message: string): Error {
  const builtIn = errorClasses.get(name);
  if (builtIn !== undefined) return new builtIn(message);
  const error = new Error(message);
  Object.defineProperty(error, "name", { value: name, enumerable: false, writable: true, configurable: true });
  return error;
}

function decodeRef(content: Json, walk: Walk): unknown {
  const { refs } = walk.options;
  return typeof content === "string" && refs !== undefined ? refs({ "@ref": content }) : invalid;
}

function decodeAddress(content: Json, walk: Walk): unknown {
  const { refs } = walk.options;
  if (!Array.isArray(content) || content.length !== 2 || refs === undefined) return invalid;
  const [type, id]: readonly unknown[] = content;
  return typeof type === "string" && typeof id === "string" ? refs({ "@address": [type, id] }) : invalid;
}

function decodeLive(content: Json, walk: Walk): unknown {
  const { live } = walk.options;
  return typeof content === "number" && live?.has(content) ? live.get(content) : invalid;
}

function damaged(walk: Walk, depth: number, what: string): never {
  throw new DamagedValueError(pathText(walk.options.path ?? "value", walk.steps, depth), what);
}
