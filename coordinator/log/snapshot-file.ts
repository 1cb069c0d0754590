/** Snapshots on the disk: written aside, flushed, then renamed, so that one that has its name is whole unless damaged. */
import type { Disk } from "../ports/disk.ts";
import type { ConfState, Snapshot } from "../raft/messages.ts";
import { crc32c } from "./crc32c.ts";

const asideName = "snapshot.tmp";
const nameOf = (index: number) => `snapshot-${String(index).padStart(16, "0")}`;
const namePattern = /^snapshot-(\d{16})$/;

export function isSnapshotFile(name: string): boolean {
  return name === asideName || namePattern.test(name);
}

/** On the disk when it resolves; older ones are still there. */
export async function writeSnapshot(disk: Disk, snapshot: Snapshot): Promise<void> {
  const { index, term, confState } = snapshot.metadata;
  const head = new TextEncoder().encode(`${JSON.stringify({ format: 1, index, term, confState })}\n`);
  const bytes = new Uint8Array(4 + head.length + snapshot.data.length);
  bytes.set(head, 4);
  bytes.set(snapshot.data, 4 + head.length);
  new DataView(bytes.buffer).setUint32(0, crc32c(bytes.subarray(4)));
  const file = await disk.open(asideName);
  try {
    await file.truncate(0);
    await file.write(0, bytes);
    await file.sync();
  } finally {
    await file.close();
  }
  await disk.rename(asideName, nameOf(index));
  await disk.syncFolder();
}

/** The newest that is whole, and the index of the newest that is there. */
export async function readSnapshot(disk: Disk): Promise<{ snapshot: Snapshot | undefined; newestIndex: number }> {
  const names = (await disk.list()).filter((name) => namePattern.test(name)).reverse();
  const newestIndex = Number(namePattern.exec(names[0] ?? "")?.[1] ?? 0);
  for (const name of names) {
    const file = await disk.open(name);
    const snapshot = decode(await file.read(0, file.size()));
    await file.close();
    if (snapshot !== undefined) return { snapshot, newestIndex };
  }
  return { snapshot: undefined, newestIndex };
}

/** Removes what the snapshot at `index` replaces. Whether it is gone for good is seen when the folder is opened again. */
export async function removeOlderSnapshots(disk: Disk, index: number): Promise<void> {
  for (const name of await disk.list()) if (namePattern.test(name) && name < nameOf(index)) await disk.remove(name);
}

function decode(bytes: Uint8Array): Snapshot | undefined {
  if (bytes.length < 4) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0) !== crc32c(bytes.subarray(4))) return undefined;
  const end = bytes.indexOf(10, 4);
  const { format, index, term, confState } = JSON.parse(new TextDecoder().decode(bytes.subarray(4, end))) as {
    format: number;
    index: number;
    term: number;
    confState: ConfState;
  };
  return format === 1 ? { data: bytes.slice(end + 1), metadata: { index, term, confState } } : undefined;
}
