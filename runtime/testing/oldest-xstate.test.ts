/** The stories of the drop-in once more, under the oldest XState that is supported. */
import { vi } from "vitest";

vi.mock("xstate", () => import("xstate-oldest"));

await import("./issues.test.ts");
await import("./drop-in.test.ts");
await import("./drop-in-invoke.test.ts");
await import("./examples.test.ts");
await import("../machine/endless.test.ts");
