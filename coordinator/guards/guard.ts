/**
 * A fenced register as code under a lease wants it: what is refused is thrown, so that it ends the work (C9). Works with every
 * register: Redis (`holdfast/redis`), JetStream KV.
 */
import type { Claim, FencedRegister } from "../../runtime/ports/fenced-register.ts";
import { FencedError, FenceUnknown } from "../lease/errors.ts";

/** Refuses what comes too late. */
export interface Fence {
  /** Installs the claim before anything is read (C6), or finds it installed. Rejects with FencedError or FenceUnknown. */
  admit(name: string, claim: Claim): Promise<void>;
}

export class Guard implements Fence {
  readonly #register: FencedRegister;

  constructor(register: FencedRegister) {
    this.#register = register;
  }

  /** The value as it stands, which no earlier holder can change any more (C6). */
  async install(key: string, claim: Claim): Promise<string | undefined> {
    const outcome = await this.#register.install(key, claim);
    if (outcome.kind === "fenced") throw new FencedError(key, outcome.newest);
    if (outcome.kind === "unknown") throw new FenceUnknown(`${key}: ${outcome.cause}`);
    return outcome.value;
  }

  async admit(name: string, claim: Claim): Promise<void> {
    await this.install(name, claim);
  }

  /** Whether it was done now; false: this very effect wrote last. */
  async write(key: string, claim: Claim, value: string, effect: string): Promise<boolean> {
    const outcome = await this.#register.write({ key, claim, value, effect });
    if (outcome.kind === "fenced") throw new FencedError(key, outcome.newest);
    if (outcome.kind === "unknown") throw new FenceUnknown(`${key}: ${outcome.cause}`);
    return outcome.kind === "applied";
  }
}
