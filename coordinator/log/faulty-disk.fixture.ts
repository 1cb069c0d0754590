/**
 * A disk in memory that can lose power: of what was not synced, any part survives, torn anywhere, and so do names. It can
 * be full, fail a sync, and rot. Every choice comes from the dice that are given.
 */
import { type Disk, type DiskFile, DiskFullError } from "../ports/disk.ts";

type Change =
  | { readonly kind: "write"; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly kind: "truncate"; readonly size: number };
type Inode = { durable: Uint8Array; now: Uint8Array; pending: Change[] };
/** Undefined: the name is taken away. */
type Naming = readonly (readonly [string, Inode | undefined])[];

/** Nothing happens any more: the power is gone. */
export class PowerLost extends Error {
  override readonly name = "PowerLost";
}

export class FaultyDisk implements Disk {
  readonly #roll: () => number;
  #durableNames = new Map<string, Inode>();
  #names = new Map<string, Inode>();
  #pendingNames: Naming[] = [];
  /** Operations until the power goes. */
  #operationsLeft = Number.POSITIVE_INFINITY;
  #life = 0;
  roomBytes = Number.POSITIVE_INFINITY;
  failsSync = false;
  syncs = 0;

  /** `roll` gives numbers in [0, 1). */
  constructor(roll: () => number) {
    this.#roll = roll;
  }

  losePowerAfter(operations: number): void {
    this.#operationsLeft = operations;
  }

  /** What a process that starts after the power came back finds. Handles of before are dead. */
  restart(): void {
    this.#life++;
    this.#operationsLeft = Number.POSITIVE_INFINITY;
    for (const naming of this.#pendingNames) if (this.#roll() < 0.5) name(this.#durableNames, naming);
    this.#names = new Map(this.#durableNames);
    this.#pendingNames = [];
    for (const inode of new Set(this.#names.values())) {
      for (const change of inode.pending) this.#survive(inode, change);
      inode.pending = [];
      inode.now = inode.durable;
    }
  }

  /** Changes one bit of what is on the disk. False: there is nothing at that place. */
  flipBit(file: string, offset: number, bit: number): boolean {
    const inode = this.#names.get(file);
    if (inode === undefined || offset >= inode.durable.length) return false;
    const rotten = inode.durable.slice();
    rotten[offset]! ^= 1 << bit;
    inode.durable = rotten;
    inode.now = rotten;
    return true;
  }

  sizeOf(file: string): number {
    return this.#names.get(file)?.durable.length ?? 0;
  }

  contentOf(file: string): Uint8Array {
    return this.#names.get(file)?.durable.slice() ?? new Uint8Array();
  }

  /** As if a person had removed it. */
  lose(file: string): void {
    this.#names.delete(file);
    this.#durableNames.delete(file);
  }

  #survive(inode: Inode, change: Change): void {
    const luck = this.#roll();
    if (luck < 0.3) return;
    if (change.kind === "truncate" || luck < 0.6) inode.durable = changed(inode.durable, change);
    else {
      const bytes = change.bytes.slice(0, Math.floor(this.#roll() * change.bytes.length));
      inode.durable = changed(inode.durable, { ...change, bytes });
    }
  }

  async #operate(life: number): Promise<void> {
    // Real disks answer later, so that others get on in between.
    await Promise.resolve();
    if (life !== this.#life || this.#operationsLeft <= 0) throw new PowerLost();
    this.#operationsLeft--;
    if (this.#operationsLeft <= 0) throw new PowerLost();
  }

  async list(): Promise<readonly string[]> {
    await this.#operate(this.#life);
    return [...this.#names.keys()].sort();
  }

  async open(file: string): Promise<DiskFile> {
    const life = this.#life;
    await this.#operate(life);
    let inode = this.#names.get(file);
    if (inode === undefined) {
      inode = { durable: new Uint8Array(), now: new Uint8Array(), pending: [] };
      this.#rename([[file, inode]]);
    }
    return this.#handle(inode, life);
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#operate(this.#life);
    const inode = this.#names.get(from);
    if (inode === undefined) throw new Error(`there is no ${from}`);
    this.#rename([
      [from, undefined],
      [to, inode],
    ]);
  }

  async remove(file: string): Promise<void> {
    await this.#operate(this.#life);
    if (!this.#names.has(file)) throw new Error(`there is no ${file}`);
    this.#rename([[file, undefined]]);
  }

  async syncFolder(): Promise<void> {
    await this.#operate(this.#life);
    this.#durableNames = new Map(this.#names);
    this.#pendingNames = [];
  }

  #rename(naming: Naming): void {
    name(this.#names, naming);
    this.#pendingNames.push(naming);
  }

  #handle(inode: Inode, life: number): DiskFile {
    const change = (made: Change) => {
      inode.now = changed(inode.now, made);
      inode.pending.push(made);
    };
    return {
      size: () => inode.now.length,
      read: async (offset, length) => {
        await this.#operate(life);
        return inode.now.slice(offset, offset + length);
      },
      write: async (offset, bytes) => {
        if (!(offset >= 0 && offset <= inode.now.length)) throw new RangeError(`a write at ${offset}`);
        const copy = bytes.slice();
        await this.#operate(life);
        const growth = Math.max(0, offset + copy.length - inode.now.length);
        if (growth > this.roomBytes) {
          change({ kind: "write", offset, bytes: copy.slice(0, copy.length - growth + this.roomBytes) });
          this.roomBytes = 0;
          throw new DiskFullError("full");
        }
        this.roomBytes -= growth;
        change({ kind: "write", offset, bytes: copy });
      },
      truncate: async (size) => {
        await this.#operate(life);
        change({ kind: "truncate", size });
      },
      sync: async () => {
        await this.#operate(life);
        this.syncs++;
        if (this.failsSync) throw new Error("input/output error");
        inode.durable = inode.now;
        inode.pending = [];
      },
      close: async () => {},
    };
  }
}

function changed(content: Uint8Array, change: Change): Uint8Array {
  if (change.kind === "truncate") {
    if (change.size <= content.length) return content.slice(0, change.size);
    const longer = new Uint8Array(change.size);
    longer.set(content);
    return longer;
  }
  const { offset, bytes } = change;
  // An earlier write that did not survive leaves zeros.
  const result = new Uint8Array(Math.max(content.length, offset + bytes.length));
  result.set(content);
  result.set(bytes, offset);
  return result;
}

function name(names: Map<string, Inode>, naming: Naming): void {
  for (const [file, inode] of naming) {
    if (inode === undefined) names.delete(file);
    else names.set(file, inode);
  }
}
