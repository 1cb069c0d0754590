import { type ChildProcess, spawn } from "node:child_process";
import {
  constants,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type DiskUnderTest, diskContract } from "../../ports/disk.contract.ts";
import { DiskFullError } from "../../ports/disk.ts";
import { LogInUse, LogNoFolder, LogReadOnly } from "./errors.ts";
import { Files } from "./files.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-files-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("real files keep the disk's contract", () => {
  const open = async (): Promise<DiskUnderTest> => {
    let files = await Files.open(join(folder, "log"));
    return {
      disk: files,
      reopen: async () => {
        await files.close();
        files = await Files.open(join(folder, "log"));
        return files;
      },
      close: () => files.close(),
    };
  };
  test.each(diskContract)("$name", ({ run }) => run(open));
});

describe("a folder", () => {
  test("has one owner, within a process too, until it is closed", async () => {
    const first = await Files.open(folder);
    await expect(Files.open(folder)).rejects.toThrow(`process ${process.pid} runs on ${folder} already`);
    await first.close();
    await (await Files.open(folder)).close();
    expect(readdirSync(folder)).toEqual([]);
  });

  test("with a path too long for a socket has one, too", async () => {
    const deep = join(folder, "x".repeat(150));
    const first = await Files.open(deep);
    await expect(Files.open(deep)).rejects.toThrow(LogInUse);
    await first.close();
    await (await Files.open(deep)).close();
  });

  test("of a process that was stopped is its own still, and free when it was killed", async () => {
    const owner = spawn(process.execPath, ["-e", ownerScript, join(folder, "owner-%-00000000.lock")], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    try {
      await new Promise((resolve) => owner.stdout.once("data", resolve));
      owner.kill("SIGSTOP");
      await expect(Files.open(folder)).rejects.toThrow(`process ${owner.pid} runs on`);
      await killed(owner);
      const files = await Files.open(folder);
      expect(await files.list()).toEqual([]);
      await files.close();
    } finally {
      owner.kill("SIGKILL");
    }
  });

  test("is none when there is a file at its path, or on the way to it", async () => {
    writeFileSync(join(folder, "file"), "");
    await expect(Files.open(join(folder, "file"))).rejects.toThrow(LogNoFolder);
    await expect(Files.open(join(folder, "file", "below"))).rejects.toThrow(LogNoFolder);
  });

  test("that is read-only says so", async () => {
    // A folder in which not even root may make anything.
    await expect(Files.open("/proc/self/task")).rejects.toThrow(LogReadOnly);
  });
});

test.runIf(process.platform === "linux")(
  "a write is on the disk when it is done: the system was asked for that",
  async () => {
    const files = await Files.open(folder);
    const file = await files.open("through");
    const own = readdirSync("/proc/self/fd").find((fd) => linkOf(fd) === join(realpathSync(folder), "through"));
    const [, flags = ""] = /^flags:\s+(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${own}`, "utf8")) ?? [];
    expect(Number.parseInt(flags, 8) & constants.O_DSYNC).toBe(constants.O_DSYNC);
    await file.close();
    await files.close();
  },
);

/** One that is gone by now is none of ours. */
function linkOf(fd: string): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return undefined;
  }
}

test("a full disk is said by its name, at the write", async () => {
  symlinkSync("/dev/full", join(folder, "full"));
  const files = await Files.open(folder);
  const file = await files.open("full");
  await expect(file.write(0, new Uint8Array(10))).rejects.toThrow(DiskFullError);
  await file.close();
  await files.close();
});

/** What an owner does, without our code: it must be told from outside that it lives. */
const ownerScript = `
  const path = process.argv[1].replace("%", process.pid);
  require("node:net").createServer().listen(path, () => console.log("owns"));
`;

function killed(owner: ChildProcess): Promise<unknown> {
  const ended = new Promise((resolve) => owner.once("exit", resolve));
  owner.kill("SIGKILL");
  return ended;
}
