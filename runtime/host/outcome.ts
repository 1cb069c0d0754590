/** How a request of one actor ended, for whoever asked. */
import { type ErrorCode, errorOf } from "../errors.ts";
import type { Reply } from "../step.ts";

export type Outcome =
  | { readonly kind: "reply"; readonly reply: Reply }
  /** This node may not run the actor; surely nothing was done. */
  | { readonly kind: "moved" }
  /** It may have been done. */
  | { readonly kind: "unknown" }
  | { readonly kind: "failed"; readonly code: ErrorCode; readonly message: string };

export function failed(code: ErrorCode, message: string): Outcome {
  return { kind: "failed", code, message };
}

/** As the actor's own step refuses. */
export function refused(code: ErrorCode, message: string): Outcome {
  return { kind: "reply", reply: { kind: "refused", error: errorOf(code, message) } };
}
