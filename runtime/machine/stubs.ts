/**
 * What stands for a child's logic while a step runs. Logic that only computes stands for itself; logic that would
 * begin work (promises, callbacks, observables) is replaced by one that records the wish to begin, stop or deliver,
 * so that nothing escapes a step. `live.ts` does the work after the commit.
 */
import { type AnySnapshot, type Event, kindOf, type Logic, type Scope, stopEvent } from "./internals.ts";
import type { DurableSystem } from "./system.ts";

const stubs = new WeakMap<Logic, Logic>();
const originals = new WeakMap<Logic, Logic>();

export function stubFor(logic: Logic): Logic {
  const known = stubs.get(logic);
  if (known !== undefined) return known;
  const stub = makeStub(logic);
  stubs.set(logic, stub);
  originals.set(stub, logic);
  return stub;
}

/** The logic behind a stub; a logic that needs none is its own. */
export function originalOf(logic: Logic): Logic {
  return originals.get(logic) ?? logic;
}

function makeStub(logic: Logic): Logic {
  switch (kindOf(logic)) {
    case "machine":
    case "transition":
      return logic;
    case "promise":
      return {
        ...logic,
        start: (snapshot, scope) => {
          if (snapshot.status === "active") record(scope, "start");
        },
        transition: (snapshot, event, scope) => {
          if (event.type === stopEvent && snapshot.status === "active") record(scope, "stop");
          return logic.transition(snapshot, event, scope);
        },
      };
    case "callback":
      return {
        ...logic,
        start: (_snapshot, scope) => record(scope, "start"),
        transition: (snapshot, event, scope) => {
          if (event.type === stopEvent) {
            record(scope, "stop");
            return { ...snapshot, status: "stopped", error: undefined };
          }
          systemOf(scope).collect({ kind: "deliver", sid: scope.self.sid, event });
          return snapshot;
        },
      };
    case "observable":
      return {
        ...logic,
        start: (snapshot, scope) => {
          if (snapshot.status !== "done") record(scope, "start");
        },
        transition: (snapshot, event, scope) => {
          if (event.type === stopEvent && snapshot.status === "active") {
            record(scope, "stop");
            return stoppedObservable(snapshot);
          }
          return logic.transition(snapshot, event, scope);
        },
      };
    case "custom":
      return {
        ...logic,
        start: (_snapshot, scope) => record(scope, "start"),
        transition: (snapshot: AnySnapshot, event: Event, scope: Scope) => {
          if (event.type === stopEvent) record(scope, "stop");
          return logic.transition(snapshot, event, scope);
        },
      };
  }
}

function stoppedObservable(snapshot: AnySnapshot): AnySnapshot {
  return { ...snapshot, status: "stopped", input: undefined, _subscription: undefined };
}

function record(scope: Scope, kind: "start" | "stop"): void {
  systemOf(scope).collect({ kind, sid: scope.self.sid });
}

function systemOf(scope: Scope): DurableSystem {
  return scope.system as unknown as DurableSystem;
}
