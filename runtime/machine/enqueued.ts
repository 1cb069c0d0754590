/**
 * Memory of what each `enqueueActions` enqueued: which functions, in which run, on which inputs. With these a run can be
 * repeated to make the same functions again. Only `addresses.ts` uses it.
 */

/** The inputs of one run, beside the event: with them the run is repeated. The checks are the answers it got. */
export type CollectCall = { readonly context: unknown; readonly params: unknown; readonly checks: readonly boolean[] };

export type Enqueued = {
  /** The `enqueueActions` that ran. */
  readonly by: unknown;
  /** The number of the function among the functions of the user that this run enqueued, nested ones included. */
  readonly index: number;
  readonly call: CollectCall;
  /** All that the run enqueued, in words. */
  readonly enqueued: string;
};

type CollectArgs = { readonly check: (guard: unknown) => boolean; readonly [field: string]: unknown };
type Collect = (args: CollectArgs, params: unknown) => void;
type Info = { readonly context: unknown; readonly event: unknown; readonly self?: unknown; readonly system?: unknown };

type Resolve = (
  scope: unknown,
  snapshot: unknown,
  info: Info,
  params: unknown,
  action: { readonly collect: Collect },
  extra?: unknown,
) => [snapshot: unknown, params: undefined, actions: unknown[]];

/** As XState makes it: a function object that is never called. */
type EnqueueActions = { readonly type: string; readonly collect: Collect; resolve: Resolve };

type AnyFunction = (...args: never[]) => unknown;

/** Marks a resolve that already remembers, and holds the one of XState. */
const original = Symbol("holdfast.original");

type Remembering = Resolve & { [original]?: Resolve };

const origins = new WeakMap<object, Enqueued>();

export function enqueuedBy(fn: unknown): Enqueued | undefined {
  return typeof fn === "function" ? origins.get(fn) : undefined;
}

export function isEnqueueActions(action: unknown): action is AnyFunction & EnqueueActions {
  return typeof action === "function" && "collect" in action && "resolve" in action;
}

/** Makes an `enqueueActions` remember what it enqueues; anything else is left alone. Done once, however often asked. */
export function observe(action: unknown): void {
  if (!isEnqueueActions(action)) return;
  const resolve: Remembering = action.resolve;
  if (resolve[original] !== undefined) return;
  const remembering: Remembering = (scope, snapshot, info, params, self, extra) => {
    const checks: boolean[] = [];
    const collect: Collect = (args, given) => {
      const check = (guard: unknown) => {
        const answer = args.check(guard);
        checks.push(answer);
        return answer;
      };
      self.collect({ ...args, check }, given);
    };
    const resolved = resolve(scope, snapshot, info, params, { ...self, collect }, extra);
    remember(action, resolved[2], { context: info.context, params, checks });
    return resolved;
  };
  remembering[original] = resolve;
  action.resolve = remembering;
}

function remember(by: unknown, actions: readonly unknown[], call: CollectCall): void {
  const enqueued = describeActions(actions);
  let index = 0;
  for (const action of actions) {
    if (typeof action !== "function" || ("resolve" in action && !isEnqueueActions(action))) continue;
    observe(action);
    origins.set(action, { by, index: index++, call, enqueued });
  }
}

/** Runs the collecting function once more. Undefined when it cannot be the same one: it throws, or asks more guards. */
export function collectAgain(
  action: AnyFunction & EnqueueActions,
  call: CollectCall,
  info: { readonly event: unknown; readonly self: unknown; readonly system: unknown },
): readonly unknown[] | undefined {
  const resolve: Remembering = action.resolve;
  let asked = 0;
  const collect: Collect = (args, params) => {
    const check = () => {
      const answer = call.checks[asked++];
      if (answer === undefined) throw new RangeError("more guards are asked than in the first run");
      return answer;
    };
    action.collect({ ...args, check }, params);
  };
  try {
    const scope = { self: info.self, system: info.system };
    const again = { context: call.context, event: info.event, ...scope };
    const [, , actions] = (resolve[original] ?? resolve)(scope, { context: call.context }, again, call.params, {
      collect,
    });
    return asked === call.checks.length ? actions : undefined;
  } catch {
    // The code is not the one that ran before: it did not throw then. The caller parks the action and says so.
    return undefined;
  }
}

/** The kinds and names of actions, not their bodies. */
export function describeActions(actions: readonly unknown[]): string {
  return JSON.stringify(actions.map(describeAction));
}

function describeAction(action: unknown): readonly [kind: string, name: string] {
  if (typeof action === "string") return ["named", action];
  if (typeof action === "function") {
    if ("resolve" in action && "type" in action) return ["built-in", String(action.type)];
    return ["inline", action.name];
  }
  return ["named", typeof action === "object" && action !== null && "type" in action ? String(action.type) : ""];
}
