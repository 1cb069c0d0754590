import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, test } from "vitest";
import { createMachine } from "xstate";
import * as raftErrors from "../coordinator/backends/raft/errors.ts";
import * as leaseErrors from "../coordinator/lease/errors.ts";
import * as logErrors from "../coordinator/log/errors.ts";
import * as embeddedErrors from "./adapters/embedded/errors.ts";
import { embedded } from "./adapters/embedded/index.ts";
import * as jetstreamErrors from "./adapters/jetstream/errors.ts";
import * as natsErrors from "./adapters/nats/errors.ts";
import * as busErrors from "./adapters/nats-bus/errors.ts";
import { createRuntime, HoldfastError, memory } from "./index.ts";

const scratch = mkdtempSync(join(tmpdir(), "holdfast-errors-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
const actors = { order: createMachine({ on: { PAY: {} } }) };

test("createRuntime rejects with a HoldfastError and its code", async () => {
  const open = (name: string) => createRuntime({ actors, store: embedded(join(scratch, name)), logger: silent });
  const first = await open("used");
  mkdirSync(join(scratch, "theirs"));
  writeFileSync(join(scratch, "theirs/notes.txt"), "");
  mkdirSync(join(scratch, "cut"));
  writeFileSync(join(scratch, "cut/holdfast.mdb"), "");
  for (const [name, code] of Object.entries({ used: "StoreInUse", theirs: "ForeignDirectory", cut: "StoreDamaged" }))
    await assert.rejects(open(name), (error) => {
      assert.ok(error instanceof HoldfastError, String(error));
      assert.equal(error.code, code);
      return true;
    });
  await first.stop();
});

test("so does every class of the stores, the bus and the leases", () => {
  const modules = [embeddedErrors, jetstreamErrors, natsErrors, busErrors, raftErrors, leaseErrors, logErrors];
  for (const [name, value] of modules.flatMap((module) => Object.entries(module) as [string, unknown][]))
    if (typeof value === "function" && value.prototype instanceof Error)
      assert.ok(value.prototype instanceof HoldfastError, name);
});

test("one that a machine throws has no code that a caller could know: Rejected", async () => {
  const throws = createMachine({
    on: {
      PAY: {
        guard: () => {
          throw new embeddedErrors.StoreNotFound("/srv");
        },
      },
    },
  });
  const runtime = await createRuntime({ actors: { throws }, store: memory(), logger: silent });
  const actor = runtime.actor("throws", "t");
  await actor.create();
  await assert.rejects(actor.send({ type: "PAY" }), { code: "Rejected", message: /no store in \/srv/ });
  await runtime.stop();
});
