/**
 * A store at the far end of a network: requests and answers take time, get lost, arrive twice or late, and the watch
 * lags. Whatever arrives is judged by the one `StoreData`, at the moment it arrives. Start reading at `write`.
 */
import { type KeysOf, refuseUnknown } from "../../runtime/options.ts";
import type {
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
import type { Laws } from "./laws.ts";
import { type AppliedChange, StoreData } from "./store-data.ts";
import { StoreFaults } from "./store-faults.ts";

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

const storeSettings: KeysOf<StoreSettings> = { delays: true, maxValueBytes: true, historyDepth: true };

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
    refuseUnknown("settings of the store", settings, storeSettings, RangeError);
    refuseUnknown("delays of the store", settings.delays, defaultDelays, RangeError);
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
    const { loop, dice, links } = this.#laws;
    const pace = dice.at(`store/${node}/watch`);
    const late = dice.at(`store/${node}/watch/late`);
    const channel = loop.channel(`store.watch ${node} ${prefix}`);
    // What has arrived at a cut link waits behind it, in order.
    const waiting: StoreChange[] = [];
    let isStopped = false;
    const letThrough = (): void => {
      if (isStopped || this.#isCut(node)) return;
      const change = waiting.shift();
      if (change !== undefined) deliver(change);
      if (waiting.length > 0) planNext();
    };
    const planNext = (): void => {
      loop.after(0, `store.watch ${node} ${prefix}`, letThrough);
    };
    const stopHealing = links.onHeal(() => {
      if (waiting.length > 0) planNext();
    });
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
      stopHealing();
    };
  }

  /** One write or purge through the network. `judge` applies it, or not, to the data as they are when it arrives. */
  async #change(node: string, key: string, text: string, judge: () => WriteOutcome): Promise<WriteOutcome> {
    const { loop, dice, links } = this.#laws;
    const travel = dice.at(`store/${node}/travel`);
    const late = dice.at(`store/${node}/late`);
    const requestMs = travel.ms(this.delays.travelMs);
    const answerMs = travel.ms(this.delays.travelMs);
    const way = links.pass(node, storePlace);
    const fault = way.kind === "lost" ? "unknown-lost" : this.faults.write.draw({ node, subject: key });
    const sentMs = loop.nowMs;
    const draw = (lost = false) =>
      loop.draw?.({
        kind: "message",
        from: node,
        to: storePlace,
        sentMs,
        label: `write ${key}`,
        ...(lost && { lost }),
      });
    const apply = (): WriteOutcome => {
      const outcome = judge();
      draw();
      loop.note(`store ${node} ${text}: ${describeOutcome(outcome)}`);
      return outcome;
    };
    if (fault !== undefined) loop.note(`store ${node} ${text}: fault ${fault}`);
    if (fault === "unknown-lost") draw(true);
    if (fault === "unknown-lost" || fault === "unknown-late") {
      if (fault === "unknown-late") loop.after(requestMs + late.ms(this.delays.lateMs), "store late write", apply);
      return this.#giveUp(node);
    }
    const extraMs = way.kind === "passes" ? way.extraMs : 0;
    if (way.kind === "passes" && way.copyAfterMs !== undefined)
      loop.after(requestMs + way.copyAfterMs, "store second copy", apply);
    if (extraMs > this.delays.giveUpMs[0]) {
      loop.after(requestMs + extraMs, "store late write", apply);
      return this.#giveUp(node);
    }

    await loop.sleep(requestMs + extraMs, "store write arrives");
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
    const { loop, links } = this.#laws;
    await loop.sleep(delayMs, "store write answered");
    const back = links.pass(storePlace, node);
    if (back.kind === "lost" || back.extraMs > this.delays.giveUpMs[0]) return this.#giveUp(node);
    if (back.extraMs > 0) await loop.sleep(back.extraMs, "store answer delayed");
    return outcome;
  }

  async #giveUp(node: string): Promise<WriteOutcome> {
    const { loop, dice } = this.#laws;
    await loop.sleep(dice.at(`store/${node}/give-up`).ms(this.delays.giveUpMs), "store write unanswered");
    return { kind: "unknown" };
  }

  async #query<T>(node: string, subject: string, answer: (isStale: boolean) => T): Promise<T> {
    const { loop, dice, links } = this.#laws;
    const travel = dice.at(`store/${node}/travel`);
    const requestMs = travel.ms(this.delays.travelMs);
    const answerMs = travel.ms(this.delays.travelMs);
    const way = links.pass(node, storePlace);
    const isTooLate = way.kind === "lost" || way.extraMs > this.delays.giveUpMs[0];
    const fault = isTooLate ? "unreachable" : this.faults.read.draw({ node, subject });
    if (fault !== undefined) loop.note(`store ${node} read ${subject}: fault ${fault}`);
    if (fault === "unreachable") return this.#refuseToRead(node);

    await loop.sleep(requestMs + (way.kind === "passes" ? way.extraMs : 0), "store read arrives");
    const found = answer(fault === "stale");
    const lateMs = fault === "slow-answer" ? dice.at(`store/${node}/late`).ms(this.delays.lateMs) : 0;
    await loop.sleep(answerMs + lateMs, "store read answered");
    const back = links.pass(storePlace, node);
    if (back.kind === "lost" || back.extraMs > this.delays.giveUpMs[0]) return this.#refuseToRead(node);
    if (back.extraMs > 0) await loop.sleep(back.extraMs, "store answer delayed");
    return found;
  }

  async #refuseToRead(node: string): Promise<never> {
    const { loop, dice } = this.#laws;
    await loop.sleep(dice.at(`store/${node}/give-up`).ms(this.delays.giveUpMs), "store read unanswered");
    throw new StoreUnreachableError(node);
  }

  #isCut(node: string): boolean {
    return this.#laws.links.isCut(storePlace, node);
  }
}

export class StoreUnreachableError extends Error {
  override readonly name = "StoreUnreachableError";

  constructor(node: string) {
    super(`the store cannot be reached from ${node}: try again`);
  }
}

export function describeOutcome(outcome: WriteOutcome): string {
  if (outcome.kind === "written") return `written ${outcome.revision}`;
  return outcome.kind === "refused" ? `refused ${outcome.reason}` : outcome.kind;
}
