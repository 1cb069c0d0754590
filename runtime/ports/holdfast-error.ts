/** What the public API rejects with, whatever it is about: `code` says what happened, the message what to do. */
export abstract class HoldfastError extends Error {
  abstract readonly code: string;
}
