/**
 * Randomness that belongs to a place: seed and name give an independent generator. A fault that is switched off, or a
 * node that is removed, takes only its own dice away; what all the others roll stays as it was, so failures shrink.
 */
import { hashText } from "../../runtime/hash.ts";

/** Both ends in milliseconds; rolled in steps of a microsecond. */
export type RangeMs = readonly [fromMs: number, toMs: number];

export class Dice {
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  constructor(seed: string) {
    const low = hashText(`${seed}/low`);
    const high = hashText(`${seed}/high`);
    this.#a = Number.parseInt(low.slice(0, 8), 16) | 0;
    this.#b = Number.parseInt(low.slice(8), 16) | 0;
    this.#c = Number.parseInt(high.slice(0, 8), 16) | 0;
    this.#d = Number.parseInt(high.slice(8), 16) | 1;
    // sfc32 wants a dozen rounds before neighbouring seeds have parted.
    for (let round = 0; round < 12; round++) this.next();
  }

  /** Uniform in [0, 1): sfc32 (Chris Doty-Humphrey, PractRand). */
  next(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#d) | 0;
    this.#d = (this.#d + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return (sum >>> 0) / 0x1_0000_0000;
  }

  /** A whole number from `from` to `to`, both included. */
  whole(from: number, to: number): number {
    return from + Math.floor(this.next() * (to - from + 1));
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  ms([fromMs, toMs]: RangeMs): number {
    return Math.round((fromMs + this.next() * (toMs - fromMs)) * 1000) / 1000;
  }

  pick<T>(items: readonly T[]): T {
    if (items.length === 0) throw new Error("dice: nothing to pick from");
    return items[Math.floor(this.next() * items.length)] as T;
  }

  /** 16 letters and digits. */
  id(): string {
    const alphabet = "0123456789abcdefghijklmnopqrstuvwxyz";
    let id = "";
    while (id.length < 16) id += alphabet[Math.floor(this.next() * alphabet.length)];
    return id;
  }
}

/** One generator per place, made when the place first rolls. */
export class DiceTable {
  readonly #seed: string;
  readonly #places = new Map<string, Dice>();

  constructor(seed: string) {
    this.#seed = seed;
  }

  at(place: string): Dice {
    let dice = this.#places.get(place);
    if (dice === undefined) {
      dice = new Dice(`${this.#seed}@${place}`);
      this.#places.set(place, dice);
    }
    return dice;
  }
}
