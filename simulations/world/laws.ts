/** What every model of the world is built on: time, dice and reachability. Nothing else may decide what happens. */
import type { DiceTable } from "./dice.ts";
import type { Links } from "./links.ts";
import type { Loop } from "./loop.ts";

export type Laws = {
  readonly loop: Loop;
  readonly dice: DiceTable;
  readonly links: Links;
};
