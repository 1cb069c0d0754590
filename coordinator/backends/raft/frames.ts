/** Frames in a stream of bytes: four bytes of length, then as many. */

/** Longer than the reader takes: the stream cannot be read on. */
export class FrameTooLong extends Error {
  override readonly name = "FrameTooLong";

  constructor(bytes: number, limitBytes: number) {
    super(`it announced a frame of ${bytes} bytes; the limit is ${limitBytes}`);
  }
}

export function frameOf(content: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(4 + content.length);
  new DataView(bytes.buffer).setUint32(0, content.length);
  bytes.set(content, 4);
  return bytes;
}

/** Holds no more than one frame's bytes and the chunk that completes it, whatever is announced. */
export class FrameReader {
  maxFrameBytes: number;
  #chunks: Uint8Array[] = [];
  #heldBytes = 0;

  constructor(maxFrameBytes: number) {
    this.maxFrameBytes = maxFrameBytes;
  }

  /** The frames that are complete now, one by one, so that the limit may be changed between two. Throws FrameTooLong. */
  *take(chunk: Uint8Array): Generator<Uint8Array, void> {
    // A Buffer's own `slice` makes no copy, which whoever keeps a part of a frame relies on.
    this.#chunks.push(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length));
    this.#heldBytes += chunk.length;
    for (let frame = this.#next(); frame !== undefined; frame = this.#next()) yield frame;
  }

  #next(): Uint8Array | undefined {
    if (this.#heldBytes < 4) return undefined;
    const head = this.#peek(4);
    const length = new DataView(head.buffer, head.byteOffset).getUint32(0);
    if (length > this.maxFrameBytes) throw new FrameTooLong(length, this.maxFrameBytes);
    if (this.#heldBytes < 4 + length) return undefined;
    const bytes = this.#peek(4 + length);
    this.#drop(4 + length);
    return bytes.subarray(4);
  }

  /** The first bytes in one piece, which are then held as such. */
  #peek(length: number): Uint8Array {
    const [first] = this.#chunks;
    if (first!.length >= length) return first!.subarray(0, length);
    const joined = new Uint8Array(this.#heldBytes);
    let at = 0;
    for (const chunk of this.#chunks) {
      joined.set(chunk, at);
      at += chunk.length;
    }
    this.#chunks = [joined];
    return joined.subarray(0, length);
  }

  #drop(length: number): void {
    const rest = this.#chunks[0]!.subarray(length);
    this.#heldBytes -= length;
    if (rest.length > 0) this.#chunks[0] = rest;
    else this.#chunks.shift();
  }
}
