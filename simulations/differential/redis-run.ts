/** `npm run differential -- redis`: the long comparison, and what it prints. */
import { findRedisServer, howToGetRedis } from "../../runtime/testing/redis-server.ts";
import { compareRedis } from "./redis.ts";

/** Whether they agreed. */
export async function runRedis(options: {
  readonly operations: number;
  readonly seed: string;
  readonly json: boolean;
}): Promise<boolean> {
  if (findRedisServer() === undefined) {
    console.error(howToGetRedis);
    return false;
  }
  const result = await compareRedis(options);
  const { version, seed, operations, byKind, refused, beyond, seconds, disagreements } = result;
  const kinds = [...byKind].sort(([, a], [, b]) => b - a);
  if (options.json) console.log(JSON.stringify({ ...result, byKind: Object.fromEntries(kinds) }));
  else {
    console.log(
      `redis-server ${version}, seed ${seed}: ${operations} operations in ${seconds.toFixed(1)} s, ${refused} of them refused, ${beyond} beyond the model, ${disagreements.length} disagreements`,
    );
    console.log(`  ${kinds.map(([name, count]) => `${name} ${count}`).join(", ")}`);
    for (const one of disagreements) console.log(JSON.stringify(one, undefined, 1));
  }
  return disagreements.length === 0;
}
