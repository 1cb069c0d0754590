import assert from "node:assert/strict";
import { test } from "vitest";
import { fromPromise, setup } from "xstate";
import { LocalBus } from "../adapters/memory/local-bus.ts";
import { MemoryStore } from "../adapters/memory/memory-store.ts";
import { SystemRandom } from "../adapters/system-random.ts";
import { type ActorDefinition, defineActor } from "../definition.ts";
import { pendingKey } from "../keys.ts";
import type { ActorStore } from "../ports/store.ts";
import type { Input } from "../step.ts";
import { ManualClock } from "../testing/manual-clock.ts";
import { Host } from "./host.ts";
import type { Outcome } from "./outcome.ts";
import { OneLease, seenThrough } from "./rig.fixture.ts";

const silent = { debug() {}, info() {}, warn() {}, error() {} };
const random = new SystemRandom();

test("an actor that its last owner ended while the next one claimed it goes when its retention is over", async () => {
  const clock = new ManualClock();
  const store = new MemoryStore().reopen();
  const epoch = store.raiseEpoch();
  const machine = setup({
    types: { events: {} as { type: "END" } },
    actors: { work: fromPromise(() => new Promise(() => {})) },
  }).createMachine({
    initial: "a",
    states: { a: { invoke: { src: "work" }, on: { END: "b" } }, b: { type: "final" } },
  });
  const m = defineActor(machine, {
    retain: { done: "10s" },
    limits: { clientWindowMs: 100, keyWindowMs: 1_000 },
  }) as unknown as ActorDefinition;
  const hostOn = async (seen: ActorStore, leases: OneLease) => {
    const host = new Host({ store: seen, clock, random, leases, bus: new LocalBus(clock), logger: silent }, { m });
    await host.start();
    return host;
  };
  const [before, after] = [new OneLease(), new OneLease()];
  const deposed = await hostOn(store, before);
  const ask = (input: Input) => new Promise<Outcome>((resolve) => deposed.request("m.x", input, resolve));
  let ending: Promise<Outcome> | undefined;
  const owner = await hostOn(
    seenThrough(store, {
      read: async (key) => {
        const entry = await store.read(key);
        // Not told yet that it was deposed.
        if (key === "m.x" && ending === undefined) {
          ending = ask({ kind: "event", event: { type: "END" }, key: caller("end") });
          await ending;
        }
        return entry;
      },
    }),
    after,
  );
  const caller = (key: string) => ({ kind: "caller", key }) as const;
  before.grant([epoch, 1]);
  await ask({ kind: "create", input: undefined, key: caller("create") });
  await clock.advance(100);
  after.grant([epoch, 2]);
  await clock.advance(1_000);
  assert.equal((await ending)?.kind, "reply");
  before.lose();
  await clock.advance(60_000);
  assert.equal(await store.read("m.x"), undefined);
  assert.equal(await store.read(pendingKey("m.x")), undefined);
  await Promise.all([deposed.stop(0), owner.stop(0)]);
});
