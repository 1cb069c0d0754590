/** The project compiled into a folder of its own, for tests that need processes to kill: Node cannot run its TypeScript. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";

export type Compiled = { readonly folder: string; remove(): void };

/** Inside `node_modules`, so that the compiled files find what they import. */
export function compileProject(): Compiled {
  const root = resolve(import.meta.dirname, "../..");
  const cache = join(root, "node_modules/.cache");
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, "holdfast-compiled-"));
  const { stdout, error } = spawnSync(
    join(root, "node_modules/.bin/tsc"),
    ["-p", join(root, "tsconfig.build.json"), "--outDir", folder, "--noCheck", "--declaration", "false"],
    { encoding: "utf8" },
  );
  assert.equal(error, undefined);
  assert.equal(stdout, "");
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}
