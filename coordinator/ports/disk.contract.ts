/**
 * What every disk must do while nothing crashes, as plain functions without a test framework. What a crash may take is
 * for the tests of whoever can crash one.
 */
import assert from "node:assert/strict";
import type { Disk, DiskFile } from "./disk.ts";

export type DiskUnderTest = {
  readonly disk: Disk;
  /** The same folder, opened anew after its owner has ended. */
  reopen(): Promise<Disk>;
  close(): Promise<void>;
};

export type DiskCase = {
  readonly name: string;
  readonly run: (open: () => Promise<DiskUnderTest>) => Promise<void>;
};

export const diskContract: readonly DiskCase[] = [
  {
    name: "a file is made empty when it is opened, and the names are listed in order",
    run: withDisk(async ({ disk }) => {
      assert.deepEqual(await disk.list(), []);
      for (const name of ["b", "a", "c-10", "c-9"]) {
        const file = await disk.open(name);
        assert.equal(file.size(), 0);
        await file.close();
      }
      assert.deepEqual(await disk.list(), ["a", "b", "c-10", "c-9"]);
    }),
  },
  {
    name: "what is written is read, synced or not, within the file and at its end",
    run: withDisk(async ({ disk }) => {
      const file = await disk.open("f");
      await file.write(0, bytes("hello"));
      await file.write(5, bytes(" world"));
      await file.write(0, bytes("J"));
      await file.write(11, new Uint8Array());
      assert.equal(file.size(), 11);
      assert.equal(await text(file), "Jello world");
      await file.sync();
      assert.equal(await text(file), "Jello world");
      await file.close();
    }),
  },
  {
    name: "fewer bytes than asked for are read only at the end of the file",
    run: withDisk(async ({ disk }) => {
      const file = await disk.open("f");
      await file.write(0, bytes("abcdef"));
      const read = async (offset: number, length: number) => decode(await file.read(offset, length));
      assert.equal(await read(0, 6), "abcdef");
      assert.equal(await read(2, 3), "cde");
      assert.equal(await read(4, 100), "ef");
      assert.equal(await read(6, 1), "");
      assert.equal(await read(0, 0), "");
      await file.close();
    }),
  },
  {
    name: "a write beyond the end is refused and leaves no hole",
    run: withDisk(async ({ disk }) => {
      const file = await disk.open("f");
      await file.write(0, bytes("abc"));
      await assert.rejects(file.write(4, bytes("x")));
      await assert.rejects(file.write(-1, bytes("x")));
      assert.equal(await text(file), "abc");
      await file.close();
    }),
  },
  {
    name: "a written buffer may be used again as soon as the write is done",
    run: withDisk(async ({ disk }) => {
      const file = await disk.open("f");
      const buffer = bytes("abc");
      await file.write(0, buffer);
      buffer.fill(0);
      assert.equal(await text(file), "abc");
      await file.close();
    }),
  },
  {
    name: "truncating cuts the end, and writing goes on from there",
    run: withDisk(async ({ disk }) => {
      const file = await disk.open("f");
      await file.write(0, bytes("abcdef"));
      await file.truncate(2);
      assert.equal(file.size(), 2);
      await file.write(2, bytes("X"));
      assert.equal(await text(file), "abX");
      await file.truncate(0);
      assert.equal(await text(file), "");
      await file.close();
    }),
  },
  {
    name: "a file that is opened again holds what it held",
    run: withDisk(async ({ disk }) => {
      const first = await disk.open("f");
      await first.write(0, bytes("abc"));
      await first.close();
      const second = await disk.open("f");
      assert.equal(second.size(), 3);
      assert.equal(await text(second), "abc");
      await second.close();
    }),
  },
  {
    name: "renaming replaces what had the name, and removing removes",
    run: withDisk(async ({ disk }) => {
      await put(disk, "old", "old");
      await put(disk, "new", "new");
      await disk.rename("new", "old");
      assert.deepEqual(await disk.list(), ["old"]);
      assert.equal(await get(disk, "old"), "new");
      await disk.remove("old");
      assert.deepEqual(await disk.list(), []);
      assert.equal(await get(disk, "old"), "", "made anew, empty");
    }),
  },
  {
    name: "what was synced, its name too, is there when the folder is opened again",
    run: withDisk(async ({ disk, reopen }) => {
      await put(disk, "kept.tmp", "kept");
      await disk.rename("kept.tmp", "kept");
      await put(disk, "gone", "gone");
      await disk.remove("gone");
      await disk.syncFolder();
      const again = await reopen();
      assert.deepEqual(await again.list(), ["kept"]);
      assert.equal(await get(again, "kept"), "kept");
    }),
  },
  {
    name: "large writes are whole",
    run: withDisk(async ({ disk, reopen }) => {
      const large = new Uint8Array(3_000_000);
      for (let at = 0; at < large.length; at++) large[at] = (at * 31) % 251;
      const file = await disk.open("large");
      await file.write(0, large);
      await file.sync();
      await file.close();
      await disk.syncFolder();
      const again = await (await reopen()).open("large");
      assert.equal(Buffer.compare(await again.read(0, large.length), large), 0);
      await again.close();
    }),
  },
];

function withDisk(run: (disk: DiskUnderTest) => Promise<void>): DiskCase["run"] {
  return async (open) => {
    const disk = await open();
    try {
      await run(disk);
    } finally {
      await disk.close();
    }
  };
}

async function put(disk: Disk, name: string, content: string): Promise<void> {
  const file = await disk.open(name);
  await file.write(0, bytes(content));
  await file.sync();
  await file.close();
}

async function get(disk: Disk, name: string): Promise<string> {
  const file = await disk.open(name);
  const content = await text(file);
  await file.close();
  return content;
}

async function text(file: DiskFile): Promise<string> {
  return decode(await file.read(0, file.size()));
}

function bytes(content: string): Uint8Array {
  return new TextEncoder().encode(content);
}

function decode(content: Uint8Array): string {
  return new TextDecoder().decode(content);
}
