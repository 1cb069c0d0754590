import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { Database } from "node-sqlite3-wasm";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Claim, mayAct } from "../../runtime/ports/fenced-register.ts";
import { FencedError } from "../lease/errors.ts";
import { SqlGuard, type SqlRun } from "./sql.ts";

const claim = (epoch: number, index: number, holder = `n${index}`): Claim => ({ token: [epoch, index], holder });
const runOn =
  (db: Database): SqlRun =>
  async (text, values) =>
    db.all(text, [...values]) as Record<string, unknown>[];

describe("on SQLite", () => {
  const guard = new SqlGuard("sqlite");
  let folder: string;
  let a: Database;
  let b: Database;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "holdfast-sql-"));
    const path = join(folder, "data.db");
    [a, b] = [new Database(path), new Database(path)];
    for (const db of [a, b]) db.exec("PRAGMA synchronous = OFF");
    a.exec(guard.createTable);
    a.exec("CREATE TABLE account (id TEXT PRIMARY KEY, amount INTEGER)");
    a.exec("INSERT INTO account VALUES ('x', 0)");
  });
  afterEach(() => {
    a.close();
    b.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** A transaction under a lease: the fence first, then the effect. */
  async function add(db: Database, by: Claim, amount: number): Promise<void> {
    db.exec("BEGIN IMMEDIATE");
    try {
      await guard.admit(runOn(db), "account/x", by);
      db.run("UPDATE account SET amount = amount + ? WHERE id = 'x'", [amount]);
      db.exec("COMMIT");
    } catch (error) {
      db.exec("ROLLBACK");
      throw error;
    }
  }
  const amount = () => (a.get("SELECT amount FROM account") as { amount: number }).amount;

  test("C5 whoever was overtaken fails, and his transaction has no effect", async () => {
    await add(a, claim(1, 1), 1);
    await add(b, claim(1, 2), 10);
    await expect(add(a, claim(1, 1), 100)).rejects.toMatchObject({ code: "Fenced", newest: claim(1, 2) });
    await add(b, claim(1, 2), 1_000);
    await expect(add(a, claim(1, 2, "another"), 10_000)).rejects.toBeInstanceOf(FencedError);
    await add(a, claim(2, 1), 100_000);
    expect(amount()).toBe(101_011);
  });

  test("C6 a claim counts from its installation, also when nothing was done under it yet", async () => {
    await add(a, claim(1, 1), 1);
    b.exec("BEGIN IMMEDIATE");
    await guard.admit(runOn(b), "account/x", claim(1, 2));
    b.exec("COMMIT");
    await expect(add(a, claim(1, 1), 100)).rejects.toThrow(/account\/x: FENCED\(1.2\) by n2: stop acting/);
    expect(amount()).toBe(1);
  });

  test("an effect that fails takes its claim back with it", async () => {
    await add(a, claim(1, 1), 1);
    b.exec("BEGIN IMMEDIATE");
    await guard.admit(runOn(b), "account/x", claim(1, 2));
    b.exec("ROLLBACK");
    await add(a, claim(1, 1), 1);
    expect(amount()).toBe(2);
  });

  test("any sequence of claims is judged as the rule says", { timeout: 60_000 }, async () => {
    const small = fc.record({
      epoch: fc.integer({ min: 0, max: 2 }),
      index: fc.oneof(fc.integer({ min: 0, max: 3 }), fc.constant(Number.MAX_SAFE_INTEGER)),
      holder: fc.constantFrom("n1", "N1", "ä"),
    });
    let names = 0;
    const memory = new Database();
    memory.exec(guard.createTable);
    await fc.assert(
      fc.asyncProperty(fc.array(small, { maxLength: 12 }), async (claims) => {
        const name = `fence ${++names}`;
        let newest: Claim | undefined;
        for (const { epoch, index, holder } of claims) {
          const comes = claim(epoch, index, holder);
          const admitted = await guard.admit(runOn(memory), name, comes).then(
            () => true,
            (error: FencedError) => {
              expect(error.newest).toEqual(newest);
              return false;
            },
          );
          expect(admitted).toBe(mayAct(newest, comes));
          if (admitted) newest = comes;
        }
      }),
      { numRuns: 60 },
    );
    memory.close();
  });

  test("what makes no fence is refused before anything is run", async () => {
    const run = runOn(a);
    await expect(guard.admit(run, "", claim(1, 1))).rejects.toThrow(/name of a fence/);
    await expect(guard.admit(run, "x", claim(1, -1))).rejects.toThrow(/a token is two whole numbers/);
    expect(() => new SqlGuard("sqlite", { table: "a; DROP TABLE b" })).toThrow(/`table` is "a; DROP TABLE b"/);
    expect(() => new SqlGuard("oracle" as never)).toThrow(/no dialect of SQL that is known here/);
    await expect(guard.admit(async () => [], "x", claim(1, 1))).rejects.toThrow(/bound to one transaction/);
  });
});

describe("the texts", () => {
  async function textsOf(guard: SqlGuard): Promise<string[]> {
    const texts: string[] = [];
    const row = { epoch: "3", idx: "41", holder: "n1" };
    const run: SqlRun = async (text, values) => {
      texts.push(text);
      expect(text.match(/\?|\$\d+/g)).toHaveLength(values.length);
      return text.startsWith("SELECT") ? [row] : [];
    };
    await guard.admit(run, "k", claim(3, 41, "n1"));
    return texts;
  }
  const update = (place: () => string) =>
    `UPDATE holdfast_fences SET epoch = ${place()}, idx = ${place()}, holder = ${place()} WHERE name = ${place()} AND (epoch < ${place()} OR (epoch = ${place()} AND (idx < ${place()} OR (idx = ${place()} AND holder = ${place()}))))`;
  const numbered = () => {
    let count = 0;
    return () => `$${++count}`;
  };

  test("for PostgreSQL number their places and lock the row that is read back", async () => {
    expect(await textsOf(new SqlGuard("postgresql"))).toEqual([
      "INSERT INTO holdfast_fences (name, epoch, idx, holder) VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING",
      update(numbered()),
      "SELECT epoch, idx, holder FROM holdfast_fences WHERE name = $1 FOR UPDATE",
    ]);
  });

  test("for MySQL compare letter by letter, and lock the row that is read back", async () => {
    const guard = new SqlGuard("mysql", { table: "app.fences" });
    expect(guard.createTable).toMatch(/^CREATE TABLE IF NOT EXISTS app.fences .*utf8mb4_bin/);
    const [insert, , select] = await textsOf(guard);
    expect(insert).toBe("INSERT IGNORE INTO app.fences (name, epoch, idx, holder) VALUES (?, ?, ?, ?)");
    expect(select).toBe("SELECT epoch, idx, holder FROM app.fences WHERE name = ? FOR UPDATE");
  });
});
