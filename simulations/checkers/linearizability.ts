/**
 * R2 by search, trusting no revision: is there one order of all operations of a key that explains every answer and keeps
 * real time? Wing and Gong's algorithm with Lowe's memory, as in Porcupine (A. Athalye, checker.go). The fast witness in
 * `revisions.ts` is for all histories; this one is for short ones, to check what the witness has to believe.
 */
import type { Violation } from "./violation.ts";

/** An operation of one key. One that was never answered has `return: Infinity` and no output: it may have happened. */
export type Call<TInput, TOutput> = {
  readonly call: number;
  readonly return: number;
  readonly key: string;
  readonly input: TInput;
  readonly output?: TOutput;
};

/** What one key does, one operation after the other. */
export type SequentialModel<TState, TInput, TOutput> = {
  readonly initial: TState;
  /** The next state, or undefined when the output cannot be. Without an output every one is possible: total there. */
  readonly step: (state: TState, input: TInput, output: TOutput | undefined) => { readonly state: TState } | undefined;
  /** Equal texts for equal states, and only for those. */
  readonly textOf: (state: TState) => string;
};

export type Verdict = {
  readonly verdict: "linearizable" | "violation" | "unknown";
  /** The longest order found, as indexes of the operations given: where it ends, the trouble begins. */
  readonly longest: readonly number[];
};

/** More steps than this are a search that does not end: `unknown`, which is not a pass. */
const defaultMaxSteps = 1_000_000;

export function checkLinearizability<TState, TInput, TOutput>(
  calls: readonly Call<TInput, TOutput>[],
  model: SequentialModel<TState, TInput, TOutput>,
  maxSteps = defaultMaxSteps,
): readonly Violation[] {
  const byKey = new Map<string, Call<TInput, TOutput>[]>();
  for (const call of calls) byKey.set(call.key, [...(byKey.get(call.key) ?? []), call]);
  return [...byKey].flatMap(([key, ofKey]): Violation[] => {
    const { verdict, longest } = linearize(ofKey, model, maxSteps);
    if (verdict === "linearizable") return [];
    if (verdict === "unknown")
      return [{ rule: "linearizability-unknown", detail: `${key}: no answer after ${maxSteps} steps` }];
    const stuck = ofKey.filter((call, index) => !longest.includes(index) && call.return !== Number.POSITIVE_INFINITY);
    const first = stuck.sort((a, b) => a.return - b.return)[0];
    const detail = `${key}: ${longest.length} of ${ofKey.length} operations have an order; ${JSON.stringify(first)} does not fit`;
    return [{ rule: "not-linearizable", detail }];
  });
}

type Entry = {
  readonly id: number;
  /** Of a call: its return. Of a return: nothing. */
  readonly match: Entry | undefined;
  previous: Entry | undefined;
  next: Entry | undefined;
};

/** All operations are of one key. */
export function linearize<TState, TInput, TOutput>(
  calls: readonly Call<TInput, TOutput>[],
  model: SequentialModel<TState, TInput, TOutput>,
  maxSteps = defaultMaxSteps,
): Verdict {
  const head = listOf(calls);
  const seen = new Set<string>();
  const done = new Uint32Array(Math.ceil(calls.length / 32));
  const order: { readonly entry: Entry; readonly state: TState }[] = [];
  let longest: readonly number[] = [];
  let state = model.initial;
  // What was never answered need not have happened: with nothing else left, the order is complete.
  let answeredLeft = calls.filter((call) => call.return !== Number.POSITIVE_INFINITY).length;
  let entry = head.next;
  for (let steps = 0; answeredLeft > 0; steps++) {
    if (steps >= maxSteps) return { verdict: "unknown", longest };
    if (entry?.match !== undefined) {
      const call = calls[entry.id] as Call<TInput, TOutput>;
      const stepped = model.step(state, call.input, call.output);
      if (stepped !== undefined && remember(seen, done, entry.id, model.textOf(stepped.state))) {
        order.push({ entry, state });
        if (order.length > longest.length) longest = order.map((one) => one.entry.id);
        state = stepped.state;
        mark(done, entry.id, true);
        if (call.return !== Number.POSITIVE_INFINITY) answeredLeft--;
        lift(entry);
        entry = head.next;
      } else entry = entry.next;
      continue;
    }
    // A return whose call has no place yet: something before it was wrong.
    const last = order.pop();
    if (last === undefined) return { verdict: "violation", longest };
    state = last.state;
    mark(done, last.entry.id, false);
    if ((calls[last.entry.id] as Call<TInput, TOutput>).return !== Number.POSITIVE_INFINITY) answeredLeft++;
    unlift(last.entry);
    entry = last.entry.next;
  }
  return { verdict: "linearizable", longest };
}

