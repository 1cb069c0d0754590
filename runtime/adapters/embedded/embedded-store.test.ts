import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, test } from "vitest";
import { fencingContract, type StoreUnderTest, storeContract } from "../../ports/store.contract.ts";
import { type EmbeddedProvider, embedded } from "./index.ts";

const scratch = mkdtempSync(join(tmpdir(), "holdfast-embedded-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
let made = 0;
const freshDirectory = () => join(scratch, String(++made));

describe("EmbeddedStore keeps the store's contract", () => {
  for (const { name, run } of [...storeContract, ...fencingContract])
    test(name, () => run(() => open(embedded(freshDirectory(), { historyDepth: 4 }))));
});

async function open(provider: EmbeddedProvider): Promise<StoreUnderTest> {
  const { store, leases } = await provider.open();
  return { store, token: leases.token(0)!, reopen: () => open(provider) };
}
