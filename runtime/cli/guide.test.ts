/** Runs every example of docs/guides/command-line.md, in order, and compares what it prints with what the guide says. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, test, vi } from "vitest";
import type { AnyActorLogic } from "xstate";
import { embedded } from "../adapters/embedded/index.ts";
import { createRuntime, defineActor, type Runtime, type StoredState } from "../index.ts";
import { runCommandLine } from "./command-line.ts";

const guide = readFileSync(resolve("docs/guides/command-line.md"), "utf8");
const blocks = [...guide.matchAll(/^```(js|console)(?: restart=(\w+))?\n(.*?)^```$/gms)].map(
  ([, kind = "", restart = "", body = ""]) => ({ kind, restart, body }),
);

const shop = mkdtempSync(join(tmpdir(), "holdfast-guide-"));
let runtime: Runtime | undefined;
afterAll(async () => {
  await runtime?.stop({ drainMs: 0 });
  rmSync(shop, { recursive: true, force: true });
});

const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
const migrate = ({ context }: StoredState) => ({ value: "settled", context });

async function restart(release: string): Promise<void> {
  await runtime?.stop();
  runtime = undefined;
  if (release === "none") return;
  const file = release === "first" ? "order.js" : "order-2.js";
  const { orderMachine } = (await import(pathToFileURL(join(shop, file)).href)) as { orderMachine: AnyActorLogic };
  const options = release === "migrating" ? { version: 2, migrate } : { version: release === "first" ? 1 : 2 };
  const order = defineActor(orderMachine, options);
  runtime = await createRuntime({ actors: { order }, store: embedded(join(shop, "data")), logger: silent });
  if (release !== "migrating") return;
  const order123 = runtime.actor("order", "o-123");
  await vi.waitUntil(async () => ((await order123.document())?.seq ?? 0) >= 4);
}

async function reaches(value: string): Promise<void> {
  await runtime?.actor("order", "o-123").waitFor((state: { readonly value?: unknown; readonly revision: number }) => {
    return state.value === value && state.revision >= (value === "settled" ? 4 : 3);
  });
}

/** Splits as a shell does; the guide's quotes are single ones. */
const wordsOf = (line: string) =>
  [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? "");

/** What differs from run to run. */
const steady = (text: string) =>
  text
    .replaceAll(shop, "/srv/shop")
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "<time>")
    .replace(/[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}/g, "<identity>")
    .replace(/process \d+/g, "process <pid>")
    .replace(/"[\da-f]{16}"/g, '"<hash>"')
    .replace(/(version \d+) [\da-f]{16}/g, "$1 <hash>")
    .replace(/"(born|commit)": "[\w.]+"/g, '"$1": "<id>"')
    .replace(/"\w{10}\.\d+(\.\d+)?"/g, '"<client>"')
    .replace(/\b1[789]\d{8}\b/g, "<seconds>")
    // Which actors have left memory or the index of pending work is a matter of moments.
    .replace(/\d+ in memory, \d+ with pending work/, "<some>");

test("every example of the guide does what the guide says", async () => {
  const source = blocks.find(({ kind }) => kind === "js")?.body ?? "";
  symlinkSync(resolve("node_modules"), join(shop, "node_modules"));
  writeFileSync(join(shop, "package.json"), '{"type":"module"}');
  writeFileSync(join(shop, "order.js"), source);
  writeFileSync(join(shop, "order-2.js"), source.replaceAll("paid:", "settled:").replaceAll('"paid"', '"settled"'));
  await restart("first");
  let examples = 0;
  for (const { restart: release, body } of blocks.filter(({ kind }) => kind === "console")) {
    if (release !== "") await restart(release);
    for (const example of body.split(/^\$ /m).slice(1)) {
      const end = example.indexOf("\n");
      const [program, ...argv] = wordsOf(example.slice(0, end));
      assert.equal(program, "holdfast");
      let printed = "";
      const print = (text: string) => {
        printed += text;
      };
      const terminal = { out: print, err: print, env: { HOLDFAST_DATA: join(shop, "data") } };
      await runCommandLine(
        argv.map((word) => word.replace("/srv/shop", shop)),
        terminal,
      );
      assert.equal(steady(printed), steady(example.slice(end + 1)), example.slice(0, end));
      // What goes on in the host after an answer is shown by the next example.
      if (argv.includes("k-81")) await reaches("paid");
      examples++;
    }
  }
  assert.ok(examples >= 20, `${examples} examples`);
});
