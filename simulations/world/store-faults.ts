/** What can go wrong between a node and the store, kind by kind, and how to order it by chance or by script. */
import { type FaultCall, FaultPlan, type FaultRates } from "./fault-plan.ts";
import type { Laws } from "./laws.ts";

/** What can happen to a write or a purge. */
export type WriteFault =
  /** Answered `conflict`, not applied and never will be, as a replicated stream does under load. */
  | "conflict"
  /** Applied, answered `conflict`: the adapter repeated it and met its own first attempt. */
  | "conflict-applied"
  /** Applied, the answer is lost. */
  | "unknown-applied"
  /** Answered `unknown`; arrives later, after others may have written, and is judged then. */
  | "unknown-late"
  /** Never arrives. */
  | "unknown-lost"
  /** Arrives twice; the first is answered, the second is judged by compare-and-set when it arrives. */
  | "duplicate"
  /** Applied and answered truly, but long after: a caller may have crashed meanwhile. */
  | "slow-answer"
  /** Refused: no room. */
  | "full";

/** What can happen to a read, a listing or a history. */
export type ReadFault =
  /** Rejects: not reachable. */
  | "unreachable"
  /** Answered truly, but long after. */
  | "slow-answer"
  /** Answered from before the latest write of the key (`read` alone). */
  | "stale";

/** What can happen to one change on its way to one watcher. */
export type WatchFault =
  /** Everything behind it waits too: changes stay in order. */
  | "slow"
  /** Left out, if the key has a later change; the latest is never left out. */
  | "skip";

export type StoreFaultRates = {
  readonly write?: FaultRates<WriteFault>;
  readonly read?: FaultRates<ReadFault>;
  readonly watch?: FaultRates<WatchFault>;
};

/** The faults of a store: `faults.set({...})` by chance, `faults.next("write", 2, "unknown-applied")` by script. */
export class StoreFaults {
  readonly write: FaultPlan<WriteFault>;
  readonly read: FaultPlan<ReadFault>;
  readonly watch: FaultPlan<WatchFault>;

  constructor({ dice }: Laws) {
    this.write = new FaultPlan("store/write", dice);
    this.read = new FaultPlan("store/read", dice);
    this.watch = new FaultPlan("store/watch", dice);
  }

  /** Replaces all rates. */
  set(rates: StoreFaultRates): void {
    this.write.rates = rates.write ?? {};
    this.read.rates = rates.read ?? {};
    this.watch.rates = rates.watch ?? {};
  }

  /**
   * The n-th operation from now (1: the next) that `where` accepts. `subject` is the key (or prefix); a purge is a
   * write here, listings and histories are reads.
   */
  next(operation: "write", nth: number, fault: WriteFault, where?: (call: FaultCall) => boolean): void;
  next(operation: "read", nth: number, fault: ReadFault, where?: (call: FaultCall) => boolean): void;
  next(operation: "watch", nth: number, fault: WatchFault, where?: (call: FaultCall) => boolean): void;
  next(
    operation: "write" | "read" | "watch",
    nth: number,
    fault: WriteFault | ReadFault | WatchFault,
    where?: (call: FaultCall) => boolean,
  ): void {
    if (operation === "write") this.write.next(nth, fault as WriteFault, where);
    else if (operation === "read") this.read.next(nth, fault as ReadFault, where);
    else this.watch.next(nth, fault as WatchFault, where);
  }

  off(): void {
    this.write.off();
    this.read.off();
    this.watch.off();
  }
}
