/**
 * A store at the far end of a network: requests and answers take time, get lost, arrive twice or late, and the watch
 * lags. Whatever arrives is judged by the one `StoreData`, at the moment it arrives. Start reading at `write`.
 */
import type {
  ActorStore,
  ListOptions,
  Revision,
  StoreChange,
  StoredEntry,
  StoreInfo,
  StoreWrite,
  Token,
  WriteOutcome,
} from "../../runtime/ports/store.ts";
import type { RangeMs } from "./dice.ts";
import { type FaultCall, FaultPlan, type FaultRates } from "./fault-plan.ts";
import type { Gate } from "./gate.ts";
import type { Laws } from "./laws.ts";
import { type AppliedChange, StoreData } from "./store-data.ts";

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

export type StoreDelays = {
  /** One way of a request or an answer. */
  readonly travelMs: RangeMs;
  /** Until a caller gives up on an answer and says `unknown` or rejects. */
  readonly giveUpMs: RangeMs;
  /** Of what comes late: second copies, late arrivals, slow answers, slow watches. */
  readonly lateMs: RangeMs;
  /** From a change to a watcher. */
  readonly watchMs: RangeMs;
};

export type StoreSettings = {
  readonly delays?: Partial<StoreDelays>;
  readonly maxValueBytes?: number;
  readonly historyDepth?: number;
};

