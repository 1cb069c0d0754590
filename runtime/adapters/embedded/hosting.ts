/**
 * How an opening becomes the store's one host. The store names its host, and the host's beacon shows that it lives; the
 * name is replaced in the transaction that raises the epoch, so of two that find a dead host only one gets on, and a host
 * that was outranked all the same is fenced by the epoch.
 */
import { randomUUID } from "node:crypto";
import { DiskFull, StoreInUse } from "./errors.ts";
import { HostBeacon, isLit, removeBeacon } from "./host-beacon.ts";
import type { HostRecord, LmdbFile } from "./lmdb-file.ts";

export type Hosting = { readonly epoch: number; readonly record: HostRecord; readonly beacon: HostBeacon };

/** Rejects with `StoreInUse` while a host lives, also when it is stopped or busy. */
export async function assertUnhosted(file: LmdbFile): Promise<HostRecord | undefined> {
  const host = file.host();
  if (host && (await isLit(file.directory, host.id))) throw new StoreInUse(file.directory, host.pid);
  return host;
}

export async function becomeHost(file: LmdbFile, historyDepth: number): Promise<Hosting> {
  for (;;) {
    const replaced = await assertUnhosted(file);
    const record: HostRecord = { id: randomUUID().slice(0, 13), pid: process.pid };
    const beacon = await HostBeacon.light(file.directory, record.id);
    try {
      if (!(await file.takeRoom([]))) throw new DiskFull(file.directory);
      const epoch = file.takeOver(replaced, record, { newIdentity: randomUUID(), historyDepth });
      if (epoch !== undefined) {
        if (replaced) removeBeacon(file.directory, replaced.id);
        return { epoch, record, beacon };
      }
    } catch (error) {
      await beacon.extinguish();
      throw error;
    }
    await beacon.extinguish(); // somebody was faster
  }
}
