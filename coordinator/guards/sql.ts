/**
 * A fence for one's own SQL tables: one row per name with the newest claim, raised by the first statement of the transaction
 * that has the effect. Whoever was overtaken fails there, and his transaction with it (C5); what is read after it is what
 * no earlier holder can change any more (C6). No driver is known here: the caller runs the statements.
 */
import { refuseUnknown } from "../../runtime/options.ts";
import { type Claim, claimProblem } from "../../runtime/ports/fenced-register.ts";
import { FencedError, LeaseInvalidOption } from "../lease/errors.ts";
import type { Fence } from "./guard.ts";

export type SqlDialect = "postgresql" | "mysql" | "sqlite";

/**
 * Runs one statement in the caller's transaction; gives its rows by the names of their columns (none for what is no query).
 * All statements of one `admit` must go to the same transaction.
 */
export type SqlRun = (
  text: string,
  values: readonly (string | number)[],
) => Promise<readonly Readonly<Record<string, unknown>>[]>;

export type SqlGuardOptions = {
  /** Default: "holdfast_fences". */
  readonly table?: string;
};

export class SqlGuard {
  /** Run it once, before anything else. */
  readonly createTable: string;
  readonly #dialect: SqlDialect;
  readonly #table: string;

  constructor(dialect: SqlDialect, options: SqlGuardOptions = {}) {
    refuseUnknown("options of SqlGuard", options, { table: true }, LeaseInvalidOption);
    const { table = "holdfast_fences" } = options;
    if (!["postgresql", "mysql", "sqlite"].includes(dialect))
      throw new LeaseInvalidOption(
        `\`${dialect}\` is no dialect of SQL that is known here: postgresql, mysql or sqlite`,
      );
    if (!/^[A-Za-z_][A-Za-z0-9_]{0,62}(\.[A-Za-z_][A-Za-z0-9_]{0,62})?$/.test(table))
      throw new LeaseInvalidOption(`\`table\` is ${JSON.stringify(table)}; it must be a plain name, or schema.name`);
    this.#dialect = dialect;
    this.#table = table;
    // Names and holders are compared letter by letter, which is not MySQL's habit.
    const exact = dialect === "mysql" ? " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin" : "";
    this.createTable = `CREATE TABLE IF NOT EXISTS ${table} (name VARCHAR(200)${exact} NOT NULL PRIMARY KEY, epoch BIGINT NOT NULL, idx BIGINT NOT NULL, holder VARCHAR(200)${exact} NOT NULL)`;
  }

  /**
   * The first statements of a transaction under a lease. Rejects with FencedError; then roll it back. In SQLite begin it
   * with BEGIN IMMEDIATE.
   */
  async admit(run: SqlRun, name: string, claim: Claim): Promise<void> {
    const problem = claimProblem(claim);
    if (problem !== undefined) throw new LeaseInvalidOption(problem);
    if (typeof name !== "string" || name === "" || name.length > 200)
      throw new LeaseInvalidOption("the name of a fence must be a text of 1 to 200 characters");
    const [epoch, index] = claim.token;
    const { holder } = claim;
    await this.#run(run, this.#insertText(), [name, epoch, index, holder]);
    await this.#run(
      run,
      `UPDATE ${this.#table} SET epoch = ?, idx = ?, holder = ? WHERE name = ? AND (epoch < ? OR (epoch = ? AND (idx < ? OR (idx = ? AND holder = ?))))`,
      [epoch, index, holder, name, epoch, epoch, index, index, holder],
    );
    // Read back rather than counted: drivers count differently, and MySQL leaves out rows that stay as they are. With a
    // lock, so that it is the row of now and not that of a snapshot.
    const lock = this.#dialect === "sqlite" ? "" : " FOR UPDATE";
    const [row] = await this.#run(run, `SELECT epoch, idx, holder FROM ${this.#table} WHERE name = ?${lock}`, [name]);
    const newest = claimOf(row);
    if (newest === undefined)
      throw new LeaseInvalidOption(
        `the fence ${name} is not there after it was written: is \`run\` bound to one transaction?`,
      );
    const isOurs = newest.token[0] === epoch && newest.token[1] === index && newest.holder === holder;
    if (!isOurs) throw new FencedError(name, newest);
  }

  /** For resources that are not in this database: each `admit` a transaction of its own. */
  fence(run: SqlRun): Fence {
    return { admit: (name, claim) => this.admit(run, name, claim) };
  }

  #insertText(): string {
    const insert = `INTO ${this.#table} (name, epoch, idx, holder) VALUES (?, ?, ?, ?)`;
    return this.#dialect === "mysql" ? `INSERT IGNORE ${insert}` : `INSERT ${insert} ON CONFLICT (name) DO NOTHING`;
  }

  #run(run: SqlRun, text: string, values: readonly (string | number)[]) {
    let count = 0;
    return run(this.#dialect === "postgresql" ? text.replace(/\?/g, () => `$${++count}`) : text, values);
  }
}

/** Numbers come as numbers, bigints or texts, as the driver likes. */
function claimOf(row: Readonly<Record<string, unknown>> | undefined): Claim | undefined {
  const [epoch, index] = [Number(row?.epoch), Number(row?.idx)];
  if (!Number.isSafeInteger(epoch) || !Number.isSafeInteger(index) || typeof row?.holder !== "string") return undefined;
  return { token: [epoch, index], holder: row.holder };
}
