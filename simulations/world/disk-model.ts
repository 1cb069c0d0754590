/**
 * One node's disk, which outlives its processes. D1: what was synced stays, names only after `syncFolder`. D2: at a crash
 * anything that was not synced is kept, lost, torn at a sector or applied without what came before it, as the dice say.
 * Faults by chance besides: `faults.rates`.
 */
import { type Disk, type DiskFile, DiskFullError } from "../../coordinator/ports/disk.ts";
import type { Dice, RangeMs } from "./dice.ts";
import { FaultPlan } from "./fault-plan.ts";
import type { Gate } from "./gate.ts";
import type { Laws } from "./laws.ts";

export type DiskFault =
  /** `write` rejects, having written a part. */
  | "full"
  /** `sync` rejects, and what was to be synced may be lost. */
  | "sync-error"
  /** `sync` resolves, and nothing was synced. No system can be right on such a disk; it can only notice. */
  | "sync-lie"
  | "sync-slow"
  /** What is read has one bit changed, and keeps it: the medium rots. */
  | "bit-flip";

const sectorBytes = 512;
const operationMs: RangeMs = [0.01, 0.1];
const syncMs: RangeMs = [0.2, 4];
const slowMs: RangeMs = [200, 3_000];

type Change =
  | { readonly kind: "write"; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly kind: "truncate"; readonly size: number };

type NameChange =
  | { readonly kind: "make"; readonly name: string; readonly file: Inode }
  | { readonly kind: "rename"; readonly from: string; readonly to: string }
  | { readonly kind: "remove"; readonly name: string };

/** The error of a sync that failed: Linux may have thrown away what it could not write. */
export class DiskSyncError extends Error {
  override readonly name = "DiskSyncError";
}

export class DiskModel {
  readonly faults: FaultPlan<DiskFault>;
  /** Bits that rotted so far. */
  flips = 0;
  readonly #node: string;
  readonly #laws: Laws;
  #names = new Map<string, Inode>();
  #syncedNames = new Map<string, Inode>();
  #nameChanges: NameChange[] = [];
  #opened = new Set<Inode>();

  constructor(laws: Laws, node: string) {
    this.#laws = laws;
    this.#node = node;
    this.faults = new FaultPlan(`disk/${node}`, laws.dice);
  }

  /** A new disk. */
  wipe(): void {
    this.#names = new Map();
    this.#syncedNames = new Map();
    this.#nameChanges = [];
    this.#opened = new Set();
    this.#laws.loop.note(`disk ${this.#node} wiped`);
  }

