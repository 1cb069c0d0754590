/**
 * The store as one incarnation of a node holds it: every call and every answer a point of its gate, and `close` for it
 * alone. A change heard by a watch is a point; beginning to watch is none, since nothing is lost or done by it.
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
import type { Gate } from "./gate.ts";
import type { Laws } from "./laws.ts";
import { describeOutcome, type StoreModel } from "./store-model.ts";

export class StoreHandle implements ActorStore {
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

function describeEntry(entry: StoredEntry | undefined): string {
  return entry === undefined ? "nothing" : `${entry.key} at ${entry.revision}`;
}

function describeEntries(entries: readonly StoredEntry[]): string {
  return `${entries.length} entries, last ${describeEntry(entries.at(-1))}`;
}

function describeChange(change: StoreChange): string {
  return change.kind === "put" ? describeEntry(change.entry) : `${change.key} purged at ${change.revision}`;
}
