/**
 * Who listens to an actor in the same process hears of a step when it is over, in XState's order and with XState's rules
 * for errors. Only the drop-in for tests has such listeners; a durable actor is watched through its document.
 */
import type { AnySnapshot, Observer, Ref } from "./internals.ts";

type Later = (run: () => void) => void;

/** `reportUnhandled`: an observer's error is nobody's but the process's; it may not reach who sent the event. */
export function tellAfterStep(
  ref: Ref,
  inStep: () => boolean,
  afterStep: Later,
  reportUnhandled: (error: unknown) => void,
): void {
  const { subscribe, _reportError: report, _complete: complete } = ref;
  // An action that throws comes after its step: the snapshots of that step were never there, as far as XState goes.
  let failed = false;
  ref.subscribe = (...args) => {
    // XState itself follows children within a step.
    if (inStep()) return subscribe.apply(ref, args);
    const { next, error, complete: onComplete } = observerOf(args);
    let active = true;
    const tell = (snapshot: AnySnapshot) => {
      try {
        if (active && !failed) next?.(snapshot);
      } catch (thrown) {
        reportUnhandled(thrown);
      }
    };
    const told = (snapshot: AnySnapshot) => afterStep(() => tell(snapshot));
    const inner = subscribe.call(ref, { next: next && told, error, complete: onComplete });
    return {
      unsubscribe: () => {
        if (active) inner.unsubscribe();
        active = false;
      },
    };
  };
  ref._reportError = (error) =>
    afterStep(() => {
      failed = true;
      report.call(ref, error);
    });
  ref._complete = () => afterStep(() => complete.call(ref));
}

/** `subscribe` takes an observer, or its functions one by one. */
function observerOf(args: readonly unknown[]): Observer {
  const [first, error, complete] = args as [Observer | Observer["next"], Observer["error"], Observer["complete"]];
  if (typeof first !== "object" || first === null) return { next: first ?? undefined, error, complete };
  return { next: first.next?.bind(first), error: first.error?.bind(first), complete: first.complete?.bind(first) };
}
