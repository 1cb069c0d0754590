/**
 * What must hold after every single commit, not only at the end: the store's log is gone through once more, and each
 * rule is asked after each change with the actors as they stood then. Effects and answers play no part in it.
 */
import { definitionsOf } from "../../runtime/definition.ts";
import { type Document, readDocument } from "../../runtime/document.ts";
import { restoreTree } from "../../runtime/migration.ts";
import type { ActorTypes } from "../../runtime/runtime.ts";
import type { Violation } from "../checkers/violation.ts";
import type { AppliedChange } from "../world/store-data.ts";
import type { EndState, StateOf } from "./cluster.ts";
import { named } from "./names.ts";

/** All actors right after one commit. */
export type Moment<TActors extends ActorTypes = ActorTypes> = {
  /** The revived XState snapshot; undefined: there was no such actor yet, or no longer. */
  state<TType extends keyof TActors & string>(type: TType, id: string): StateOf<TActors, TType> | undefined;
  readonly actors: readonly string[];
  /** Virtual time. */
  readonly atMs: number;
};

/** By what must hold at every moment, in plain words. False, a text that says what is wrong, or a throw: it does not. */
export type Always<TActors extends ActorTypes = ActorTypes> = Readonly<
  Record<string, (moment: Moment<TActors>) => Verdict>
>;

/** What a rule answers; nothing or true: it holds. */
// biome-ignore lint/suspicious/noConfusingVoidType: a rule of assertions alone returns void, and a promise must not pass.
export type Verdict = boolean | string | undefined | void;

export function judgeAlways(always: Always, types: ActorTypes, log: readonly AppliedChange[]): readonly Violation[] {
  const left = new Map(Object.entries(always));
  if (left.size === 0) return [];
  const definitions = definitionsOf(types);
  const documents = new Map<string, Document>();
  const states = new Map<string, EndState | undefined>();
  const stateOf = (key: string): EndState | undefined => {
    if (states.has(key)) return states.get(key);
    const state = revive(documents.get(key), definitions);
    states.set(key, state);
    return state;
  };
  const violations: Violation[] = [];
  for (const { key, value, atMs } of log) {
    if (key.startsWith("_")) continue;
    states.delete(key);
    if (value === undefined) documents.delete(key);
    else documents.set(key, readDocument(value));
    const moment: Moment = {
      state: (type, id) => {
        named("actor type", definitions, type);
        return stateOf(`${type}.${id}`);
      },
      actors: [...documents.keys()],
      atMs,
    };
    for (const [rule, holds] of left) {
      const trouble = troubleOf(rule, () => holds(moment), "it does not hold");
      if (trouble === undefined) continue;
      left.delete(rule);
      const revision = documents.get(key)?.seq;
      violations.push({ rule, detail: `${trouble}, from ${Math.round(atMs)} ms, revision ${revision} of ${key}` });
    }
  }
  return violations;
}

/** What one rule finds wrong. A rule that answers later is no rule: it throws, since nobody would wait for the answer. */
export function troubleOf(rule: string, holds: () => Verdict, ifFalse: string): string | undefined {
  let answer: unknown;
  try {
    answer = holds();
  } catch (error) {
    return `it threw ${toldWithPlace(error)}`;
  }
  if (isThenable(answer)) {
    answer.then(undefined, () => {});
    throw new TypeError(
      `the rule ${JSON.stringify(rule)} answers with a promise, which would hold whatever it came to: ` +
        "make it a function that is not async and returns true, false or a text",
    );
  }
  if (answer === false) return ifFalse;
  return typeof answer === "string" ? answer : undefined;
}

/** The error and the line of the rule that threw it. */
function toldWithPlace(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const place = error.stack?.split("\n").find((line) => /^\s+at /.test(line) && !/node_modules|\(?node:/.test(line));
  return `${error.name}: ${error.message}${place === undefined ? "" : ` ${place.trim()}`}`;
}

function isThenable(answer: unknown): answer is PromiseLike<unknown> {
  return typeof (answer as PromiseLike<unknown> | null | undefined)?.then === "function";
}

function revive(document: Document | undefined, definitions: ReturnType<typeof definitionsOf>): EndState | undefined {
  const definition = document === undefined ? undefined : definitions[document.type];
  if (document === undefined || definition === undefined || document.status === "deleted") return undefined;
  const { tree } = restoreTree(document, definition, { onOutside: () => {}, rootId: document.id });
  return tree.snapshot as unknown as EndState;
}
