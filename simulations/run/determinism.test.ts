/** The same seed is the same run: twice in one process, in processes of other kinds, on Deno; and what would break it throws. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, test } from "vitest";
import { assign, fromPromise, setup } from "xstate";
import { compileProject } from "../../runtime/testing/compiled.fixture.ts";
import { suites } from "../suites/index.ts";
import { createWorld } from "../world/world.ts";
import { guard } from "./ambient.ts";
import { type SimulateOptions, simulate, suiteOf } from "./simulate.ts";

const run = promisify(execFile);
const source = fileURLToPath(new URL("./trace-hashes.ts", import.meta.url));
const deno = fileURLToPath(new URL("../../node_modules/.bin/deno", import.meta.url));

test("every suite gives the same trace twice in one process", async () => {
  for (const suite of suites) {
    const [first, second] = [await suite.run(suite.plan(3)), await suite.run(suite.plan(3))];
    assert.equal(first.traceHash, second.traceHash, suite.name);
    assert.notEqual(first.traceHash, (await suite.run(suite.plan(5))).traceHash, suite.name);
  }
});

test("a picture or a whole trace changes nothing", async () => {
  for (const suite of suites) {
    const plain = await suite.run(suite.plan(4));
    const looked = await suite.run(suite.plan(4), { picture: true, trace: true });
    assert.equal(plain.traceHash, looked.traceHash, suite.name);
    assert.ok((looked.picture?.drawn.length ?? 0) > 10 && (looked.lines?.length ?? 0) > 100);
  }
});

test("a turn of the event loop per event is the same run as a checkpoint per event", async () => {
  const hashOf = async (portable: boolean) => {
    const world = createWorld({ seed: 1, portable });
    for (const name of ["n1", "n2"])
      world.node(name).boot(async ({ clock, random, logger }) => {
        for (let round = 0; round < 50; round++) {
          await new Promise<void>((resolve) => void clock.after(random.next() * 10, resolve));
          for (let hop = 0; hop < 5; hop++) await undefined;
          logger.info(`${round} ${clock.monotonic()}`);
        }
      });
    await world.run({ forMs: 10_000 });
    return world.trace.hash;
  };
  assert.equal(await hashOf(true), await hashOf(false));
});

test("promises of a turn that ends with it see the virtual clock, too, and no real timer", async () => {
  for (const portable of [true, false]) {
    const world = createWorld({ seed: 1, portable });
    await guard(world);
    const seen: unknown[] = [];
    world.after(5, "ask", () => {
      void (async () => {
        await undefined;
        seen.push(Date.now());
        try {
          setTimeout(() => {}, 0);
        } catch (error) {
          seen.push((error as Error).name);
        }
      })();
    });
    await world.run({ forMs: 10 });
    assert.deepEqual(seen, [Date.UTC(2026, 0, 1) + 5, "AmbientAccessError"], `portable: ${portable}`);
    assert.ok(Date.now() > Date.UTC(2026, 0, 2));
  }
});

test("on Deno the guards hold, too: its own I/O, our own code, real timers", { timeout: 60_000 }, async () => {
  const fixture = fileURLToPath(new URL("./deno-guards.fixture.ts", import.meta.url));
  const { stdout } = await run(deno, ["run", "-A", "--quiet", fixture]);
  assert.equal(stdout.trim(), `${"AmbientAccessError ".repeat(4)}0`);
});

describe("processes of other kinds run the same", () => {
  const kinds: readonly { readonly it: string; readonly args: readonly string[]; readonly env?: object }[] = [
    {
      it: "other hash and random seeds",
      args: ["--hash-seed=17", "--random-seed=99"],
      env: { TZ: "Asia/Tokyo", LANG: "de_DE.UTF-8" },
    },
    {
      it: "garbage collected all the time",
      args: ["--gc-interval=2000", "--random-seed=5"],
      env: { TZ: "America/St_Johns" },
    },
  ];
  test("hash seeds, dice, collections and time zones, and Deno", { timeout: 300_000 }, async () => {
    const compiled = compileProject();
    const node = async (args: readonly string[], env: object = {}): Promise<string> => {
      const program = join(compiled.folder, "simulations/run/trace-hashes.js");
      return (await run(process.execPath, [...args, program], { env: { ...process.env, ...env } })).stdout;
    };
    try {
      const plain = await node([]);
      assert.match(plain, /everything 2 \w+/);
      assert.doesNotMatch(plain, /FAILED/);
      for (const { it, args, env } of kinds) assert.equal(await node(args, env), plain, it);
      assert.equal((await run(deno, ["run", "-A", "--quiet", source])).stdout, plain, "Deno");
    } finally {
      compiled.remove();
    }
  });
});

describe("in user code", () => {
  const workload = [
    { to: "thing/a", create: undefined, key: "make" },
    { to: "thing/a", send: { type: "GO" }, key: "go" },
  ];
  const doing = (work: () => unknown): SimulateOptions => ({
    actors: {
      thing: setup({
        types: { context: {} as { seen: unknown }, events: {} as { type: "GO" } },
        actors: { work: fromPromise(async () => work()) },
      }).createMachine({
        context: { seen: null },
        initial: "idle",
        states: {
          idle: { on: { GO: "busy" } },
          busy: {
            invoke: {
              src: "work",
              onDone: { target: "done", actions: assign({ seen: ({ event }) => event.output }) },
              onError: {
                target: "done",
                actions: assign({ seen: ({ event }) => String((event.error as Error).name) }),
              },
            },
          },
          done: {},
        },
      }),
    },
    workload,
    faults: [],
    seeds: [1],
    invariants: {},
  });
  const seenBy = async (work: () => unknown): Promise<unknown> => {
    let seen: unknown;
    const options = doing(work);
    await simulate({
      ...options,
      // What the effect was told is looked at here, and it catches what it was told.
      except: ["reached for the real world"],
      invariants: {
        look: ({ state }) => {
          seen = (state("thing", "a")?.context as { seen: unknown } | undefined)?.seen;
        },
      },
    });
    return seen;
  };

  test("Date, Math.random and UUIDs are the seed's", async () => {
    const ask = () =>
      seenBy(() => [
        Date.now(),
        new Date().getFullYear(),
        Math.random(),
        crypto.randomUUID(),
        Math.floor(performance.now()),
      ]);
    const first = (await ask()) as readonly unknown[];
    assert.deepEqual(first, await ask());
    assert.equal(first[1], 2026);
    assert.match(String(first[3]), /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    assert.notEqual(globalThis.Date.now(), first[0]);
    assert.ok(new Date() instanceof Date && Math.abs(Date.now() - performance.timeOrigin - performance.now()) < 60_000);
  });

  for (const [name, work] of [
    ["setTimeout", () => new Promise((resolve) => setTimeout(resolve, 1))],
    ["setImmediate", () => new Promise((resolve) => setImmediate(resolve))],
    ["fetch", () => fetch("http://127.0.0.1:9/")],
  ] as const) {
    test(`${name} is refused by name`, async () => {
      assert.equal(await seenBy(work), "AmbientAccessError");
    });
  }

  test("our own code is refused what users get, and named", async () => {
    const { SystemClock } = await import("../../runtime/adapters/system-clock.ts");
    const clock = new SystemClock();
    assert.equal(await seenBy(() => clock.now()), "AmbientAccessError");
    assert.equal(typeof (await seenBy(() => Date.now())), "number");
  });

  test("I/O that was imported before fails the run, naming the culprit", async () => {
    const { readFile } = await import("node:fs/promises");
    const suite = suiteOf(doing(() => readFile("/dev/null")));
    await assert.rejects(
      suite.run(suite.plan(1)),
      (error: Error) => /FSREQPROMISE/.test(error.message) && /determinism\.test/.test(error.stack ?? ""),
    );
  });

  test("it is told with its line, as what it is, and made small", async () => {
    const { readFile } = await import("node:fs/promises");
    const options = { ...doing(() => readFile("/dev/null")), faults: ["crash" as const] };
    const { message } = await simulate(options).then(
      () => assert.fail("it holds"),
      (error: Error) => error,
    );
    assert.match(message, /breaks a rule: reached for the real world/);
    assert.match(message, /a file \(FSREQPROMISE\) was used .*\n\s+at .*determinism\.test\.ts:\d+/);
    assert.match(message, /faults -> 0, 2 steps -> 2\n {2}no fault is needed/);
  });

  test("a line that is printed is no I/O: it comes back to nobody", async () => {
    const seen = await seenBy(() => {
      console.log("a line to look at");
      process.stderr.write("another\n");
      return "printed";
    });
    assert.equal(seen, "printed");
  });
});
