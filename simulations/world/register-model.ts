/**
 * An outside resource that users' effects write through with their token: one value per key, and who wrote it. It keeps a record
 * of all that reached it, for the checker of tokens. With `checks` it refuses what is late, in the same step as the write (C5);
 * without, it is any plain database, which lets everybody in.
 */
import {
  type Claim,
  claimProblem,
  type FencedRegister,
  type InstallOutcome,
  mayAct,
  type RegisterOutcome,
  type RegisterState,
  type RegisterWrite,
} from "../../runtime/ports/fenced-register.ts";
import { ServiceTimeoutError } from "./service-model.ts";

export type RegisterRequest =
  | { readonly do: "install"; readonly key: string; readonly claim: Claim }
  | ({ readonly do: "write" } & RegisterWrite)
  | { readonly do: "read"; readonly key: string };

export type RegisterOperation = {
  readonly key: string;
  /** Missing: somebody wrote past the fence, without a token. */
  readonly claim: Claim | undefined;
  readonly kind: "install" | "write";
  readonly outcome: "accepted" | "fenced";
};

export class RegisterModel {
  /** In the order in which they reached it. */
  readonly operations: RegisterOperation[] = [];
  readonly #checks: boolean;
  readonly #states = new Map<string, RegisterState>();

  constructor(checks: boolean) {
    this.#checks = checks;
  }

  value(key: string): string | undefined {
    return this.#states.get(key)?.value;
  }

  handle(request: RegisterRequest): InstallOutcome | RegisterOutcome | RegisterState | undefined {
    const { key } = request;
    const state = this.#states.get(key);
    if (request.do === "read") return state;
    // What effects send is not typed on its way.
    const claim = request.claim as Claim | undefined;
    const kind = request.do;
    if (this.#checks && claim !== undefined && state !== undefined && !mayAct(state.claim, claim)) {
      this.operations.push({ key, claim, kind, outcome: "fenced" });
      return { kind: "fenced", newest: state.claim };
    }
    this.operations.push({ key, claim, kind, outcome: "accepted" });
    const standing = claim ?? state?.claim ?? { token: [0, 0], holder: "nobody" };
    if (request.do === "install") {
      this.#states.set(key, { value: undefined, effect: undefined, ...state, claim: standing });
      return { kind: "installed", value: state?.value, effect: state?.effect };
    }
    const isRepeated = state?.effect !== undefined && state.effect === request.effect;
    const { value, effect } = isRepeated ? state : request;
    this.#states.set(key, { claim: standing, value, effect });
    return { kind: isRepeated ? "repeated" : "applied" };
  }
}

/** The port, over a way to the resource on which requests and answers are lost and late. */
export function registerOver(ask: (request: RegisterRequest) => Promise<unknown>): FencedRegister {
  const settled = async <T>(request: RegisterRequest): Promise<T | { kind: "unknown"; cause: string }> => {
    try {
      return (await ask(request)) as T;
    } catch (error) {
      if (error instanceof ServiceTimeoutError) return { kind: "unknown", cause: error.message };
      throw error;
    }
  };
  return {
    install: async (key, claim) => {
      refuse(key, claim);
      return settled<InstallOutcome>({ do: "install", key, claim });
    },
    write: async (write) => {
      refuse(write.key, write.claim);
      return settled<RegisterOutcome>({ do: "write", ...write });
    },
    read: (key) => ask({ do: "read", key }) as Promise<RegisterState | undefined>,
  };
}

/** As every adapter does, before anything leaves. */
function refuse(key: string, claim: Claim): void {
  const problem = key === "" ? "the key of a register must not be empty" : claimProblem(claim);
  if (problem !== undefined) throw new RangeError(problem);
}
