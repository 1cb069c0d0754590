/**
 * What happened, line by line, as one rolling hash: two runs of a seed are the same run if and only if the hashes are.
 * The last lines are always kept for the message of a failure; all of them only on request.
 */
import { hashText } from "../../runtime/hash.ts";

const keptLines = 400;

/** By table: `toFixed` costs as much as the hash of the line. */
const thousandths = Array.from({ length: 1_000 }, (_, number) => String(number).padStart(3, "0"));

export class Trace {
  readonly #keepAll: boolean;
  readonly #lines: string[] = [];
  #hash = "";
  #count = 0;

  constructor(keepAll: boolean) {
    this.#keepAll = keepAll;
  }

  get hash(): string {
    return this.#hash;
  }

  /** How many lines there have been, kept or not. */
  get count(): number {
    return this.#count;
  }

  note(atMs: number, text: string): void {
    const us = Math.round(atMs * 1_000);
    const line = `${Math.floor(us / 1_000)}.${thousandths[us % 1_000]} ${text}`;
    this.#hash = hashText(this.#hash + line);
    this.#count++;
    this.#lines.push(line);
    if (!this.#keepAll && this.#lines.length >= 2 * keptLines) this.#lines.splice(0, keptLines);
  }

  /** The kept lines, oldest first; at most the last `count`. */
  lines(count = Number.POSITIVE_INFINITY): readonly string[] {
    return count === 0 ? [] : this.#lines.slice(-Math.min(count, this.#lines.length));
  }
}
