/** The disk port in memory, for clusters of one process: nothing survives it. */
import type { Disk, DiskFile } from "../../ports/disk.ts";

type Content = { bytes: Uint8Array; size: number };

export class MemoryDisk implements Disk {
  readonly #files = new Map<string, Content>();
  readonly #turn: () => Promise<void>;

  /** `turn` stands for the time that a flush takes: a process that only ever waits for memory would let nothing else run. */
  constructor(turn: () => Promise<void> = async () => {}) {
    this.#turn = turn;
  }

  async list(): Promise<readonly string[]> {
    return [...this.#files.keys()].sort();
  }

  async open(name: string): Promise<DiskFile> {
    const content = this.#files.get(name) ?? { bytes: new Uint8Array(1_024), size: 0 };
    this.#files.set(name, content);
    return new MemoryFile(content, this.#turn);
  }

  async rename(from: string, to: string): Promise<void> {
    const content = this.#files.get(from);
    if (content === undefined) throw new Error(`there is no file ${from}`);
    this.#files.delete(from);
    this.#files.set(to, content);
  }

  async remove(name: string): Promise<void> {
    if (!this.#files.delete(name)) throw new Error(`there is no file ${name}`);
  }

  async syncFolder(): Promise<void> {}
}

class MemoryFile implements DiskFile {
  readonly #content: Content;
  readonly #turn: () => Promise<void>;

  constructor(content: Content, turn: () => Promise<void>) {
    this.#content = content;
    this.#turn = turn;
  }

  size(): number {
    return this.#content.size;
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    return this.#content.bytes.slice(offset, Math.min(this.#content.size, offset + length));
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    const content = this.#content;
    if (!(offset >= 0 && offset <= content.size))
      throw new RangeError(`a write at ${offset} in a file of ${content.size}`);
    const end = offset + bytes.length;
    if (end > content.bytes.length) {
      const longer = new Uint8Array(Math.max(end, 2 * content.bytes.length));
      longer.set(content.bytes.subarray(0, content.size));
      content.bytes = longer;
    }
    content.bytes.set(bytes, offset);
    content.size = Math.max(content.size, end);
  }

  async truncate(size: number): Promise<void> {
    this.#content.bytes.fill(0, Math.min(size, this.#content.size));
    this.#content.size = Math.min(size, this.#content.size);
  }

  sync(): Promise<void> {
    return this.#turn();
  }

  async close(): Promise<void> {}
}
