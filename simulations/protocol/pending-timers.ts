/** Timers by the machine's own count: what it has set, less what it has cancelled and what has fired, is what is left. */
import type { Document } from "../../runtime/document.ts";
import type { Context } from "./machines.ts";

/** What is wrong; undefined: nothing. */
export function wrongTimers({ actors, timers, status }: Document): string | undefined {
  const context = (actors.s0?.snap as { readonly context?: Partial<Context> } | undefined)?.context;
  if (status !== "active" || context?.pending === undefined) return undefined;
  const left = new Map<string, number>();
  for (const { event, id } of Object.values(timers))
    if ((event as { readonly type?: string }).type === "TICK") left.set(id, (left.get(id) ?? 0) + 1);
  const counted = Object.entries(context.pending).filter(([, count]) => count > 0);
  const [is, shouldBe] = [[...left].sort(), counted.sort()].map((list) => JSON.stringify(list));
  return is === shouldBe ? undefined : `timers ${is}, by the machine's count ${shouldBe}`;
}