  /** As one incarnation of the node holds it; its crash is the disk's. */
  open(gate: Gate): Disk {
    gate.onCrash(() => this.#crash());
    const call = <T>(name: string, detail: string, perform: () => T, travelMs: RangeMs = operationMs): Promise<T> =>
      gate.call(
        `disk.${name}`,
        detail,
        async () => {
          await this.#laws.loop.sleep(this.#dice("pace").ms(travelMs), `disk.${name} ${this.#node}`);
          return perform();
        },
        () => "",
      );
    return {
      list: () => call("list", "", () => [...this.#names.keys()].sort()),
      open: (name) =>
        call("open", name, () => {
          const file = this.#names.get(name) ?? this.#make(name);
          if (this.#opened.has(file)) throw new Error(`disk: ${name} is open already`);
          this.#opened.add(file);
          return this.#handle(file, name, call, gate);
        }),
      rename: (from, to) => call("rename", `${from} to ${to}`, () => this.#change({ kind: "rename", from, to }, from)),
      remove: (name) => call("remove", name, () => this.#change({ kind: "remove", name }, name)),
      syncFolder: () =>
        call(
          "syncFolder",
          "",
          () => {
            if (this.#draw("sync") === "sync-lie") return;
            this.#syncedNames = new Map(this.#names);
            this.#nameChanges = [];
          },
          syncMs,
        ),
    };
  }

  #handle(
    file: Inode,
    name: string,
    call: <T>(name: string, detail: string, perform: () => T, travelMs?: RangeMs) => Promise<T>,
    gate: Gate,
  ): DiskFile {
    return {
      size: () => file.current.size,
      read: (offset, length) =>
        call("read", `${name} ${offset} ${length}`, () => {
          if (this.#draw("read") === "bit-flip") {
            file.flipOneBit(this.#dice("bit"), offset, length);
            this.flips++;
          }
          return file.current.read(offset, length);
        }),
      write: (offset, bytes) => {
        const copy = bytes.slice();
        return call("write", `${name} ${offset} ${copy.length}`, () => {
          if (offset > file.current.size)
            throw new Error(`disk: ${name} has ${file.current.size} bytes, not ${offset}`);
          if (this.#draw("write") !== "full") return file.change({ kind: "write", offset, bytes: copy });
          const part = copy.subarray(0, this.#dice("full").whole(0, copy.length));
          file.change({ kind: "write", offset, bytes: part });
          throw new DiskFullError(`no room left for ${name}`);
        });
      },
      truncate: (size) => call("truncate", `${name} ${size}`, () => file.change({ kind: "truncate", size })),
      sync: () => this.#sync(file, name, gate),
      close: () =>
        call("close", name, () => {
          this.#opened.delete(file);
        }),
    };
  }

  /** What was written before the call is on the disk when it resolves; what comes during it may wait for the next. */
  #sync(file: Inode, name: string, gate: Gate): Promise<void> {
    const perform = async (): Promise<void> => {
      const upTo = file.changes.length;
      const fault = this.#draw("sync");
      const pace = this.#dice("pace").ms(syncMs);
      const extraMs = fault === "sync-slow" ? this.#dice("slow").ms(slowMs) : 0;
      const { generation } = file;
      await this.#laws.loop.sleep(pace + extraMs, `disk.sync ${this.#node}`);
      // Its process crashed meanwhile: what became of it is decided already.
      if (generation !== file.generation) return;
      if (fault === "sync-lie") return;
      if (fault === "sync-error") {
        file.crash(this.#dice("crash"));
        throw new DiskSyncError(`${name} could not be synced: what it holds is not to be trusted`);
      }
      file.settle(upTo);
    };
    return gate.call("disk.sync", name, perform, () => "");
  }

  #make(name: string): Inode {
    const file = new Inode();
    this.#nameChanges.push({ kind: "make", name, file });
    this.#names.set(name, file);
    return file;
  }

  #change(change: NameChange, mustExist: string): void {
    if (!this.#names.has(mustExist)) throw new Error(`disk: there is no ${mustExist}`);
    this.#nameChanges.push(change);
    applyTo(this.#names, change);
  }

  #crash(): void {
    const dice = this.#dice("crash");
    const files = new Set([...this.#names.values(), ...this.#syncedNames.values()]);
    for (const file of files) file.crash(dice);
    for (const change of choose(this.#nameChanges, dice)) applyTo(this.#syncedNames, change);
    this.#names = new Map(this.#syncedNames);
    this.#nameChanges = [];
    this.#opened = new Set();
  }

  #draw(operation: "read" | "write" | "sync"): DiskFault | undefined {
    const fits: Readonly<Record<DiskFault, string>> = {
      full: "write",
      "sync-error": "sync",
      "sync-lie": "sync",
      "sync-slow": "sync",
      "bit-flip": "read",
    };
    const fault = this.faults.draw({ node: this.#node, subject: operation });
    if (fault === undefined || fits[fault] !== operation) return undefined;
    this.#laws.loop.note(`disk ${this.#node}: fault ${fault}`);
    return fault;
  }

  #dice(what: string): Dice {
    return this.#laws.dice.at(`disk/${this.#node}/${what}`);
  }
}

/** One file: what is surely on the disk, what a reader sees, and the changes between the two. */
class Inode {
  readonly synced = new Bytes();
  current = new Bytes();
  changes: Change[] = [];
  /** Raised by whatever decides about the pending changes. */
  generation = 0;

  change(change: Change): void {
    this.changes.push(change);
    applyChange(this.current, change);
  }

  settle(count: number): void {
    for (const change of this.changes.splice(0, count)) applyChange(this.synced, change);
  }

  crash(dice: Dice): void {
    for (const change of choose(this.changes, dice)) {
      if (change.kind === "truncate" || dice.chance(0.75)) applyChange(this.synced, change);
      else applyChange(this.synced, { ...change, bytes: tear(change, dice) });
    }
    this.changes = [];
    this.current = this.synced.copy();
    this.generation++;
  }

  flipOneBit(dice: Dice, offset: number, length: number): void {
    const end = Math.min(offset + length, this.current.size);
    if (end <= offset) return;
    const at = dice.whole(offset, end - 1);
    const mask = 1 << dice.whole(0, 7);
    this.current.flip(at, mask);
    this.synced.flip(at, mask);
  }
}

/** Bytes that grow at the end without copying all of them each time. */
class Bytes {
  #buffer = new Uint8Array(0);
  size = 0;

  read(offset: number, length: number): Uint8Array {
    return this.#buffer.slice(Math.min(offset, this.size), Math.min(offset + length, this.size));
  }

  write(offset: number, bytes: Uint8Array): void {
    const end = offset + bytes.length;
    if (end > this.#buffer.length) {
      const grown = new Uint8Array(Math.max(end, 2 * this.#buffer.length));
      grown.set(this.#buffer.subarray(0, this.size));
      this.#buffer = grown;
    }
    // What lies between the old end and the offset was lost: it reads as zeros.
    if (offset > this.size) this.#buffer.fill(0, this.size, offset);
    this.#buffer.set(bytes, offset);
    this.size = Math.max(this.size, end);
  }

  truncate(size: number): void {
    this.size = Math.min(this.size, size);
  }

  flip(at: number, mask: number): void {
    if (at < this.size) this.#buffer[at] = (this.#buffer[at] as number) ^ mask;
  }

  copy(): Bytes {
    const copy = new Bytes();
    copy.write(0, this.#buffer.subarray(0, this.size));
    return copy;
  }
}

/** All, none, the first few, or any of them: disks and file systems differ. */
function choose<T>(changes: readonly T[], dice: Dice): readonly T[] {
  if (changes.length === 0) return changes;
  switch (dice.pick(["all", "none", "first", "any"] as const)) {
    case "all":
      return changes;
    case "none":
      return [];
    case "first":
      return changes.slice(0, dice.whole(0, changes.length));
    case "any":
      return changes.filter(() => dice.chance(0.5));
  }
}

/** What reached the disk before the power went: whole sectors, from the beginning. */
function tear({ offset, bytes }: Extract<Change, { kind: "write" }>, dice: Dice): Uint8Array {
  const cut = dice.whole(0, bytes.length) + offset;
  return bytes.subarray(0, Math.max(0, Math.floor(cut / sectorBytes) * sectorBytes - offset));
}

function applyChange(bytes: Bytes, change: Change): void {
  if (change.kind === "write") bytes.write(change.offset, change.bytes);
  else bytes.truncate(change.size);
}

function applyTo(names: Map<string, Inode>, change: NameChange): void {
  switch (change.kind) {
    case "make":
      names.set(change.name, change.file);
      break;
    case "remove":
      names.delete(change.name);
      break;
    case "rename": {
      const file = names.get(change.from);
      // Made and renamed since the last sync, and the making was lost.
      if (file === undefined) return;
      names.delete(change.from);
      names.set(change.to, file);
    }
  }
}
