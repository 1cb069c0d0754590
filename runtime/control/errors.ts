/** How a failure travels between a host and the command line: a code to decide on, a message to read. */
import { DamagedDocumentError, NewerDocumentError } from "../document.ts";
import { HoldfastError } from "../errors.ts";

/** A question that was refused or failed. `code` is that of the error classes of the public API, or one of our own. */
export class ControlError extends Error {
  override readonly name = "ControlError";
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** What a failure is called in an answer; undefined for one that nobody foresaw. */
export function codeOf(error: unknown): string | undefined {
  if (error instanceof ControlError || error instanceof HoldfastError) return error.code;
  if (error instanceof DamagedDocumentError) return "Damaged";
  if (error instanceof NewerDocumentError) return "Newer";
  return undefined;
}
