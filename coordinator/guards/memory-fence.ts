/** A fence in this process's memory: for a resource that lives and dies with it. */
import { type Claim, claimProblem, mayAct } from "../../runtime/ports/fenced-register.ts";
import { FencedError, LeaseInvalidOption } from "../lease/errors.ts";
import type { Fence } from "./guard.ts";

export class MemoryFence implements Fence {
  readonly #newest = new Map<string, Claim>();

  async admit(name: string, claim: Claim): Promise<void> {
    const problem = claimProblem(claim);
    if (problem !== undefined) throw new LeaseInvalidOption(problem);
    const newest = this.#newest.get(name);
    if (newest !== undefined && !mayAct(newest, claim)) throw new FencedError(name, newest);
    this.#newest.set(name, claim);
  }
}
