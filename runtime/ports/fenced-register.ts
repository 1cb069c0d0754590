/**
 * A resource outside that refuses late writers: it keeps, per key, the highest claim that it has seen, and checks it in
 * the same step as the effect (C5 of the lease contract). Every adapter passes `fenced-register.contract.ts`.
 */
import { compareTokens, type Token } from "./store.ts";

/** Who acts, and by which grant. */
export type Claim = {
  readonly token: Token;
  /** Who was granted the token. A token that two back ends or a rolled-back one gave twice is told apart by it. */
  readonly holder: string;
};

/** C5: a higher token, or the same one in the same hands. */
export function mayAct(newest: Claim | undefined, claim: Claim): boolean {
  if (newest === undefined) return true;
  const order = compareTokens(claim.token, newest.token);
  return order > 0 || (order === 0 && claim.holder === newest.holder);
}

/** What is wrong with a claim; undefined: nothing. */
export function claimProblem({ token, holder }: Claim): string | undefined {
  const isToken =
    Array.isArray(token) && token.length === 2 && token.every((part) => Number.isSafeInteger(part) && part >= 0);
  if (!isToken) return `a token is two whole numbers from 0 to 2^53 - 1, not ${JSON.stringify(token)}`;
  if (typeof holder !== "string" || holder === "" || holder.length > 200)
    return "the holder of a claim must be a text of 1 to 200 characters";
  return undefined;
}

/** FENCED: `newest` was here, and whoever sees this must stop (C9). */
export type Fenced = { readonly kind: "fenced"; readonly newest: Claim };

/** No answer in time: it may be done, now or later. Safe to repeat as it was. */
export type OutcomeUnknown = { readonly kind: "unknown"; readonly cause: string };

export type InstallOutcome =
  | {
      readonly kind: "installed";
      /** As it stands now; no earlier holder can change it any more (C6). */
      readonly value: string | undefined;
      /** The identity of the effect that wrote it. */
      readonly effect: string | undefined;
    }
  | Fenced
  | OutcomeUnknown;

export type RegisterWrite = {
  readonly key: string;
  readonly claim: Claim;
  readonly value: string;
  /** The identity of this effect, such as a tickId: when it is the one that wrote last, nothing is done again. */
  readonly effect: string;
};

export type RegisterOutcome =
  | { readonly kind: "applied" }
  /** This very effect wrote last, under this claim or an earlier one. The claim is installed all the same. */
  | { readonly kind: "repeated" }
  | Fenced
  | OutcomeUnknown;

export type RegisterState = {
  readonly claim: Claim;
  readonly value: string | undefined;
  readonly effect: string | undefined;
};

export interface FencedRegister {
  /** First of all, before anything is read (C6). */
  install(key: string, claim: Claim): Promise<InstallOutcome>;
  write(write: RegisterWrite): Promise<RegisterOutcome>;
  /** For people and tests: decides nothing. Undefined: no claim was ever installed. */
  read(key: string): Promise<RegisterState | undefined>;
}
