import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { test } from "vitest";
import { whyNotLoaded } from "./exported.ts";

test("a Node that reads no TypeScript is told what helps", () => {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-exported-"));
  try {
    writeFileSync(join(folder, "order.sim.ts"), "export default {};");
    // The error of a real Node; the newest ones take the file.
    const url = pathToFileURL(join(folder, "order.sim.ts")).href;
    const program = `await import(${JSON.stringify(url)}).then(() => console.log("null"), ({ code, message }) => console.log(JSON.stringify({ code, message })))`;
    const { stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", program], {
      encoding: "utf8",
      env: { ...process.env, NODE_OPTIONS: "" },
    });
    const error: unknown = JSON.parse(stdout);
    if (error !== null)
      assert.match(whyNotLoaded(error), /extension "\.ts".*\n.*NODE_OPTIONS="--import tsx".*22\.18.*Deno/s);
  } finally {
    rmSync(folder, { recursive: true });
  }
  const unknown = { code: "ERR_UNKNOWN_FILE_EXTENSION", message: 'Unknown file extension ".ts" for /order.sim.ts' };
  assert.match(whyNotLoaded(unknown), /NODE_OPTIONS="--import tsx"/);
  assert.equal(whyNotLoaded({ ...unknown, message: 'Unknown file extension ".css"' }), 'Unknown file extension ".css"');
  assert.equal(whyNotLoaded(new Error("thrown by the file")), "thrown by the file");
});
