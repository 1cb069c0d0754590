/** Dice from the operating system for identities, from the engine for everything that only spreads load. */
import { randomFillSync } from "node:crypto";
import type { Random } from "../ports/random.ts";

/** 32 signs, 5 bits each; without i, l, o and u, which people misread. */
const SIGNS = "0123456789abcdefghjkmnpqrstvwxyz";
const ID_LENGTH = 16;

export class SystemRandom implements Random {
  // Filled in bulk: one call to the system per 256 identities.
  readonly #pool = new Uint8Array(ID_LENGTH * 256);
  #used = this.#pool.length;

  next(): number {
    return Math.random();
  }

  id(): string {
    if (this.#used === this.#pool.length) {
      randomFillSync(this.#pool);
      this.#used = 0;
    }
    let id = "";
    for (let index = 0; index < ID_LENGTH; index++) id += SIGNS[this.#pool[this.#used++]! & 31];
    return id;
  }
}
