import assert from "node:assert/strict";
import { test } from "vitest";
import { assign, setup } from "xstate";
import { LocalBus } from "../adapters/memory/local-bus.ts";
import { MemoryStore } from "../adapters/memory/memory-store.ts";
import { SystemRandom } from "../adapters/system-random.ts";
import { type ActorDefinition, defineActor } from "../definition.ts";
import { parkedKey } from "../keys.ts";
import type { LeaseChange, Leases } from "../ports/leases.ts";
import type { ActorStore, StoreWrite, Token, WriteOutcome } from "../ports/store.ts";
import { ManualClock } from "../testing/manual-clock.ts";
import { Host } from "./host.ts";
import type { Outcome } from "./outcome.ts";
import { Parking } from "./parking.ts";
import { defaultSettings } from "./settings.ts";

const silent = { debug() {}, info() {}, warn() {}, error() {} };
const random = new SystemRandom();

/** One partition, granted and taken away by hand. */
class OneLease implements Leases {
  readonly partitions = 1;
  #token: Token | undefined;
  readonly #listeners = new Set<(change: LeaseChange) => void>();

  token(): Token | undefined {
    return this.#token;
  }

  onChange(listener: (change: LeaseChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  grant(token: Token): void {
    this.#token = token;
    for (const listener of this.#listeners) listener({ kind: "granted", partition: 0, token });
  }

  lose(): void {
    this.#token = undefined;
    for (const listener of this.#listeners) listener({ kind: "lost", partition: 0 });
  }

  async release(): Promise<void> {}
}

/** The same store for somebody whose calls go through these first. */
function seenThrough(store: ActorStore, changed: Partial<ActorStore>): ActorStore {
  return new Proxy(store, {
    get(target, name) {
      const found = Reflect.get(changed, name) ?? Reflect.get(target, name);
      return typeof found === "function" ? found.bind(target) : found;
    },
  });
}

/** An actor that goes on by itself after 100 ms; in the older code it throws there. */
function stepping(isOld: boolean): ActorDefinition {
  const machine = setup({ types: { context: {} as { n: number }, events: {} as { type: "PING" } } }).createMachine({
    context: { n: 0 },
    initial: "a",
    on: { PING: {} },
    states: {
      a: {
        after: {
          100: {
            target: "b",
            actions: assign(() => {
              if (isOld) throw new Error("old code");
              return { n: 1 };
            }),
          },
        },
      },
      b: {},
    },
  });
  return defineActor(machine) as unknown as ActorDefinition;
}

function host(store: ActorStore, clock: ManualClock, leases: Leases, isOld: boolean): Host {
  const bus = new LocalBus(clock);
  return new Host({ store, clock, random, leases, bus, logger: silent }, { m: stepping(isOld) });
}

const asked = (host: Host, input: Parameters<Host["request"]>[1]) =>
  new Promise<Outcome>((resolve) => host.request("m.x", input, resolve));
const caller = (key: string) => ({ kind: "caller", key }) as const;

test("an owner that was deposed while it set an actor aside does not set its successor's aside", async () => {
  const clock = new ManualClock();
  const store = new MemoryStore().reopen();
  const epoch = store.raiseEpoch();
  let isCut = true;
  const cut = seenThrough(store, {
    write: async (write: StoreWrite): Promise<WriteOutcome> =>
      isCut && write.key === parkedKey("m.x") ? { kind: "unknown" } : store.write(write),
  });
  const [before, after] = [new OneLease(), new OneLease()];
  const deposed = host(cut, clock, before, true);
  const successor = host(store, clock, after, false);
  await Promise.all([deposed.start(), successor.start()]);
  before.grant([epoch, 1]);
  await asked(deposed, { kind: "create", input: undefined, key: caller("create") });
  await clock.advance(400);
  assert.equal(deposed.info().parkedActors, 1);
  before.lose();
  after.grant([epoch, 2]);
  await clock.advance(1_000);
  isCut = false;
  await clock.advance(10_000);
  assert.equal(await store.read(parkedKey("m.x")), undefined);
  assert.equal(deposed.info().parkedActors, 0);
  const outcome = await asked(successor, { kind: "event", event: { type: "PING" }, key: caller("ping") });
  assert.equal(outcome.kind, "reply");
  await Promise.all([deposed.stop(0), successor.stop(0)]);
});

test("a record that is removed while a starting node lists it is not known there", async () => {
  const clock = new ManualClock();
  const store = new MemoryStore().reopen();
  const token = [store.raiseEpoch(), 1] as const;
  const parking = (store: ActorStore) =>
    new Parking({ store, clock, random, logger: silent, settings: defaultSettings, onChange: () => {} });
  const running = parking(store);
  await running.start();
  await running.park({ actor: "m.x", reason: "threw", message: "old code", revision: 1, token }, () => true);
  const starting = parking(
    seenThrough(store, {
      list: async (options) => {
        const page = await store.list(options);
        await running.resume("m.x", token);
        await clock.advance(100);
        return page;
      },
    }),
  );
  await starting.start();
  assert.equal(running.get("m.x"), undefined);
  assert.equal(starting.get("m.x"), undefined);
  await running.park({ actor: "m.x", reason: "threw", message: "again", revision: 2, token }, () => true);
  await clock.advance(100);
  assert.equal(starting.get("m.x")?.message, "again");
  for (const one of [running, starting]) one.stop();
});
