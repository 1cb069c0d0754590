/**
 * Lines of text out of a socket, each bounded: a longer one is skipped to its end and reported, and the next is read as
 * if nothing had been. Reads on only when it is asked to, so that a fast writer fills no memory.
 */
import type { Socket } from "node:net";

export type Line = { readonly kind: "line"; readonly text: string } | { readonly kind: "tooLong" };

const newline = 10;

export class LineReader {
  readonly #socket: Socket;
  readonly #maxBytes: number;
  readonly #ready: Line[] = [];
  #parts: Buffer[] = [];
  #bytes = 0;
  #ended = false;
  #wake: () => void = () => undefined;

  constructor(socket: Socket, maxBytes: number) {
    this.#socket = socket;
    this.#maxBytes = maxBytes;
    socket.on("data", (chunk: Buffer) => this.#onData(chunk));
    for (const ending of ["end", "close", "error"]) socket.on(ending, () => this.#onEnd());
  }

  /** The next line; undefined when there are no more. A last line without its end does not count. */
  async next(): Promise<Line | undefined> {
    while (this.#ready.length === 0 && !this.#ended) {
      const more = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#socket.resume();
      await more;
    }
    return this.#ready.shift();
  }

  #onData(chunk: Buffer): void {
    let start = 0;
    for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, start)) {
      this.#add(chunk.subarray(start, end));
      const isTooLong = this.#bytes > this.#maxBytes;
      this.#ready.push(
        isTooLong ? { kind: "tooLong" } : { kind: "line", text: Buffer.concat(this.#parts).toString("utf8") },
      );
      this.#parts = [];
      this.#bytes = 0;
      start = end + 1;
    }
    this.#add(chunk.subarray(start));
    if (this.#ready.length === 0) return;
    this.#socket.pause();
    this.#wake();
  }

  #add(part: Buffer): void {
    this.#bytes += part.length;
    if (this.#bytes > this.#maxBytes) this.#parts = [];
    else if (part.length > 0) this.#parts.push(part);
  }

  #onEnd(): void {
    this.#ended = true;
    this.#wake();
  }
}
