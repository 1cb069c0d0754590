/**
 * C1, C5 and C6 at a fenced resource, from what reached it in the order in which it did: tokens never fall, one token has
 * one holder, nobody reads before he has installed his token, and nobody is refused who should have been let in.
 */
import { compareTokens, type Token } from "../../runtime/ports/store.ts";
import type { Violation } from "./violation.ts";

export type FencedOperation = {
  readonly resource: string;
  readonly holder: string;
  readonly token: Token;
  readonly kind: "install" | "read" | "write";
  readonly outcome: "accepted" | "fenced";
};

export function checkTokensAtResources(operations: readonly FencedOperation[]): readonly Violation[] {
  const violations: Violation[] = [];
  const newest = new Map<string, { readonly token: Token; readonly holder: string }>();
  const installed = new Set<string>();
  for (const { resource, holder, token, kind, outcome } of operations) {
    const last = newest.get(resource);
    const order = last === undefined ? 1 : compareTokens(token, last.token);
    const who = `${holder} with ${token.join(".")} at ${resource}`;
    const before = last === undefined ? "nobody" : `${last.holder} with ${last.token.join(".")}`;
    if (outcome === "fenced") {
      if (order > 0 || (order === 0 && last?.holder === holder))
        violations.push({ rule: "refused-rightful-holder", detail: `${who} was refused after ${before}` });
      continue;
    }
    if (order < 0) violations.push({ rule: "token-fell", detail: `${who} was let in after ${before}` });
    else if (order === 0 && last?.holder !== holder)
      violations.push({ rule: "token-shared", detail: `${who} came after ${before}` });
    const name = JSON.stringify([resource, holder, token]);
    if (kind === "install") installed.add(name);
    else if (kind === "read" && !installed.has(name))
      violations.push({ rule: "read-before-install", detail: `${who} read before it had installed its token` });
    if (order >= 0) newest.set(resource, { token, holder });
  }
  return violations;
}
