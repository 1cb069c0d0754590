/**
 * One half of the codec: live values to JSON-able ones. It runs on every event, so a value that needs no tag is returned
 * as it is, without a copy, and the text of a path is made only for a refusal.
 */
import { Buffer } from "node:buffer";
import { types } from "node:util";
import { type Json, type LiveTable, maxNesting, type RefTag } from "./codec.ts";
import { NotStorableError } from "./not-storable.ts";
import { type PathStep, pathText } from "./value-path.ts";

export type EncodeOptions = {
  /** The name of the whole value in refusals, such as `context`. */
  path: string;
  /** Asked first for every object that is neither plain nor an array; what it answers is stored as it is. */
  refs?: ((value: object) => RefTag | undefined) | undefined;
  /** With a table nothing is refused: what cannot be stored is kept there, and stored as its number. */
  live?: LiveTable | undefined;
};

/** Throws `NotStorableError` for what would not come back as it was. The result may share objects with the value. */
export function encodeValue(value: unknown, options: EncodeOptions): Json {
  return encode(value, { options, steps: [], objects: [] }, 0);
}

/** The walk so far: `steps[d]` leads from `objects[d]` to the value at depth d + 1. Deeper entries are left over. */
type Walk = { readonly options: EncodeOptions; readonly steps: PathStep[]; readonly objects: object[] };

type Members = Record<string, unknown>;

const atSign = 64;

function encode(value: unknown, walk: Walk, depth: number): Json {
  switch (typeof value) {
    case "string":
    case "boolean":
      return value;
    case "number":
      if (value === 0) return 1 / value > 0 ? value : { "@number": "-0" };
      return Number.isFinite(value) ? value : { "@number": String(value) };
    case "undefined":
      return { "@undefined": true };
    case "bigint":
      return { "@bigint": String(value) };
    case "function":
      return refuse(value, walk, depth, "a function", "keep data, and name functions in the machine's implementations");
    case "object":
      if (value === null) return null;
      return walk.options.live === undefined
        ? encodeObject(value, walk, depth)
        : encodeLive(value, walk, walk.options.live, depth);
    default:
      return refuse(value, walk, depth, "a symbol", "use a string");
  }
}

function encodeObject(value: object, walk: Walk, depth: number): Json {
  // Every cycle ends here too, so that no object has to be looked up among those above it.
  if (depth >= maxNesting) return refuseDepth(value, walk, depth);
  walk.objects[depth] = value;
  const prototype = prototypeOf(value);
  if (prototype === Object.prototype || prototype === null) return encodeMembers(value as Members, walk, depth);
  if (Array.isArray(value) && isArrayPrototype(prototype)) return encodeArray(value, walk, depth);
  if (isForeignObjectPrototype(prototype)) return encodeMembers(value as Members, walk, depth);
  return walk.options.refs?.(value) ?? encodeBuiltIn(value, walk, depth);
}

function prototypeOf(value: object): unknown {
  return Object.getPrototypeOf(value);
}

/** Another realm (a vm context, a test runner's sandbox) has an `Object.prototype` and an `Array.prototype` of its own. */
function isForeignObjectPrototype(prototype: unknown): boolean {
  if (typeof prototype !== "object" || prototype === null) return false;
  return prototypeOf(prototype) === null && Object.hasOwn(prototype, "isPrototypeOf");
}

function isArrayPrototype(prototype: unknown): boolean {
  return prototype === Array.prototype || (Array.isArray(prototype) && Object.hasOwn(prototype, "copyWithin"));
}

function encodeArray(value: readonly unknown[], walk: Walk, depth: number): Json {
  let copy: Json[] | undefined;
  for (let index = 0; index < value.length; index++) {
    walk.steps[depth] = index;
    const item = value[index];
    const encoded = encode(item, walk, depth + 1);
    if (copy === undefined && encoded !== item) copy = value.slice(0, index) as Json[];
    if (copy !== undefined) copy.push(encoded);
  }
  return copy ?? (value as Json[]);
}

function encodeMembers(value: Members, walk: Walk, depth: number): Json {
  if (Object.getOwnPropertySymbols(value).length > 0) return refuseSymbolKey(value, walk, depth);
  let copy: Record<string, Json> | undefined;
  for (const key in value) {
    const property = Object.getOwnPropertyDescriptor(value, key);
    if (property === undefined) continue; // inherited, from an extended Object.prototype
    if (property.get !== undefined || property.set !== undefined) return refuseAccessor(value, key, walk, depth);
    const member: unknown = property.value;
    let encoded: Json;
    if (typeof member === "string" || typeof member === "boolean") encoded = member;
    else {
      walk.steps[depth] = key;
      encoded = encode(member, walk, depth + 1);
    }
    let name = key;
    if (key.charCodeAt(0) === atSign) name = `@${key}`;
    else if (key === "__proto__") return refuseProto(value, walk, depth);
    if (copy === undefined && (encoded !== member || name !== key)) copy = membersBefore(value, key);
    if (copy !== undefined) copy[name] = encoded;
  }
  return copy ?? (value as Record<string, Json>);
}

/** The members before `end`, none of which needed a change. */
function membersBefore(value: Members, end: string): Record<string, Json> {
  const copy: Record<string, Json> = {};
  for (const key in value) {
    if (key === end) break;
    if (Object.hasOwn(value, key)) copy[key] = value[key] as Json;
  }
  return copy;
}

