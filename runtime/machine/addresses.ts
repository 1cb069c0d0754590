/**
 * Addresses of inline actions: where in a machine's configuration a function stands, so that an action that is still to
 * be run can be found again after a restart. Functions named in `implementations.actions` need none: their name is one.
 *
 * A function enqueued inside `enqueueActions` is made anew by each run of it. It is addressed by its number in that run,
 * `states.a.entry[0]#1`, and found again by running the same collecting function on the same inputs. Those inputs
 * (`callsOf`) have to be stored beside the address. Start reading at `addressBookOf`.
 */
import type { AnyStateMachine } from "xstate";
import { hashText } from "../hash.ts";
import { type CollectCall, collectAgain, describeActions, enqueuedBy, isEnqueueActions, observe } from "./enqueued.ts";

export type { CollectCall } from "./enqueued.ts";

/** JSON. `list` is a hash of the kinds and names of all actions in the same list, so that a changed list is noticed. */
export type ActionAddress = { readonly path: string; readonly list: string };

export type ActionFunction = (info: unknown, params: unknown) => unknown;

/** What a function that was enqueued is found again with; the others need none of it. */
export type ResolveEnvironment = {
  readonly event: unknown;
  readonly self: unknown;
  readonly system: unknown;
  /** As `callsOf` gave them. */
  readonly calls: readonly CollectCall[];
};

export type ResolvedAction =
  | { readonly fn: ActionFunction }
  /** "changed": its list holds other actions now; "gone": the place itself is no more. */
  | { readonly missing: "changed" | "gone"; readonly detail: string };

export type AddressBook = {
  /** Undefined for what has no place in the configuration: named actions, and functions of another machine. */
  addressOf(fn: unknown): ActionAddress | undefined;
  /** For a function that was enqueued: the inputs to store beside its address. They hold live values: encode them. */
  callsOf(fn: unknown): readonly CollectCall[] | undefined;
  resolve(address: ActionAddress, environment?: ResolveEnvironment): ResolvedAction;
};

const books = new WeakMap<object, AddressBook>();

/**
 * The book of one machine; an empty one for other logic. Must be made before the machine takes its first step: it
 * marks the `enqueueActions` of the machine, so that they remember what they enqueue.
 */
export function addressBookOf(logic: object): AddressBook {
  let book = books.get(logic);
  if (book === undefined) {
    book = makeBook(isMachine(logic) ? listsOf(logic) : []);
    books.set(logic, book);
  }
  return book;
}

/** One list of actions of the configuration, as `states.a.entry`. */
type ActionList = { readonly path: string; readonly actions: readonly unknown[] };

type Place = { readonly address: ActionAddress; readonly fn: ActionFunction };

