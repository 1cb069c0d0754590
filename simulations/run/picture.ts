/** What a space-time diagram is drawn from: data, so that it can be kept and drawn later. `diagram.ts` draws it. */
import type { Violation } from "../checkers/violation.ts";
import type { DrawnAt } from "../world/drawing.ts";
import type { Fault } from "./fault.ts";

export type Picture = {
  readonly title: string;
  /** From left to right or top to bottom: clients, nodes, places. */
  readonly lanes: readonly string[];
  readonly drawn: readonly DrawnAt[];
  readonly faults: readonly Fault[];
  readonly violations: readonly Violation[];
  /** When all faults ended. */
  readonly healedMs: number | undefined;
  readonly endMs: number;
};
