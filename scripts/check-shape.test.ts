/** The check of the shape can fail: each rule has a small tree that breaks it and one beside it that does not. */
import { describe, expect, test } from "vitest";
import { checkShape } from "./check-shape.mjs";

type Tree = Record<string, string>;
type Violation = { path: string; line: number; rule: string; what: string };

const check = (tree: Tree, packageJson?: string): Violation[] => checkShape(new Map(Object.entries(tree)), packageJson);

/** A template with code in it, as source; the text around the code only looks like code. */
const inTemplate = (code: string) => `\`Math.random() \${${code}} Math.random()\``;

/** `file` is judged; `around` is what else is in the tree. */
type Case = { it: string; rule: string; file: string; bad: string; good: string; around?: Tree };

const layersOfImports: Tree = {
  "runtime/index.ts": 'export { run } from "./host/host.ts";',
  "runtime/host/host.ts": 'import { step } from "../step.ts";\nexport const run = step;',
  "runtime/step.ts": "export const step = 1;",
  "runtime/hash.ts": "export const hash = 1;",
  "runtime/ports/store.ts": "export type Store = { read(): unknown };",
  "runtime/adapters/memory/index.ts": "export const memory = 1;",
  "runtime/adapters/memory/parts/entry.ts": "export const entry = 1;",
  "runtime/adapters/embedded/index.ts": "export const embedded = 1;",
};

const cases: Case[] = [
  {
    it: "a core imports no adapter, but a port",
    rule: "inwards",
    file: "runtime/document.ts",
    bad: 'import { memory } from "./adapters/memory/index.ts";',
    good: 'import type { Store } from "./ports/store.ts";',
  },
  {
    it: "a core imports no host, but another core",
    rule: "inwards",
    file: "runtime/machine/tree.ts",
    bad: 'export { run } from "../host/host.ts";',
    good: 'export { step } from "../step.ts";',
  },
  {
    it: "a core does not import an entry point for its types either",
    rule: "inwards",
    file: "coordinator/raft/step.ts",
    bad: 'import type { run } from "../../runtime/index.ts";',
    good: 'import type { Store } from "../../runtime/ports/store.ts";',
  },
  {
    it: "a port imports no core, but a port",
    rule: "inwards",
    file: "runtime/ports/leases.ts",
    bad: 'import { step } from "../step.ts";',
    good: 'import type { Store } from "./store.ts";',
  },
  {
    it: "an adapter imports no core but the hash",
    rule: "inwards",
    file: "runtime/adapters/memory/store.ts",
    bad: 'import { step } from "../../step.ts";',
    good: 'import { hash } from "../../hash.ts";',
  },
  {
    it: "an adapter imports its own parts, and no other adapter",
    rule: "inwards",
    file: "runtime/adapters/memory/store.ts",
    bad: 'import { embedded } from "../embedded/index.ts";',
    good: 'import { entry } from "./parts/entry.ts";',
  },
  {
    it: "a driver imports no adapter, but a core",
    rule: "inwards",
    file: "runtime/host/mailbox.ts",
    bad: 'const { memory } = await import("../adapters/memory/index.ts");',
    good: 'import { step } from "../step.ts";',
  },
  {
    it: "a ready machine uses the public API alone",
    rule: "inwards",
    file: "actors/order/machine.ts",
    bad: 'import { step } from "../../runtime/step.ts";',
    good: 'import { run } from "../../runtime/index.ts";',
  },
  {
    it: "a ready machine's entry script names an adapter by its front door",
    rule: "inwards",
    file: "actors/order/start.ts",
    bad: 'import { entry } from "../../runtime/adapters/memory/parts/entry.ts";',
    good: 'import { memory } from "../../runtime/adapters/memory/index.ts";',
  },
  {
    it: "an import leads to a file",
    rule: "missing",
    file: "runtime/host/timers.ts",
    bad: 'import { wheel } from "./wheel.ts";',
    good: 'import { run } from "./host.ts";',
  },
  {
    it: "a core does no I/O",
    rule: "outside",
    file: "runtime/machine/encode.ts",
    bad: 'import { readFileSync } from "node:fs";',
    good: 'import { Buffer } from "node:buffer";',
  },
  {
    it: "a core names what it loads",
    rule: "outside",
    file: "runtime/step/plan.ts",
    bad: "export const load = (name: string) => import(name);",
    good: 'export type Step = import("../step.ts").Step;',
  },
  {
    it: "a port knows no package",
    rule: "outside",
    file: "runtime/ports/bus.ts",
    bad: 'import type { NatsConnection } from "@nats-io/transport-node";',
    good: 'import type { Store } from "./store.ts";',
  },
  {
    it: "a host does no I/O of its own",
    rule: "outside",
    file: "runtime/host/effects.ts",
    bad: 'import net from "node:net";',
    good: 'import { AsyncLocalStorage } from "node:async_hooks";',
  },
  {
    it: "XState by value is for runtime/machine",
    rule: "xstate",
    file: "runtime/host/effects.ts",
    bad: 'import { type AnyActorRef } from "xstate";',
    good: 'import type { AnyActorRef } from "xstate";',
  },
  {
    it: "XState's parts are XState too",
    rule: "xstate",
    file: "runtime/cli/graph.ts",
    bad: 'import { getShortestPaths } from "xstate/graph";',
    good: 'import type { TestModel } from "xstate/graph";',
  },
  ...[
    ["Date.now()", "Date.parse(text)"],
    ["new Date()", "new Date(atMs)"],
    ["new Date", "new Date(Date.UTC(2026, 1))"],
    ["Date()", "value instanceof Date"],
    ["performance.now()", "report.performance.now()"],
    ["setTimeout(go, 5)", "clock.setTimeout(go, 5)"],
    ["(go ? setInterval : other)(go, 5)", "{ setInterval: go, setTimeout(go: () => void) { return go; } }"],
    ["queueMicrotask(go)", "'queueMicrotask(go)'"],
    ["Math.random()", "Math.imul(3, 5)"],
    ["Math?.random()", "/Math.random()/.test(text)"],
    ["crypto.randomUUID()", inTemplate("text.crypto")],
    ["process.env.HOME", "this.process(text)"],
    ["fetch(text)", "store?.fetch(text)"],
    ["globalThis.Date", "/* globalThis */ 1"],
    [inTemplate("Date.now()"), inTemplate("`Date.now()`")],
    ["[1 / setTimeout(go, 5), '/']", "[1 / 2, '/ setTimeout(go) /']"],
  ].map(([bad, good]) => ({
    it: `a core may say ${good}, not ${bad}`,
    rule: "ambient",
    file: "runtime/window.ts",
    bad: `// the clock\nexport const value = () => (${bad});`,
    good: `// Date.now()\nexport const value = () => (${good});`,
  })),
  {
    it: "a port and its signatures read no clock",
    rule: "ambient",
    file: "runtime/ports/clock.ts",
    bad: "export const nowMs = Date.now;",
    good: "export interface Clock {\n  readonly performance: number;\n  setTimeout(go: () => void, delayMs: number): void;\n}",
  },
  {
    it: "a host has its clock given",
    rule: "ambient",
    file: "runtime/host/wheel.ts",
    bad: "export const start = () => setTimeout(() => {}, 5);",
    good: "export const start = (clock: { setTimeout(go: () => void): void }) => clock.setTimeout(() => {});",
  },
  {
    it: "the simulated world has no time of its own",
    rule: "ambient",
    file: "simulations/world/world.ts",
    bad: "export const seed = Math.random();",
    good: "export const wait = async () => {};",
  },
  {
    it: "what drives the simulated world may let promises run, and no more",
    rule: "ambient",
    file: "simulations/world/loop.ts",
    bad: "setTimeout(() => {}, 5);",
    good: "setImmediate(() => {});",
  },
  {
    it: "a core does not wait",
    rule: "waiting",
    file: "coordinator/schedule/slots.ts",
    bad: "export const next = async () => 1;",
    good: "export const next = { async: true, await: 1 }.async;",
  },
  {
    it: "a core does not wait in the middle either",
    rule: "waiting",
    file: "runtime/step.ts",
    bad: "export const value = await Promise.resolve(1);",
    good: "export type Answer = Promise<number>;",
  },
  {
    it: "a file is named for its concept",
    rule: "pile",
    file: "runtime/utils.ts",
    bad: "export const a = 1;",
    good: "",
  },
  {
    it: "a folder is named for its concept",
    rule: "pile",
    file: "runtime/host/common/queue.ts",
    bad: "export const a = 1;",
    good: "",
  },
  {
    it: "a file is in a layer",
    rule: "layer",
    file: "runtime/somewhere/else.ts",
    bad: "export const a = 1;",
    good: "",
  },
];