function makeBook(lists: readonly ActionList[]): AddressBook {
  const byPath = new Map<string, Place>();
  const byFunction = new Map<unknown, Place>();
  const listPaths = new Set<string>();
  for (const { path: listPath, actions } of lists) {
    listPaths.add(listPath);
    const list = hashText(describeActions(actions));
    for (const [index, fn] of actions.entries()) {
      if (!isFunction(fn) || !isAddressed(fn)) continue;
      observe(fn);
      const place = { address: { path: pathOf(listPath, index), list }, fn };
      byPath.set(place.address.path, place);
      if (!byFunction.has(fn)) byFunction.set(fn, place);
    }
  }

  function addressOf(fn: unknown): ActionAddress | undefined {
    const place = byFunction.get(fn);
    if (place !== undefined) return place.address;
    const origin = enqueuedBy(fn);
    const above = origin && addressOf(origin.by);
    return origin && above && enqueuedAddress(above, origin.index, origin.enqueued);
  }

  function callsOf(fn: unknown): readonly CollectCall[] | undefined {
    if (byFunction.has(fn)) return undefined;
    const origin = enqueuedBy(fn);
    return origin && [...(callsOf(origin.by) ?? []), origin.call];
  }

  function resolve(address: ActionAddress, environment?: ResolveEnvironment): ResolvedAction {
    const [, base = "", numbers = ""] = /^(.*?)((?:#\d+)*)$/s.exec(address.path) ?? [];
    const place = byPath.get(base);
    if (place === undefined) return missing(address, listPaths.has(listPathOf(base)) ? "changed" : "gone");
    let found: Place = place;
    for (const [level, number] of numbers.split("#").slice(1).entries()) {
      const next = enqueuedPlace(found, Number(number), environment, level);
      if (next === undefined) return missing(address, "changed");
      found = next;
    }
    return found.address.list === address.list ? { fn: found.fn } : missing(address, "changed");
  }

  return { addressOf, callsOf, resolve };
}

function enqueuedPlace(
  above: Place,
  index: number,
  environment: ResolveEnvironment | undefined,
  level: number,
): Place | undefined {
  const call = environment?.calls[level];
  if (environment === undefined || call === undefined || !isEnqueueActions(above.fn)) return undefined;
  const enqueued = collectAgain(above.fn, call, environment);
  const fn = enqueued?.filter(isFunction).filter(isAddressed)[index];
  if (enqueued === undefined || fn === undefined) return undefined;
  return { address: enqueuedAddress(above.address, index, describeActions(enqueued)), fn };
}

function enqueuedAddress(above: ActionAddress, index: number, enqueued: string): ActionAddress {
  return { path: `${above.path}#${index}`, list: hashText(`${above.list} ${enqueued}`) };
}

/** XState's own actions are functions too; of those, only `enqueueActions` lead to functions of the user. */
function isAddressed(fn: ActionFunction): boolean {
  return !("resolve" in fn) || isEnqueueActions(fn);
}

function missing(address: ActionAddress, reason: "changed" | "gone"): ResolvedAction {
  const detail =
    reason === "gone"
      ? `the machine has no actions at ${address.path} any more`
      : `the actions around ${address.path} are others than when it was to be run`;
  return { missing: reason, detail };
}

// ---- the lists of a machine, in document order ----

type NodeConfig = {
  readonly entry?: unknown;
  readonly exit?: unknown;
  readonly initial?: unknown;
  readonly on?: unknown;
  readonly onDone?: unknown;
  readonly after?: unknown;
  readonly always?: unknown;
  readonly route?: unknown;
  readonly invoke?: unknown;
  readonly states?: Readonly<Record<string, NodeConfig>>;
};

function listsOf(machine: AnyStateMachine): readonly ActionList[] {
  const lists: ActionList[] = [];
  collectNode(machine.config as NodeConfig, "", lists);
  for (const [name, action] of Object.entries(machine.implementations.actions)) {
    // A named function is found by its name; only what it enqueues needs the place.
    if (isEnqueueActions(action)) lists.push({ path: `actions${member(name)}`, actions: [action] });
  }
  return lists;
}

function collectNode(node: NodeConfig, prefix: string, lists: ActionList[]): void {
  const own = prefix === "" ? "root" : prefix;
  const list = (path: string, actions: unknown) => {
    if (actions !== undefined) lists.push({ path, actions: toArray(actions) });
  };
  const transitions = (path: string, transition: unknown) => {
    for (const [index, each] of toArray(transition).entries())
      list(`${path}[${index}].actions`, field(each, "actions"));
  };
  list(`${own}.entry`, node.entry);
  list(`${own}.exit`, node.exit);
  list(`${own}.initial.actions`, field(node.initial, "actions"));
  for (const [event, transition] of entries(node.on)) transitions(`${own}.on${member(event)}`, transition);
  transitions(`${own}.onDone`, node.onDone);
  for (const [delay, transition] of entries(node.after)) transitions(`${own}.after${member(delay)}`, transition);
  transitions(`${own}.always`, node.always);
  transitions(`${own}.route`, node.route);
  for (const [index, invoke] of toArray(node.invoke).entries()) {
    for (const key of ["onDone", "onError", "onSnapshot"]) {
      transitions(`${own}.invoke[${index}].${key}`, field(invoke, key));
    }
  }
  const states = prefix === "" ? "states" : `${prefix}.states`;
  for (const [key, child] of Object.entries(node.states ?? {})) collectNode(child, `${states}${member(key)}`, lists);
}

function member(key: string): string {
  return /^[\p{ID_Continue}$]+$/u.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`;
}

/** A list of the configuration is an array or a single action; an implementation is always single, without a number. */
function pathOf(listPath: string, index: number): string {
  return /^actions[.[]/.test(listPath) ? listPath : `${listPath}[${index}]`;
}

function listPathOf(path: string): string {
  return /^actions[.[]/.test(path) ? path : path.replace(/\[\d+\]$/, "");
}

function field(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[key] : undefined;
}

function entries(value: unknown): [string, unknown][] {
  return typeof value === "object" && value !== null ? Object.entries(value) : [];
}

function toArray(value: unknown): readonly unknown[] {
  if (value === undefined) return [];
  return Array.isArray(value) ? value : [value];
}

function isFunction(value: unknown): value is ActionFunction {
  return typeof value === "function";
}

function isMachine(logic: object): logic is AnyStateMachine {
  return "__xstatenode" in logic && "root" in logic;
}