/** Calls and returns by time; at one time calls come first, so that equal times overlap. */
function listOf(calls: readonly Call<unknown, unknown>[]): Entry {
  const events = calls.flatMap((call, id) => [
    { id, at: call.call, isCall: true },
    { id, at: call.return, isCall: false },
  ]);
  events.sort((a, b) => (a.at === b.at ? Number(b.isCall) - Number(a.isCall) : a.at < b.at ? -1 : 1));
  const returns = calls.map((_, id): Entry => ({ id, match: undefined, previous: undefined, next: undefined }));
  const head: Entry = { id: -1, match: undefined, previous: undefined, next: undefined };
  let last = head;
  for (const { id, isCall } of events) {
    const entry: Entry = isCall ? { id, match: returns[id], previous: last, next: undefined } : (returns[id] as Entry);
    entry.previous = last;
    last.next = entry;
    last = entry;
  }
  return head;
}

function lift(entry: Entry): void {
  for (const one of [entry, entry.match as Entry]) {
    (one.previous as Entry).next = one.next;
    if (one.next !== undefined) one.next.previous = one.previous;
  }
}

function unlift(entry: Entry): void {
  for (const one of [entry.match as Entry, entry]) {
    (one.previous as Entry).next = one;
    if (one.next !== undefined) one.next.previous = one;
  }
}

/** Whether this set of operations in this state is new. */
function remember(seen: Set<string>, done: Uint32Array, id: number, state: string): boolean {
  mark(done, id, true);
  const name = `${done.join()} ${state}`;
  mark(done, id, false);
  if (seen.has(name)) return false;
  seen.add(name);
  return true;
}

function mark(done: Uint32Array, id: number, isDone: boolean): void {
  const word = id >> 5;
  const bit = 1 << (id & 31);
  done[word] = isDone ? (done[word] as number) | bit : (done[word] as number) & ~bit;
}

// ---- what a key of a store does ----

/** Values stand for themselves: a commit id, a text. `expect` is the value that the writer had seen; null: none. */
export type RegisterInput =
  | { readonly kind: "read" }
  | { readonly kind: "write"; readonly value: string; readonly expect?: string | null }
  | { readonly kind: "purge"; readonly expect: string };

export type RegisterOutput =
  | { readonly kind: "read"; readonly value: string | null }
  | { readonly kind: "done" }
  | { readonly kind: "conflict" };

/** A register with compare-and-set, by value: it knows nothing of revisions. */
export const register: SequentialModel<string | null, RegisterInput, RegisterOutput> = {
  initial: null,
  textOf: (state) => JSON.stringify(state),
  step: (state, input, output) => {
    if (input.kind === "read")
      return output === undefined || (output.kind === "read" && output.value === state) ? { state } : undefined;
    const matches = input.expect === undefined || input.expect === state;
    const next = input.kind === "write" ? input.value : null;
    if (output === undefined) return { state: matches ? next : state };
    // A refusal under load changes nothing, whatever was expected.
    if (output.kind === "conflict") return { state };
    return output.kind === "done" && matches ? { state: next } : undefined;
  },
};