/** By brand, which no Proxy and no borrowed prototype has, and by class: an own subclass would not come back. */
function encodeBuiltIn(value: object, walk: Walk, depth: number): Json {
  const name = className(value);
  if (types.isDate(value) && name === "Date") {
    return { "@date": Number.isNaN(value.getTime()) ? "invalid" : value.toISOString() };
  }
  if (types.isMap(value) && name === "Map") return encodeEntries([...value], walk, depth);
  if (types.isSet(value) && name === "Set") return encodeItems([...value], walk, depth);
  if (types.isUint8Array(value) && name === "Uint8Array") {
    return { "@bytes": Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64") };
  }
  if (types.isRegExp(value) && name === "RegExp") return { "@regexp": [value.source, value.flags] };
  if (value instanceof URL && name === "URL" && !types.isProxy(value)) return { "@url": value.href };
  if (value instanceof Error || types.isNativeError(value)) return encodeError(value, walk, depth);
  return refuseInstance(value, name, walk, depth);
}

function encodeEntries(entries: readonly (readonly [unknown, unknown])[], walk: Walk, depth: number): Json {
  const encoded: Json[] = [];
  for (let index = 0; index < entries.length; index++) {
    const [key, item] = entries[index]!;
    walk.steps[depth] = { in: "mapKeys", index };
    const encodedKey = encode(key, walk, depth + 1);
    walk.steps[depth] = { in: "map", key };
    encoded.push([encodedKey, encode(item, walk, depth + 1)]);
  }
  return { "@map": encoded };
}

function encodeItems(items: readonly unknown[], walk: Walk, depth: number): Json {
  const encoded: Json[] = [];
  for (let index = 0; index < items.length; index++) {
    walk.steps[depth] = { in: "set", index };
    encoded.push(encode(items[index], walk, depth + 1));
  }
  return { "@set": encoded };
}

/** Name, message, cause, the errors of an AggregateError, and the error's own enumerable properties. No stack. */
function encodeError(error: Error, walk: Walk, depth: number): Json {
  const encoded: Record<string, Json> = { name: String(error.name), message: String(error.message) };
  const put = (key: string, member: unknown) => {
    walk.steps[depth] = key;
    encoded[key] = encode(member, walk, depth + 1);
  };
  if (Object.hasOwn(error, "cause")) put("cause", error.cause);
  if (error instanceof AggregateError) put("errors", [...error.errors]);
  for (const key of Object.keys(error)) {
    if (key === "stack" || Object.hasOwn(encoded, key)) continue;
    if (key === "__proto__") return refuseProto(error, walk, depth);
    const property = Object.getOwnPropertyDescriptor(error, key);
    if (property?.get !== undefined || property?.set !== undefined) return refuseAccessor(error, key, walk, depth);
    put(key, property?.value);
  }
  return { "@error": encoded };
}

function encodeLive(value: object, walk: Walk, live: LiveTable, depth: number): Json {
  const above = walk.objects.indexOf(value);
  if (above >= 0 && above < depth) throw new CycleFound(value);
  try {
    return encodeObject(value, walk, depth);
  } catch (error) {
    if (!(error instanceof CycleFound) || error.start !== value) throw error;
    return { "@live": live.put(value) };
  } finally {
    walk.objects.length = depth;
  }
}

/** With a live table, tells the object that a cycle came back to that it is kept whole. */
class CycleFound extends Error {
  readonly start: object;
  constructor(start: object) {
    super("a cycle");
    this.start = start;
  }
}

function refuse(value: unknown, walk: Walk, depth: number, what: string, advice: string): Json {
  const { live, path } = walk.options;
  if (live !== undefined) return { "@live": live.put(value) };
  throw new NotStorableError(pathText(path, walk.steps, depth), what, advice);
}

function refuseDepth(value: object, walk: Walk, depth: number): Json {
  const objects = [...walk.objects.slice(0, depth), value];
  const end = objects.findIndex((object, index) => objects.indexOf(object) < index);
  if (end < 0) return refuse(value, walk, depth, `nested deeper than ${maxNesting} levels`, "store it flatter");
  const start = pathText(walk.options.path, walk.steps, objects.indexOf(objects[end]!));
  return refuse(value, walk, end, `a cycle back to ${start}`, "refer to the object above by an id");
}

function refuseInstance(value: object, name: string | undefined, walk: Walk, depth: number): Json {
  if (types.isProxy(value)) {
    return refuse(value, walk, depth, `a Proxy of an instance of ${name}`, "store a plain copy of what it stands for");
  }
  if (name === "Promise") {
    return refuse(value, walk, depth, "a Promise", "invoke it as a promise actor, and store its result");
  }
  if (name === "WeakMap" || name === "WeakSet" || name === "WeakRef") {
    return refuse(value, walk, depth, `a ${name}`, "use a Map or a Set of ids");
  }
  const what = name === undefined ? "an object with a prototype of its own" : `an instance of class ${name}`;
  return refuse(value, walk, depth, what, "store its data as a plain object, and build the instance where it is used");
}

function refuseAccessor(value: object, key: string, walk: Walk, depth: number): Json {
  if (walk.options.live !== undefined) return { "@live": walk.options.live.put(value) };
  walk.steps[depth] = key;
  return refuse(value, walk, depth + 1, "an accessor (a getter or setter)", "store the value it gives");
}

function refuseSymbolKey(value: object, walk: Walk, depth: number): Json {
  const [symbol] = Object.getOwnPropertySymbols(value);
  return refuse(value, walk, depth, `an object with the symbol key ${String(symbol)}`, "use string keys");
}

function refuseProto(value: object, walk: Walk, depth: number): Json {
  return refuse(value, walk, depth, 'an object with the own key "__proto__"', "rename that key");
}

/** Undefined for an object that was given a prototype without a class, as by `Object.create`. */
function className(value: object): string | undefined {
  const made: unknown = (value as { constructor?: unknown }).constructor;
  if (typeof made !== "function" || made.prototype !== prototypeOf(value)) return undefined;
  return made.name === "" ? "(unnamed)" : made.name;
}
