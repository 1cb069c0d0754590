/**
 * Arguments of the wrong kind, which JavaScript lets pass and which fail late and obscurely: what one is, in words, and whether
 * the ports that a caller brings have what is asked of them.
 */
import type { KeysOf } from "./options.ts";
import type { Bus } from "./ports/bus.ts";
import type { Clock } from "./ports/clock.ts";
import type { Logger } from "./ports/logger.ts";
import type { Random } from "./ports/random.ts";
import type { Telemetry } from "./ports/telemetry.ts";

/** As in "it got …": a text and a number as they are, of everything else the kind. */
export function described(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.slice(0, 80));
  if (typeof value === "function") return /^class\b/.test(String(value)) ? `the class ${value.name}` : "a function";
  if (typeof value !== "object" || value === null) return String(value);
  if (Array.isArray(value)) return "a list";
  const maker = (value as { readonly constructor?: unknown }).constructor;
  if (!isPlain(value)) return `an instance of class ${typeof maker === "function" ? maker.name : "unknown"}`;
  const names = Object.keys(value);
  if (names.length === 0) return "an empty object";
  return `an object with ${names.slice(0, 5).join(", ")}${names.length > 5 ? ", …" : ""}`;
}

/** Whether it is an object as `{}` makes it, or the namespace of a module. */
export function isPlain(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  // Of another realm, too: the prototype of every plain object is the one that has none itself.
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

type Ports = {
  readonly logger: Logger;
  readonly clock: Clock;
  readonly random: Random;
  readonly bus: Bus;
  readonly telemetry: Telemetry;
};

const methods: { readonly [Name in keyof Ports]: KeysOf<Ports[Name]> } = {
  logger: { debug: true, info: true, warn: true, error: true },
  clock: { now: true, monotonic: true, after: true },
  random: { next: true, id: true },
  bus: { request: true, serve: true, publish: true, subscribe: true },
  telemetry: { isRecording: true, start: true, active: true, with: true },
};

/** What is wrong with the ports among the options of a runtime or a client, in words. One that is not given is not judged. */
export function portProblems(options: { readonly [Name in keyof Ports]?: unknown }): string[] {
  return Object.entries(methods).flatMap(([name, needed]) => {
    const given = options[name as keyof Ports];
    if (given === undefined || given === null) return [];
    const isThere = (method: string) => typeof (given as Readonly<Record<string, unknown>>)[method] === "function";
    const missing = Object.keys(needed).filter((method) => !isThere(method));
    if (missing.length === 0) return [];
    return [`${name} is ${described(given)}, which has no ${missing.map((method) => `${method}()`).join(", ")}`];
  });
}

/** What is wrong with a length of time, after the name that it goes by; undefined: nothing. */
export function timeProblem(value: unknown): string | undefined {
  if (value === undefined || (typeof value === "number" && value >= 0)) return undefined;
  return `is ${described(value)}; it must be a number of milliseconds, 0 or more`;
}
