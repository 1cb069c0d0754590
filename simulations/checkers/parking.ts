/**
 * R7: nothing is set aside without a reason that a person can act on, nothing that was well is set aside, and what is set
 * aside stays as it was. What happened to an actor (a foreign write, a machine that threw) the test knows of itself.
 */
import type { Violation } from "./violation.ts";

export type ParkedActor = {
  readonly actor: string;
  readonly atMs: number;
  readonly reason: string;
  /** The document when it was parked, and at the end; undefined: there is none. */
  readonly valueThen: string | undefined;
  readonly valueNow: string | undefined;
};

/** Something that may park an actor. */
export type Mishap = { readonly actor: string; readonly atMs: number };

export type ParkingHistory = {
  readonly parked: readonly ParkedActor[];
  readonly mishaps: readonly Mishap[];
  /** Mishaps of these must have parked their actor by the end, unless somebody resumed it. */
  readonly mustBeParked: readonly string[];
  /** Actors that a person resumed or wrote to after they had been parked. */
  readonly touched: ReadonlySet<string>;
};

export function checkParking({ parked, mishaps, mustBeParked, touched }: ParkingHistory): readonly Violation[] {
  const violations: Violation[] = [];
  for (const { actor, atMs, reason, valueThen, valueNow } of parked) {
    if (reason.trim() === "") violations.push({ rule: "parked-without-reason", detail: `${actor} at ${atMs}` });
    if (!mishaps.some((mishap) => mishap.actor === actor && mishap.atMs <= atMs))
      violations.push({ rule: "parked-needlessly", detail: `${actor} at ${atMs}: nothing had happened to it` });
    if (valueThen !== valueNow && !touched.has(actor))
      violations.push({ rule: "parked-and-changed", detail: `${actor} was changed after it was parked at ${atMs}` });
  }
  const names = new Set(parked.map(({ actor }) => actor));
  for (const actor of mustBeParked)
    if (!names.has(actor) && !touched.has(actor))
      violations.push({ rule: "not-parked", detail: `${actor} went on although it could not` });
  return violations;
}
