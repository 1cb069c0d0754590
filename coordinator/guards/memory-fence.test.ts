/** The fence in memory: of two that come at once, the older is refused, whichever came first. */
import { expect, test } from "vitest";
import { FencedError } from "../lease/errors.ts";
import { MemoryFence } from "./memory-fence.ts";

const newer = { holder: "b", token: [1, 2] } as const;
const older = { holder: "a", token: [1, 1] } as const;

test("one that comes at the same time as a newer one is refused", async () => {
  const fence = new MemoryFence();
  const [first, second] = await Promise.allSettled([fence.admit("r", newer), fence.admit("r", older)]);
  expect(first.status).toBe("fulfilled");
  expect(second).toMatchObject({ status: "rejected", reason: expect.any(FencedError) });
});

test("the older may come first; after the newer it is refused", async () => {
  const fence = new MemoryFence();
  await Promise.all([fence.admit("r", older), fence.admit("r", newer)]);
  await expect(fence.admit("r", older)).rejects.toThrow(FencedError);
  await fence.admit("r", newer);
});
