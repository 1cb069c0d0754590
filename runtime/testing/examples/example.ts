/**
 * An example: a machine of a kind that XState's documentation shows, the script it is put through, and how it ends.
 * The script speaks only of what comes from outside, so the same run can be made with XState itself and with ours.
 */
import type { AnyStateMachine, StateValue } from "xstate";

/** Tells the world outside; what was told is compared as a set, because an effect is at least once. */
export type Tell = (what: string) => void;

export type ScriptItem =
  | { readonly send: { readonly type: string; readonly [key: string]: unknown } }
  /** Moves the clock in small steps, so that a timer started by another one on the way gets its turn too. */
  | { readonly advanceMs: number }
  /** Lets started promises end and their results arrive. */
  | { readonly settle: true };

export type Example = {
  readonly name: string;
  /** A new machine per run, because its actions close over `tell`. */
  readonly machine: (tell: Tell) => AnyStateMachine;
  readonly input?: unknown;
  readonly script: readonly ScriptItem[];
  readonly endsAs: {
    readonly status: "active" | "done";
    readonly value: StateValue;
    readonly output?: unknown;
    readonly told: readonly string[];
  };
};
