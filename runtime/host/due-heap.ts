/** What is due when, the earliest first. An entry is never removed: whoever takes it looks whether it still holds. */

export type Due<T> = { readonly dueMs: number; readonly item: T };

export class DueHeap<T> {
  readonly #heap: Due<T>[] = [];

  get nextMs(): number | undefined {
    return this.#heap[0]?.dueMs;
  }

  push(dueMs: number, item: T): void {
    const heap = this.#heap;
    let at = heap.push({ dueMs, item }) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      if ((heap[above] as Due<T>).dueMs <= (heap[at] as Due<T>).dueMs) break;
      swap(heap, at, above);
      at = above;
    }
  }

  /** The earliest entry that is due by then, taken out. */
  take(byMs: number): Due<T> | undefined {
    const heap = this.#heap;
    const [top] = heap;
    if (top === undefined || top.dueMs > byMs) return undefined;
    const last = heap.pop() as Due<T>;
    if (heap.length === 0) return top;
    heap[0] = last;
    for (let at = 0; ; ) {
      let least = at;
      for (const below of [2 * at + 1, 2 * at + 2]) {
        const entry = heap[below];
        if (entry !== undefined && entry.dueMs < (heap[least] as Due<T>).dueMs) least = below;
      }
      if (least === at) return top;
      swap(heap, at, least);
      at = least;
    }
  }
}

function swap<T>(heap: Due<T>[], one: number, other: number): void {
  const kept = heap[one] as Due<T>;
  heap[one] = heap[other] as Due<T>;
  heap[other] = kept;
}
