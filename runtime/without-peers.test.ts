/** Every entrance can be imported by whoever has installed none of the optional packages, or says which it needs. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, test, vi } from "vitest";

const manifest = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  readonly exports: Readonly<Record<string, { readonly default: string }>>;
  readonly peerDependenciesMeta: Readonly<Record<string, { readonly optional: boolean }>>;
};
const optional = Object.keys(manifest.peerDependenciesMeta);
/** Those that are nothing without their package. */
const needs: Readonly<Record<string, string>> = {
  "./simulations/arbitraries": "FastCheckMissing",
  "./telemetry": "OpenTelemetryMissing",
};

describe("without any optional package", () => {
  beforeAll(() => {
    vi.resetModules();
    for (const name of optional)
      vi.doMock(name, () => {
        throw new Error(`Cannot find package '${name}'`);
      });
  });
  afterAll(() => {
    for (const name of optional) vi.doUnmock(name);
    vi.resetModules();
  });

  test.each(Object.entries(manifest.exports))("%s", async (entry, { default: built }) => {
    const path = built.replace("./dist/", "../").replace(/js$/, "ts");
    const code = needs[entry];
    if (code === undefined) await import(path);
    else await assert.rejects(import(path), { code });
  });
});
