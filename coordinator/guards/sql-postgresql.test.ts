/** The guard's text for PostgreSQL on a real server, where there is one: two transactions that meet. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { chmodSync, chownSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Claim } from "../../runtime/ports/fenced-register.ts";
import { SqlGuard, type SqlRun } from "./sql.ts";

const isThere = ["initdb", "pg_ctl", "psql"].every((program) => spawnSync(program, ["--version"]).status === 0);
const why = "SKIPPED: initdb, pg_ctl and psql are not on PATH";
const claim = (index: number, holder = `n${index}`): Claim => ({ token: [1, index], holder });

/** One connection, by psql: a statement in, rows or an error out, one after the other. */
class Psql {
  readonly #child: ChildProcess;
  readonly #said = { stdout: "", stderr: "" };
  #heard = () => {};
  #count = 0;
  #tail: Promise<unknown> = Promise.resolve();

  constructor(folder: string, as: object) {
    const options = ["-h", folder, "-U", "test", "-qAt", "-F", "\t", "-v", "ON_ERROR_STOP=0", "postgres"];
    this.#child = spawn("psql", options, { ...as, stdio: ["pipe", "pipe", "pipe"] });
    for (const stream of ["stdout", "stderr"] as const)
      this.#child[stream]?.on("data", (chunk: Buffer) => {
        this.#said[stream] += chunk.toString();
        this.#heard();
      });
  }

  readonly run: SqlRun = (text, values) => {
    const statement = text.replace(/\$(\d+)/g, (_, number: string) => quote(values[Number(number) - 1]));
    const result = this.#tail.then(() => this.#perform(statement));
    this.#tail = result.catch(() => {});
    return result;
  };

  /** Rows and errors come over two pipes: each has ended when its mark is there. */
  async #perform(statement: string): Promise<Record<string, unknown>[]> {
    const mark = `done-${++this.#count}`;
    this.#said.stdout = "";
    this.#said.stderr = "";
    const whole = new Promise<void>((resolve) => {
      this.#heard = () => {
        if (this.#said.stdout.includes(mark) && this.#said.stderr.includes(mark)) resolve();
      };
    });
    this.#child.stdin?.write(`${statement};\n\\echo ${mark}\n\\warn ${mark}\n`);
    await whole;
    const [rows, errors] = [this.#said.stdout, this.#said.stderr].map((said) => said.replace(mark, "").trim());
    if (errors?.includes("ERROR:")) throw new Error(errors);
    return rows === undefined || rows === "" ? [] : rows.split("\n").map(readRow);
  }

  end(): void {
    this.#child.kill("SIGKILL");
  }
}

function quote(value: string | number | undefined): string {
  return typeof value === "number" ? String(value) : `'${String(value).replaceAll("'", "''")}'`;
}

function readRow(line: string): Record<string, unknown> {
  const [epoch, idx, holder] = line.split("\t");
  return { epoch, idx, holder };
}

describe.skipIf(!isThere)(`on a real PostgreSQL${isThere ? "" : ` (${why})`}`, () => {
  const guard = new SqlGuard("postgresql");
  let folder: string;
  let as: object;
  let a: Psql;
  let b: Psql;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "holdfast-pg-"));
    as = owner(folder);
    const run = (program: string, ...args: string[]) =>
      execFileSync(program, args, { ...as, cwd: folder, stdio: "ignore" });
    run("initdb", "-D", join(folder, "data"), "-A", "trust", "-U", "test", "-E", "UTF8", "--no-sync");
    const options = `-c listen_addresses='' -c unix_socket_directories='${folder}' -c fsync=off`;
    run("pg_ctl", "-D", join(folder, "data"), "-l", join(folder, "log"), "-w", "-o", options, "start");
    [a, b] = [new Psql(folder, as), new Psql(folder, as)];
    await a.run(guard.createTable, []);
  });
  afterAll(() => {
    a?.end();
    b?.end();
    spawnSync("pg_ctl", ["-D", join(folder, "data"), "-m", "immediate", "stop"], as);
    rmSync(folder, { recursive: true, force: true });
  });

  test("claims are judged as the rule says", async () => {
    const admit = (index: number, holder?: string) => guard.admit(a.run, "rule", claim(index, holder));
    await admit(2);
    await admit(2);
    await admit(10);
    await admit(Number.MAX_SAFE_INTEGER);
    await expect(admit(9)).rejects.toMatchObject({ code: "Fenced" });
    await expect(admit(Number.MAX_SAFE_INTEGER, "it's another")).rejects.toMatchObject({ code: "Fenced" });
  });

  test.each(["READ COMMITTED", "REPEATABLE READ"])("of two that meet, the earlier claim fails: %s", async (level) => {
    const name = `meet ${level}`;
    await guard.admit(a.run, name, claim(1));
    await a.run(`BEGIN ISOLATION LEVEL ${level}`, []);
    await b.run(`BEGIN ISOLATION LEVEL ${level}`, []);
    await b.run("SELECT 1", []);
    await guard.admit(a.run, name, claim(2));
    // Waits for the other, who holds the row, and is told what he has made of it.
    const late = guard.admit(b.run, name, claim(1)).then(
      () => "admitted",
      (error: Error) => error.message,
    );
    await a.run("COMMIT", []);
    expect(await late).toMatch(level === "READ COMMITTED" ? /FENCED\(1.2\) by n2/ : /could not serialize access/);
    await b.run("ROLLBACK", []);
  });

  test("of two that meet, the later claim waits and passes", async () => {
    await guard.admit(a.run, "later", claim(1));
    await a.run("BEGIN", []);
    await guard.admit(a.run, "later", claim(1));
    await b.run("BEGIN", []);
    const next = guard.admit(b.run, "later", claim(2));
    await a.run("COMMIT", []);
    await next;
    await b.run("COMMIT", []);
    await expect(guard.admit(a.run, "later", claim(1))).rejects.toMatchObject({ code: "Fenced" });
  });
});

/** PostgreSQL refuses to run as root: then as the user that its package made, or as nobody. */
function owner(folder: string): object {
  if (process.getuid?.() !== 0) return {};
  for (const name of ["postgres", "nobody"]) {
    const [uid, gid] = ["-u", "-g"].map((which) => Number(spawnSync("id", [which, name], { encoding: "utf8" }).stdout));
    if (!uid || !gid) continue;
    chownSync(folder, uid, gid);
    chmodSync(folder, 0o755);
    return { uid, gid };
  }
  return {};
}