/** The faults of a store: `faults.rates({...})` by chance, `faults.next("write", 2, "unknown-applied")` by script. */
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
  rates(rates: StoreFaultRates): void {
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

/** Where the store is on the map of `Links`. */
export const storePlace = "store";

const defaultDelays: StoreDelays = {
  travelMs: [0.2, 3],
  giveUpMs: [200, 3_000],
  lateMs: [500, 60_000],
  watchMs: [0.5, 20],
};

export class StoreModel {
  readonly faults: StoreFaults;
  readonly data: StoreData;
  readonly info: StoreInfo;
  delays: StoreDelays;
  readonly #laws: Laws;

  constructor(laws: Laws, settings: StoreSettings = {}) {
    const { maxValueBytes = 1_048_576, historyDepth = 64 } = settings;
    this.#laws = laws;
    this.faults = new StoreFaults(laws);
    this.data = new StoreData({ maxValueBytes, historyDepth });
    this.delays = { ...defaultDelays, ...settings.delays };
    this.info = { name: "world", identity: "world-1", durability: "replicated", maxValueBytes, historyDepth };
  }

  /** Every applied change, in the order of revisions: for checkers. */
  get log(): readonly AppliedChange[] {
    return this.data.log;
  }

  /** The truth now, without a network. */
  peek(key: string): StoredEntry | undefined {
    return this.data.latest(key);
  }

  peekAll(prefix = ""): readonly StoredEntry[] {
    return this.data.list({ prefix, limit: Number.MAX_SAFE_INTEGER });
  }

  /** A person writes by hand, without header and compare-and-set. */
  edit(key: string, value: string): Revision {
    this.#laws.loop.note(`store edited by hand ${key}`);
    return this.data.edit(key, value, this.#laws.loop.nowMs);
  }

  /** The store as one incarnation of a node sees it. */
  open(node: string, gate: Gate): ActorStore {
    return new StoreHandle(this, node, gate, this.#laws);
  }

  write(node: string, write: StoreWrite): Promise<WriteOutcome> {
    const text = `write ${write.key} commit ${write.header.commit}`;
    return this.#change(node, write.key, text, () => this.data.write(write, node, this.#laws.loop.nowMs));
  }

  purge(node: string, key: string, expect: Revision, token: Token): Promise<WriteOutcome> {
    const text = `purge ${key}`;
    return this.#change(node, key, text, () => this.data.purge(key, expect, token, node, this.#laws.loop.nowMs));
  }

  async read(node: string, key: string): Promise<StoredEntry | undefined> {
    return this.#query(node, key, (isStale) => (isStale ? this.data.history(key).at(-2) : this.data.latest(key)));
  }

  list(node: string, options: ListOptions): Promise<readonly StoredEntry[]> {
    return this.#query(node, options.prefix, () => this.data.list(options));
  }

  history(node: string, key: string): Promise<readonly StoredEntry[]> {
    return this.#query(node, key, () => this.data.history(key));
  }

  /** Delivers in the order of revisions, each change in an event of its own. */
  watch(node: string, prefix: string, deliver: (change: StoreChange) => void): () => void {
    const { loop, dice } = this.#laws;
    const pace = dice.at(`store/${node}/watch`);
    const late = dice.at(`store/${node}/watch/late`);
    const channel = loop.channel(`store.watch ${node} ${prefix}`);
    // What has arrived at a cut link waits behind it; empty while the link is whole.
    const waiting: StoreChange[] = [];
    let isStopped = false;
    const letThrough = (): void => {
      if (isStopped) return;
      if (this.#isCut(node)) {
        loop.after(this.delays.watchMs[1] + 1, `store.watch ${node} waits`, letThrough, { background: true });
        return;
      }
      const change = waiting.shift();
      if (change !== undefined) deliver(change);
      if (waiting.length > 0) loop.after(0, `store.watch ${node} ${prefix}`, letThrough);
    };
    const stop = this.data.onChange((change) => {
      const { key, revision } = change.kind === "put" ? change.entry : change;
      if (!key.startsWith(prefix)) return;
      const fault = this.faults.watch.draw({ node, subject: key });
      const delayMs = pace.ms(this.delays.watchMs) + (fault === "slow" ? late.ms(this.delays.lateMs) : 0);
      channel.send(delayMs, () => {
        // Whether it has been overwritten is known only now, when it arrives.
        if (fault === "skip" && this.data.lastChangeOf(key) !== revision) return;
        if (waiting.push(change) === 1) letThrough();
      });
    });
    return () => {
      isStopped = true;
      stop();
    };
  }

  /** One write or purge through the network. `judge` applies it, or not, to the data as they are when it arrives. */
  async #change(node: string, key: string, text: string, judge: () => WriteOutcome): Promise<WriteOutcome> {
    const { loop, dice } = this.#laws;
    const travel = dice.at(`store/${node}/travel`);
    const late = dice.at(`store/${node}/late`);
    const requestMs = travel.ms(this.delays.travelMs);
    const answerMs = travel.ms(this.delays.travelMs);
    const fault = this.#isCut(node) ? "unknown-lost" : this.faults.write.draw({ node, subject: key });
    const apply = (): WriteOutcome => {
      const outcome = judge();
      loop.note(`store ${node} ${text}: ${describeOutcome(outcome)}`);
      return outcome;
    };
    if (fault !== undefined) loop.note(`store ${node} ${text}: fault ${fault}`);
    if (fault === "unknown-lost" || fault === "unknown-late") {
      if (fault === "unknown-late") loop.after(requestMs + late.ms(this.delays.lateMs), "store late write", apply);
      return this.#giveUp(node);
    }

    await loop.sleep(requestMs, "store write arrives");
    if (fault === "conflict") return this.#answer(answerMs, node, { kind: "conflict" });
    if (fault === "full")
      return this.#answer(answerMs, node, { kind: "refused", reason: "full", detail: "no room left" });
    const outcome = apply();
    if (fault === "duplicate") loop.after(late.ms(this.delays.lateMs), "store second copy", apply);
    if (fault === "unknown-applied") return this.#giveUp(node);
    if (fault === "conflict-applied") return this.#answer(answerMs, node, { kind: "conflict" });
    if (fault === "slow-answer") return this.#answer(answerMs + late.ms(this.delays.lateMs), node, outcome);
    return this.#answer(answerMs, node, outcome);
  }

  async #answer(delayMs: number, node: string, outcome: WriteOutcome): Promise<WriteOutcome> {
    await this.#laws.loop.sleep(delayMs, "store write answered");
    return this.#isCut(node) ? this.#giveUp(node) : outcome;
  }

  async #giveUp(node: string): Promise<WriteOutcome> {
    const { loop, dice } = this.#laws;
    await loop.sleep(dice.at(`store/${node}/give-up`).ms(this.delays.giveUpMs), "store write unanswered");
    return { kind: "unknown" };
  }

  async #query<T>(node: string, subject: string, answer: (isStale: boolean) => T): Promise<T> {
    const { loop, dice } = this.#laws;
    const travel = dice.at(`store/${node}/travel`);
    const requestMs = travel.ms(this.delays.travelMs);
    const answerMs = travel.ms(this.delays.travelMs);
    const fault = this.#isCut(node) ? "unreachable" : this.faults.read.draw({ node, subject });
    if (fault !== undefined) loop.note(`store ${node} read ${subject}: fault ${fault}`);
    if (fault === "unreachable") return this.#refuseToRead(node);

    await loop.sleep(requestMs, "store read arrives");
    const found = answer(fault === "stale");
    const lateMs = fault === "slow-answer" ? dice.at(`store/${node}/late`).ms(this.delays.lateMs) : 0;
    await loop.sleep(answerMs + lateMs, "store read answered");
    return this.#isCut(node) ? this.#refuseToRead(node) : found;
  }

  async #refuseToRead(node: string): Promise<never> {
    const { loop, dice } = this.#laws;
    await loop.sleep(dice.at(`store/${node}/give-up`).ms(this.delays.giveUpMs), "store read unanswered");
    throw new StoreUnreachableError(node);
  }

  #isCut(node: string): boolean {
    return this.#laws.links.isCut(node, storePlace);
  }
}