describe("each rule", () => {
  for (const { it, rule, file, bad, good, around } of cases)
    test(it, () => {
      const tree = { ...layersOfImports, ...around };
      expect(check({ ...tree, [file]: bad })).toMatchObject([{ path: file, rule }]);
      const better = good === "" ? file.replace(/utils|common|somewhere/, "host") : file;
      expect(check({ ...tree, [better]: good })).toEqual([]);
    });
});

describe("what is not reached", () => {
  const packageJson =
    '{ "exports": { ".": "./dist/runtime/index.js" }, "scripts": { "start": "node dist/actors/start.js" } }';
  const tree: Tree = {
    "runtime/index.ts": 'export { run } from "./host/host.ts";',
    "runtime/host/host.ts": "export const run = 1;",
    "runtime/host/host.test.ts": 'import "./lonely.fixture.ts";',
    "runtime/host/lonely.fixture.ts": "export {};",
    "actors/start.ts": 'new Worker(new URL("./worker.js", import.meta.url));',
    "actors/worker.ts": "export {};",
  };

  test("nothing is lost when entry points, tests and their workers lead everywhere", () => {
    expect(check(tree, packageJson)).toEqual([]);
  });

  test("a file that none of them leads to is lost", () => {
    expect(check({ ...tree, "runtime/old.ts": "export const old = 1;" }, packageJson)).toMatchObject([
      { path: "runtime/old.ts", rule: "lost" },
    ]);
  });

  test("an entry point without its source is missing, and what it led to is lost", () => {
    const { "actors/start.ts": _, ...rest } = tree;
    expect(check(rest, packageJson)).toMatchObject([
      { path: "package.json", rule: "missing", what: "names actors/start.ts, which is not there" },
      { path: "actors/worker.ts", rule: "lost" },
    ]);
  });
});

describe("what is reported", () => {
  test("the line is that of the source, after comments, templates and regular expressions of several lines", () => {
    const text = ["/*", "*/", "const a = `", "`; // `", "const b = /[/`]/.test(a);", "export const c = Date.now();"];
    expect(check({ "runtime/step.ts": text.join("\n") })).toMatchObject([{ rule: "ambient", line: 6 }]);
  });

  test("an import over several lines is one import, of the kind it says", () => {
    const text = ["import type {", "  A,", '} from "xstate";', "import {", "  b,", '} from "xstate";'];
    expect(check({ "runtime/step.ts": text.join("\n") })).toMatchObject([{ rule: "xstate", line: 4 }]);
  });

  test("an export of a type is not taken for an import of what follows it", () => {
    const text =
      'export type { A };\nexport type Path = { from: "node:fs" };\nexport const from = "node:fs";\ntype A = 1;';
    expect(check({ "runtime/step.ts": text })).toEqual([]);
  });
});
