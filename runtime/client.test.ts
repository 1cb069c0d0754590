import assert from "node:assert/strict";
import { test } from "vitest";
import { createMachine } from "xstate";
import { createRuntime, memory, StoppedError } from "./index.ts";

test("a request to a runtime that has stopped fails at once, not at its deadline", async () => {
  const counter = createMachine({ on: { INC: {} } });
  const runtime = await createRuntime({ actors: { counter }, store: memory(), requestTimeoutMs: 3_600_000 });
  const handle = runtime.actor("counter", "c");
  await handle.create();
  await runtime.stop();
  await assert.rejects(handle.send({ type: "INC" }), StoppedError);
});
