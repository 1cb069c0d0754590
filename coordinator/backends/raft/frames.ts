/** Frames on a byte stream: four bytes of length, most significant first, then so many bytes. */

/** A frame that no peer of ours would send; the connection it came on is of no more use. */
export class FrameTooLarge extends Error {
  override readonly name = "FrameTooLarge";
  readonly sizeBytes: number;

  constructor(sizeBytes: number, maxBytes: number) {
    super(`a frame of ${sizeBytes} bytes; at most ${maxBytes} are taken`);
    this.sizeBytes = sizeBytes;
  }
}

export function frameOf(payload: Uint8Array): Uint8Array {
  const frame = new Uint8Array(4 + payload.length);
  new DataView(frame.buffer).setUint32(0, payload.length);
  frame.set(payload, 4);
  return frame;
}

/** Puts frames together from whatever pieces arrive. Never holds more than one frame of `maxBytes` and the last piece. */
export class FrameReader {
  readonly #maxBytes: number;
  #pieces: Uint8Array[] = [];
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** The frames that are complete now, in order. Throws `FrameTooLarge` as soon as a length says so. */
  push(piece: Uint8Array): Uint8Array[] {
    this.#pieces.push(piece);
    this.#bytes += piece.length;
    const frames: Uint8Array[] = [];
    while (this.#bytes >= 4) {
      const head = this.#peek(4);
      const length = new DataView(head.buffer, head.byteOffset, 4).getUint32(0);
      if (length > this.#maxBytes) throw new FrameTooLarge(length, this.#maxBytes);
      if (this.#bytes < 4 + length) break;
      this.#take(4);
      frames.push(this.#take(length));
    }
    return frames;
  }

  /** The first frame alone, and what came after it: for streams whose first frame has another bound than the rest. */
  pushFirst(piece: Uint8Array): { readonly frame: Uint8Array; readonly rest: Uint8Array } | undefined {
    this.#pieces.push(piece);
    this.#bytes += piece.length;
    if (this.#bytes < 4) return undefined;
    const head = this.#peek(4);
    const length = new DataView(head.buffer, head.byteOffset, 4).getUint32(0);
    if (length > this.#maxBytes) throw new FrameTooLarge(length, this.#maxBytes);
    if (this.#bytes < 4 + length) return undefined;
    this.#take(4);
    const frame = this.#take(length);
    return { frame, rest: this.#take(this.#bytes) };
  }

  #peek(count: number): Uint8Array {
    const [first] = this.#pieces as [Uint8Array];
    return first.length >= count ? first : this.#joined();
  }

  #take(count: number): Uint8Array {
    const all = (this.#pieces[0]?.length ?? 0) >= count ? (this.#pieces[0] ?? new Uint8Array()) : this.#joined();
    const taken = all.slice(0, count);
    const rest = all.subarray(count);
    if (rest.length > 0) this.#pieces[0] = rest;
    else this.#pieces.shift();
    this.#bytes -= count;
    return taken;
  }

  #joined(): Uint8Array {
    const joined = new Uint8Array(this.#bytes);
    let at = 0;
    for (const piece of this.#pieces) {
      joined.set(piece, at);
      at += piece.length;
    }
    this.#pieces = this.#bytes > 0 ? [joined] : [];
    return joined;
  }
}
