import assert from "node:assert/strict";
import { describe, test } from "vitest";
import { type AnyStateMachine, assign, createMachine, setup } from "xstate";
import { LocalBus } from "../adapters/memory/local-bus.ts";
import { MemoryStore } from "../adapters/memory/memory-store.ts";
import { SystemRandom } from "../adapters/system-random.ts";
import { type ActorDefinition, type ActorOptions, defineActor } from "../definition.ts";
import { hashText } from "../hash.ts";
import { parkedKey } from "../keys.ts";
import { identityOf } from "../migration.ts";
import type { Leases } from "../ports/leases.ts";
import type { Logger } from "../ports/logger.ts";
import type { ActorStore, StoredEntry, StoreWrite, WriteOutcome } from "../ports/store.ts";
import { ManualClock } from "../testing/manual-clock.ts";
import { Host } from "./host.ts";
import type { Outcome } from "./outcome.ts";
import { type ParkedRecord, Parking, readParked } from "./parking.ts";
import { OneLease, seenThrough } from "./rig.fixture.ts";
import { defaultSettings } from "./settings.ts";

const silent = { debug() {}, info() {}, warn() {}, error() {} };
const random = new SystemRandom();

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
  return hostOf(store, clock, leases, stepping(isOld));
}

function hostOf(store: ActorStore, clock: ManualClock, leases: Leases, m: ActorDefinition, logger: Logger = silent) {
  return new Host({ store, clock, random, leases, bus: new LocalBus(clock), logger }, { m });
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

for (const [it, removedBy] of [
  ["is removed", "itself"],
  ["is found removed", "another"],
] as const)
  test(`a record that another owner writes just when the one before ${it} by who resumes stays known`, async () => {
    const clock = new ManualClock();
    const store = new MemoryStore().reopen();
    const token = [store.raiseEpoch(), 1] as const;
    const parking = (store: ActorStore) =>
      new Parking({ store, clock, random, logger: silent, settings: defaultSettings, onChange: () => {} });
    const other = parking(store);
    const park = async (message: string) => {
      await other.park({ actor: "m.x", reason: "threw", message, revision: 1, token }, () => true);
      await clock.advance(10);
    };
    const resuming = parking(
      seenThrough(store, {
        read: async (key) => {
          if (removedBy === "another") await other.resume("m.x", token);
          const entry = await store.read(key);
          if (removedBy === "another") await park("again");
          return entry;
        },
        purge: async (...args) => {
          const outcome = await store.purge(...args);
          await clock.advance(10);
          await park("again");
          return outcome;
        },
      }),
    );
    await Promise.all([other.start(), resuming.start()]);
    await park("first");
    await resuming.resume("m.x", token);
    assert.equal(resuming.get("m.x")?.message, "again");
    for (const one of [other, resuming]) one.stop();
  });

describe("what one machine has refused", () => {
  /** It waits 10 s in a state, of one name or another. */
  const waitingIn = (state: string, version: number, migrate?: ActorOptions["migrate"]) =>
    defineActor(
      createMachine({
        id: "m",
        initial: state,
        on: { PING: {} },
        states: { [state]: { after: { 10000: "over" } }, over: {} },
      }) as unknown as AnyStateMachine,
      { version, ...(migrate && { migrate }) },
    ) as unknown as ActorDefinition;
  const open = waitingIn("open", 1);
  const renamed = waitingIn("unpaid", 2);
  const alsoRenamed = waitingIn("unpayed", 2);
  const misspelt = waitingIn("unpaid", 2, ({ context }) => ({ value: "upaid", context }));
  /** Not the text of `renamed`, and no help either. */
  const resaid = waitingIn("unpaid", 2, ({ value, context }) => ({ value, context }));
  const mended = waitingIn("unpaid", 2, ({ context }) => ({ value: "unpaid", context }));
  const newer = waitingIn("open", 3);

  /** Hosts on one store that holds an actor in `open`, each granted a token above the last. */
  async function world() {
    const clock = new ManualClock();
    const store = new MemoryStore().reopen();
    const epoch = store.raiseEpoch();
    let index = 0;
    const running: Host[] = [];
    const start = async (m: ActorDefinition, given: ActorStore = store) => {
      const leases = new OneLease();
      const lines: string[] = [];
      const say = (line: string) => void lines.push(line);
      const host = hostOf(given, clock, leases, m, { debug() {}, info: say, warn: say, error: say });
      running.push(host);
      await host.start();
      const grant = async () => {
        leases.grant([epoch, ++index]);
        await clock.advance(100);
      };
      let pings = 0;
      const ping = async () => {
        const outcome = await asked(host, {
          kind: "event",
          event: { type: "PING" },
          key: caller(`${running.indexOf(host)}.${pings++}`),
        });
        return outcome.kind === "failed" ? outcome.code : outcome.kind;
      };
      const unparked = () => host.info().counts.unparked;
      return { host, lines, grant, lose: () => leases.lose(), ping, unparked };
    };
    /** One after the other owns the actor, and is asked for it. */
    const pass = async (...machines: ActorDefinition[]) => {
      for (const m of machines) {
        const { grant, ping, lose } = await start(m);
        await grant();
        await ping();
        lose();
      }
    };
    await (async () => {
      const { host, grant, lose } = await start(open);
      await grant();
      await asked(host, { kind: "create", input: undefined, key: caller("create") });
      lose();
    })();
    const record = async () => store.read(parkedKey("m.x"));
    const read = async () => JSON.parse((await store.read("m.x"))?.value ?? "{}") as { state: string; seq: number };
    const stop = () => Promise.all(running.map((one) => one.stop(0)));
    return { clock, store, epoch, start, pass, record, read, stop };
  }

  const refusedBy = (record: StoredEntry | undefined) => readParked(record?.value ?? "")?.refusedBy;

  test("goes on by itself under another, which tells and counts it", async () => {
    const { clock, start, pass, record, read, stop } = await world();
    await pass(renamed);
    assert.equal((await read()).seq, 1);
    assert.deepEqual(refusedBy(await record()), [{ version: 2, hash: renamed.hash }]);
    const { host, grant, lines, unparked } = await start(mended);
    assert.equal(host.info().parkedActors, 1);
    await grant();
    assert.equal(await record(), undefined);
    assert.equal(unparked(), 1);
    assert.equal(host.info().parkedActors, 0);
    assert.match(lines.join("\n"), /goes on: version 2 of the machine .* can run what was parked as incompatible/);
    await clock.advance(10_000);
    assert.equal((await read()).state, "over");
    await stop();
  });

  test("goes on when it is asked for, under the release before as well", async () => {
    const { start, pass, record, stop } = await world();
    await pass(renamed);
    const { grant, ping, unparked } = await start(open);
    const granted = grant();
    assert.equal(await ping(), "reply");
    await granted;
    assert.equal(await record(), undefined);
    assert.equal(unparked(), 1);
    await stop();
  });

  test("is left as it is by the same one, without a write, and without a word", async () => {
    const { store, start, pass, record, stop } = await world();
    await pass(renamed);
    const before = await record();
    const read: string[] = [];
    const watched = seenThrough(store, {
      read: (key) => {
        read.push(key);
        return store.read(key);
      },
    });
    const { host, grant, lose, ping, lines } = await start(renamed, watched);
    for (let takeover = 0; takeover < 3; takeover++) {
      await grant();
      assert.equal(await ping(), "Parked");
      lose();
    }
    assert.deepEqual(await record(), before);
    assert.deepEqual([read, lines], [[], []]);
    assert.equal(host.info().counts.unparked, 0);
    await stop();
  });

  test("is refused by each machine once, and the record names them all", async () => {
    const { start, pass, record, read, stop } = await world();
    await pass(renamed);
    const first = readParked((await record())?.value ?? "");
    const { lines, grant, lose, ping } = await start(misspelt);
    for (let takeover = 0; takeover < 3; takeover++) {
      await grant();
      assert.equal(await ping(), "Parked");
      lose();
    }
    assert.equal(lines.length, 1);
    assert.match(lines[0] ?? "", /^parked \(incompatible\): .*upaid/);
    const second = await record();
    assert.deepEqual(refusedBy(second), [
      { version: 2, hash: renamed.hash },
      { version: 2, hash: renamed.hash, migrate: identityOf(misspelt).migrate },
    ]);
    assert.equal(readParked(second?.value ?? "")?.at, first?.at);
    await pass(renamed, misspelt, renamed, misspelt);
    assert.deepEqual(await record(), second);
    await pass(alsoRenamed);
    assert.equal(refusedBy(await record())?.length, 3);
    assert.equal((await read()).seq, 1);
    await pass(mended);
    assert.equal(await record(), undefined);
    await stop();
  });

  test("was set aside by a runtime that kept no names: each machine tries once", async () => {
    const { store, start, pass, record, stop } = await world();
    await pass(renamed);
    const entry = await record();
    const { refusedBy: _, ...old } = readParked(entry?.value ?? "") as ParkedRecord;
    for (const [text, kept] of [
      [JSON.stringify(old), old],
      [JSON.stringify({ ...old, refusedBy: [{ version: "2" }] }), old],
    ] as const) {
      assert.deepEqual(readParked(text), kept);
      const header = { commit: random.id(), hash: hashText(text) };
      const expect = (await record())?.revision ?? 0;
      await store.write({ key: parkedKey("m.x"), value: text, header, expect, token: old.token });
      const { grant, ping, lose } = await start(renamed);
      await grant();
      assert.equal(await ping(), "Parked");
      lose();
      assert.deepEqual(refusedBy(await record()), [{ version: 2, hash: renamed.hash }]);
    }
    await pass(mended);
    assert.equal(await record(), undefined);
    await stop();
  });

  test("waits for a person where the machine threw, or a person wrote", async () => {
    const { store, epoch, start, record, stop } = await world();
    for (const reason of ["threw", "action", "missing", "foreign", "damaged"] as const) {
      const value = JSON.stringify({ actor: "m.x", reason, message: "so", at: "", revision: 1, token: [1, 0] });
      const header = { commit: random.id(), hash: hashText(value) };
      const expect = (await record())?.revision ?? 0;
      await store.write({ key: parkedKey("m.x"), value, header, expect, token: [epoch, 0] });
      const { grant, ping, lose } = await start(mended);
      await grant();
      assert.equal(await ping(), "Parked");
      lose();
      assert.equal((await record())?.value, value);
    }
    await stop();
  });

  test("is set aside for a person's write instead, where one has come between", async () => {
    const { store, epoch, start, pass, record, read, stop } = await world();
    await pass(renamed);
    const { value = "", revision = 0, header } = (await store.read("m.x")) ?? {};
    assert.ok(header);
    const byHand = value.replace('"open"', '"unpaid"');
    await store.write({ key: "m.x", value: byHand, header, expect: revision, token: [epoch, 0] });
    const { grant, ping, lose } = await start(mended);
    await grant();
    assert.equal(await ping(), "Parked");
    lose();
    const { reason, refusedBy } = readParked((await record())?.value ?? "") ?? {};
    assert.deepEqual([reason, refusedBy], ["foreign", undefined]);
    assert.equal((await store.read("m.x"))?.value, byHand);
    await pass(mended);
    assert.equal((await read()).seq, 1);
    assert.equal(readParked((await record())?.value ?? "")?.reason, "foreign");
    await stop();
  });

  for (const [was, fits] of [
    ["nothing", true],
    ["nothing", false],
    ["incompatible", true],
    ["incompatible", false],
  ] as const)
    test(`stays, set aside for another reason while the document is read that ${fits ? "fits" : "does not fit"}, and for ${was} before`, async () => {
      const { clock, store, epoch, start, pass, record, stop } = await world();
      if (was === "incompatible") await pass(renamed);
      const value = JSON.stringify({
        actor: "m.x",
        reason: "threw",
        message: "so",
        at: "",
        revision: 1,
        token: [1, 0],
      });
      let times = 0;
      const { grant, ping } = await start(
        fits ? open : misspelt,
        seenThrough(store, {
          read: async (key) => {
            const entry = await store.read(key);
            if (key !== "m.x" || times++ > 0) return entry;
            const header = { commit: random.id(), hash: hashText(value) };
            const expect = (await record())?.revision ?? 0;
            await store.write({ key: parkedKey("m.x"), value, header, expect, token: [epoch, 0] });
            await clock.advance(10);
            return entry;
          },
        }),
      );
      const granted = grant();
      assert.equal(await ping(), "Parked");
      await granted;
      assert.equal((await record())?.value, value);
      await stop();
    });

  test("goes on when it is mended and resumed while it is tried, whatever stood there before", async () => {
    const { clock, store, epoch, start, pass, record, read, stop } = await world();
    await pass(renamed);
    let isFirst = true;
    const mending = seenThrough(store, {
      read: async (key) => {
        const entry = await store.read(key);
        if (key !== "m.x" || entry === undefined || !isFirst) return entry;
        isFirst = false;
        const value = entry.value.replace('"value":"open"', '"value":"unpaid"');
        const header = { commit: random.id(), hash: hashText(value) };
        await store.write({ key, value, header, expect: entry.revision, token: [epoch, 0] });
        void tried.host.resume("m.x", "retry");
        await clock.advance(10);
        assert.equal(await record(), undefined);
        return entry;
      },
    });
    const tried = await start(resaid, mending);
    await tried.grant();
    await clock.advance(1_000);
    assert.equal(isFirst, false);
    assert.equal(await record(), undefined);
    assert.equal(await tried.ping(), "reply");
    assert.equal((await read()).state, "unpaid");
    await stop();
  });

  test("is tried once, however many leases come while it waits for its turn", async () => {
    const clock = new ManualClock();
    const store = new MemoryStore().reopen();
    const epoch = store.raiseEpoch();
    const actors = Array.from({ length: 200 }, (_, number) => `m.${number}`);
    for (const actor of actors) {
      const record = { actor, reason: "incompatible", message: "so", at: "", revision: 1, token: [epoch, 0] };
      const value = JSON.stringify(record);
      const header = { commit: random.id(), hash: hashText(value) };
      await store.write({ key: parkedKey(actor), value, header, expect: 0, token: [epoch, 0] });
    }
    const reads: string[] = [];
    const slow = seenThrough(store, {
      read: async (key) => {
        reads.push(key);
        await new Promise<void>((resolve) => void clock.after(1_000, resolve));
        return store.read(key);
      },
    });
    const leases = new OneLease();
    const host = hostOf(slow, clock, leases, mended);
    await host.start();
    leases.grant([epoch, 1]);
    for (let times = 0; times < 10; times++) {
      await clock.advance(100);
      leases.grant([epoch, 1]);
    }
    assert.equal(reads.length, defaultSettings.recoveries);
    await clock.advance(30_000);
    assert.equal(host.info().parkedActors, 0);
    assert.deepEqual(reads.sort(), actors.sort());
    await host.stop(0);
  });

  test("is left alone by a node that is too old to judge, once", async () => {
    const { start, pass, record, stop } = await world();
    await pass(newer, renamed);
    // The node of version 2 leaves what version 3 wrote; a sister of version 3 cannot run it.
    assert.equal(await record(), undefined);
    await pass(waitingIn("unpaid", 3));
    const before = await record();
    const { grant, ping, lose, lines } = await start(renamed);
    for (let takeover = 0; takeover < 3; takeover++) {
      await grant();
      assert.equal(await ping(), "Parked");
      lose();
    }
    assert.equal(lines.length, 1);
    assert.match(lines[0] ?? "", /^left alone: it was written by version 3/);
    assert.deepEqual(await record(), before);
    await stop();
  });

  test("is told of once, by a node that is too old, however often it is looked at", async () => {
    const { start, pass, stop } = await world();
    await pass(newer);
    const { grant, ping, lose, lines } = await start(renamed);
    for (let takeover = 0; takeover < 3; takeover++) {
      await grant();
      await ping();
      lose();
    }
    assert.deepEqual(
      lines.map((line) => line.slice(0, 39)),
      ["left alone: it was written by version 3"],
    );
    await stop();
  });

  test("is not set aside again by a node that was deposed and does not know it", async () => {
    const { clock, start, record, read, stop } = await world();
    const deposed = await start(renamed);
    await deposed.grant();
    assert.equal(await deposed.ping(), "Parked");
    // Both believe to own it. The one that sees the record go before the claim is there sets it aside once more, and that is all.
    const owner = await start(open);
    await owner.grant();
    await clock.advance(1_000);
    assert.equal(await record(), undefined);
    assert.equal(owner.unparked(), 2);
    const { seq } = await read();
    assert.equal(await deposed.ping(), "moved");
    assert.equal(await owner.ping(), "reply");
    assert.equal((await read()).seq, seq + 1);
    assert.equal(await record(), undefined);
    assert.equal(deposed.lines.filter((line) => line.startsWith("parked")).length, 2);
    await stop();
  });

  test("goes on although its old owner sets it aside late", async () => {
    const { clock, store, start, record, stop } = await world();
    let late: StoreWrite | undefined;
    const slow = seenThrough(store, {
      write: async (write: StoreWrite): Promise<WriteOutcome> => {
        if (write.key !== parkedKey("m.x")) return store.write(write);
        late ??= write;
        return { kind: "unknown" };
      },
    });
    const before = await start(renamed, slow);
    await before.grant();
    await clock.advance(10_000);
    assert.ok(late);
    before.lose();
    const owner = await start(open);
    await owner.grant();
    await store.write(late);
    await clock.advance(100);
    assert.equal(await record(), undefined);
    assert.equal(owner.unparked(), 1);
    assert.equal(await owner.ping(), "reply");
    await stop();
  });

  const removals: { readonly it: string; readonly answer: WriteOutcome; readonly lands: boolean }[] = [
    { it: "has no answer, and was made", answer: { kind: "unknown" }, lands: true },
    { it: "has no answer, and was not made", answer: { kind: "unknown" }, lands: false },
    { it: "seems a conflict, and was made", answer: { kind: "conflict" }, lands: true },
    { it: "seems a conflict, and was not made", answer: { kind: "conflict" }, lands: false },
  ];
  for (const { it, answer, lands } of removals)
    test(`goes on when the removal of the record ${it}`, async () => {
      const { clock, store, start, pass, record, stop } = await world();
      await pass(renamed);
      let times = 0;
      const { grant, ping, unparked } = await start(
        open,
        seenThrough(store, {
          purge: async (...args: Parameters<ActorStore["purge"]>) => {
            if (args[0] !== parkedKey("m.x") || times++ > 0) return store.purge(...args);
            if (lands) await store.purge(...args);
            return answer;
          },
        }),
      );
      await grant();
      await clock.advance(2_000);
      assert.equal(await record(), undefined);
      assert.equal(unparked(), 1);
      assert.equal(await ping(), "reply");
      await stop();
    });

  test("keeps its record when the lease goes before that is removed, and the next owner removes it", async () => {
    const { clock, store, start, pass, record, read, stop } = await world();
    await pass(renamed);
    const { grant, lose, unparked, host } = await start(
      open,
      seenThrough(store, { purge: async () => ({ kind: "unknown" }) }),
    );
    await grant();
    lose();
    await clock.advance(5_000);
    assert.ok(await record());
    assert.equal(unparked(), 0);
    assert.equal(host.info().parkedActors, 1);
    assert.equal((await read()).seq, 1);
    await pass(mended);
    assert.equal(await record(), undefined);
    await stop();
  });
});
