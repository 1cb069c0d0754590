/**
 * The append messages sent to one follower and not yet acknowledged, bounded by number and by bytes. Each is known by
 * the index of its last entry; acknowledging an index frees all up to it.
 */
export class Inflights {
  readonly #maxCount: number;
  readonly #maxBytes: number;
  #messages: { readonly index: number; readonly sizeBytes: number }[] = [];
  #sizeBytes = 0;

  constructor(maxCount: number, maxBytes: number) {
    this.#maxCount = maxCount;
    this.#maxBytes = maxBytes;
  }

  get count(): number {
    return this.#messages.length;
  }

  /** One message may exceed the bytes: the bound is met from the next one on. */
  isFull(): boolean {
    return this.#messages.length >= this.#maxCount || this.#sizeBytes >= this.#maxBytes;
  }

  /** `index` is not lower than any added before. */
  add(index: number, sizeBytes: number): void {
    if (this.isFull()) throw new RangeError("cannot add into a full inflights");
    this.#messages.push({ index, sizeBytes });
    this.#sizeBytes += sizeBytes;
  }

  freeUpTo(index: number): void {
    const kept = this.#messages.findIndex((message) => message.index > index);
    const freed = this.#messages.splice(0, kept < 0 ? this.#messages.length : kept);
    for (const { sizeBytes } of freed) this.#sizeBytes -= sizeBytes;
  }

  reset(): void {
    this.#messages = [];
    this.#sizeBytes = 0;
  }

  clone(): Inflights {
    const copy = new Inflights(this.#maxCount, this.#maxBytes);
    copy.#messages = [...this.#messages];
    copy.#sizeBytes = this.#sizeBytes;
    return copy;
  }
}
