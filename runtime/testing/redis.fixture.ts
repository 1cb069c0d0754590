/** For tests that need a real redis-server: what happens when there is none. */
import { describe, test } from "vitest";
import { findRedisServer, howToGetRedis } from "./redis-server.ts";

/**
 * Describes tests that need a server. Without one they are skipped, visibly by name; where CI is set, that is a
 * failure.
 */
export function describeWithRedis(name: string, define: () => void): void {
  if (findRedisServer() !== undefined) describe(name, define);
  else if (process.env.CI !== undefined && process.env.CI !== "false") {
    test(name, () => {
      throw new Error(howToGetRedis);
    });
  } else {
    console.warn(`SKIPPED: ${name}: ${howToGetRedis}`);
    describe.skip(`${name} (SKIPPED: ${howToGetRedis})`, define);
  }
}