export class StoreUnreachableError extends Error {
  override readonly name = "StoreUnreachableError";

  constructor(node: string) {
    super(`the store cannot be reached from ${node}: try again`);
  }
}

/** One incarnation's store: everything through its gate, and `close` for it alone. */
class StoreHandle implements ActorStore {
  readonly info: StoreInfo;
  readonly #model: StoreModel;
  readonly #node: string;
  readonly #gate: Gate;
  readonly #laws: Laws;
  readonly #inFlight = new Set<Promise<unknown>>();
  readonly #stops = new Set<() => void>();
  #isClosed = false;

  constructor(model: StoreModel, node: string, gate: Gate, laws: Laws) {
    this.info = model.info;
    this.#model = model;
    this.#node = node;
    this.#gate = gate;
    this.#laws = laws;
    gate.onCrash(() => this.#stopWatches());
  }

  async read(key: string): Promise<StoredEntry | undefined> {
    this.#refuseIfClosed();
    return this.#gate.call("store.read", key, () => this.#model.read(this.#node, key), describeEntry);
  }

  async write(write: StoreWrite): Promise<WriteOutcome> {
    if (this.#isClosed) return closed();
    const { key, expect, token, header } = write;
    const detail = `${key} expect ${expect} token ${token.join(".")} commit ${header.commit} hash ${header.hash}`;
    return this.#track(
      this.#gate.call("store.write", detail, () => this.#model.write(this.#node, write), describeOutcome),
    );
  }

  async purge(key: string, expect: Revision, token: Token): Promise<WriteOutcome> {
    if (this.#isClosed) return closed();
    const detail = `${key} expect ${expect} token ${token.join(".")}`;
    return this.#track(
      this.#gate.call("store.purge", detail, () => this.#model.purge(this.#node, key, expect, token), describeOutcome),
    );
  }

  async list(options: ListOptions): Promise<readonly StoredEntry[]> {
    this.#refuseIfClosed();
    const detail = `${options.prefix} after ${options.after ?? ""}`;
    return this.#gate.call("store.list", detail, () => this.#model.list(this.#node, options), describeEntries);
  }

  async history(key: string): Promise<readonly StoredEntry[]> {
    this.#refuseIfClosed();
    return this.#gate.call("store.history", key, () => this.#model.history(this.#node, key), describeEntries);
  }

  watch(prefix: string, onChange: (change: StoreChange) => void): () => void {
    let isStopped = false;
    const stopModel = this.#model.watch(this.#node, prefix, (change) => {
      this.#gate.pass("store.watch:change", describeChange(change), () => {
        if (!isStopped) onChange(change);
      });
    });
    const stop = (): void => {
      isStopped = true;
      stopModel();
      this.#stops.delete(stop);
    };
    this.#stops.add(stop);
    return stop;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#laws.loop.note(`${this.#gate.owner} closes its store`);
    await Promise.all(this.#inFlight);
    this.#stopWatches();
  }

  #stopWatches(): void {
    for (const stop of [...this.#stops]) stop();
  }

  #track<T>(answer: Promise<T>): Promise<T> {
    this.#inFlight.add(answer);
    void answer.then(() => this.#inFlight.delete(answer));
    return answer;
  }

  #refuseIfClosed(): void {
    if (this.#isClosed) throw new Error(`the store was closed by ${this.#gate.owner}`);
  }
}

function closed(): WriteOutcome {
  return { kind: "refused", reason: "closed", detail: "the store was closed by this process" };
}

function describeOutcome(outcome: WriteOutcome): string {
  if (outcome.kind === "written") return `written ${outcome.revision}`;
  return outcome.kind === "refused" ? `refused ${outcome.reason}` : outcome.kind;
}

function describeEntry(entry: StoredEntry | undefined): string {
  return entry === undefined ? "nothing" : `${entry.key} at ${entry.revision}`;
}

function describeEntries(entries: readonly StoredEntry[]): string {
  return `${entries.length} entries, last ${describeEntry(entries.at(-1))}`;
}

function describeChange(change: StoreChange): string {
  return change.kind === "put" ? describeEntry(change.entry) : `${change.key} purged at ${change.revision}`;
}
