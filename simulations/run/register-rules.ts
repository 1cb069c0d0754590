/** What users' effects wrote to resources outside, held against the checker of tokens, which knows nothing of actors. */
import { checkTokensAtResources, type FencedOperation } from "../checkers/tokens.ts";
import type { Violation } from "../checkers/violation.ts";
import type { RegisterModel } from "../world/register-model.ts";

export function judgeRegisters(registers: Readonly<Record<string, RegisterModel>>): readonly Violation[] {
  const violations: Violation[] = [];
  const operations: FencedOperation[] = [];
  for (const [name, { operations: reached }] of Object.entries(registers)) {
    for (const { key, claim, kind, outcome } of reached) {
      const resource = `${name}/${key}`;
      if (claim === undefined) violations.push({ rule: "unfenced-write", detail: `${resource}, a ${kind}` });
      else operations.push({ resource, holder: claim.holder, token: claim.token, kind, outcome });
    }
  }
  return [...violations, ...checkTokensAtResources(operations)];
}
