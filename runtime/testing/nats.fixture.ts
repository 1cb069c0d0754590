/** For tests that need a real nats-server: which ones there are, and what happens when there is none. */
import { describe, test } from "vitest";
import { findNatsServers, howToGetOne, type NatsBinary } from "./nats-server.ts";

const found = findNatsServers();

/** The oldest and the newest server at hand: what a contract must hold on. */
export const natsVersions: readonly NatsBinary[] =
  found.length > 1 ? ([found[0], found.at(-1)] as NatsBinary[]) : found;

/**
 * Describes tests that need a server. Without one they are skipped, visibly by name; where CI is set, that is a
 * failure.
 */
export function describeWithNats(name: string, define: () => void): void {
  if (natsVersions.length > 0) describe(name, define);
  else if (process.env.CI !== undefined && process.env.CI !== "false") {
    test(name, () => {
      throw new Error(howToGetOne);
    });
  } else {
    describe.skip(`${name} (SKIPPED: ${howToGetOne})`, define);
  }
}
