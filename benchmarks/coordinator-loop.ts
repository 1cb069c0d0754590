/** Grants of leases, each of a key of its own, as fast as they are answered. */
import type { LeaseService } from "../coordinator/ports/lease-service.ts";
import { closedLoop, type LoopFigures } from "./closed-loop.ts";

/** Of one session, which is closed in the end and frees all it was granted. Over early when the table is full. */
export async function grantLoop(service: LeaseService, callers: number, forMs: number): Promise<LoopFigures> {
  const session = await service.openSession({ node: "bench", ttlMs: 10_000 });
  let next = 0;
  try {
    return await closedLoop(callers, forMs, async () => {
      const outcome = await session.acquire(`bench/${next++}`);
      if (outcome.kind === "full") return "over";
      if (outcome.kind !== "granted") throw new Error(`a free key was not granted: ${outcome.kind}`);
      return outcome.kind;
    });
  } finally {
    await session.close();
  }
}
