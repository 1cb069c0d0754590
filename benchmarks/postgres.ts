/**
 * The honest yardstick: PostgreSQL, one transaction per event that inserts its idempotency key and updates its row, with
 * fsync. Starts a server of its own in a folder of its own, with pgbench as the client; undefined where there is none.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export type PostgresFigures = { readonly callers: number; readonly perSecond: number; readonly meanMs: number };

export function benchPostgres(callers: readonly number[], seconds: number): PostgresFigures[] | undefined {
  if (["initdb", "pg_ctl", "pgbench", "psql"].some((program) => spawnSync(program, ["--version"]).status !== 0))
    return undefined;
  const folder = mkdtempSync(join(tmpdir(), "holdfast-postgres-"));
  const user = owner();
  if (user !== undefined) chownSync(folder, user.uid, user.gid);
  chmodSync(folder, 0o755);
  const as = user === undefined ? {} : { uid: user.uid, gid: user.gid };
  const run = (program: string, ...args: string[]) =>
    execFileSync(program, args, { ...as, cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  const data = join(folder, "data");
  let started = false;
  try {
    run("initdb", "-D", data, "-A", "trust", "-U", "bench", "-E", "UTF8");
    const options = `-c listen_addresses='' -c unix_socket_directories='${folder}' -c max_connections=300`;
    run("pg_ctl", "-D", data, "-l", join(folder, "log"), "-w", "-o", options, "start");
    started = true;
    const at = ["-h", folder, "-U", "bench"];
    run(
      "psql",
      ...at,
      "-q",
      "-c",
      "create table actor (id int primary key, state jsonb, seq int); create table done (actor int, key bigint, primary key (actor, key)); insert into actor select n, '{}', 0 from generate_series(1, 256) n",
      "postgres",
    );
    const script = join(folder, "event.sql");
    const state = `{"state":"paid","note":"${"x".repeat(300)}"}`;
    writeFileSync(
      script,
      `\\set key random(1, 9000000000000000000)\nbegin;\ninsert into done values (:client_id + 1, :key);\nupdate actor set state = '${state}', seq = seq + 1 where id = :client_id + 1;\ncommit;\n`,
    );
    return callers.map((count) => {
      const threads = String(Math.min(2, count));
      const said = run(
        "pgbench",
        ...at,
        ...["-n", "-M", "prepared", "-f", script, "-c", String(count), "-j", threads, "-T", String(seconds)],
        "postgres",
      );
      return {
        callers: count,
        perSecond: Number(/^tps = ([\d.]+)/m.exec(said)?.[1]),
        meanMs: Number(/^latency average = ([\d.]+)/m.exec(said)?.[1]),
      };
    });
  } finally {
    if (started) run("pg_ctl", "-D", data, "-m", "immediate", "stop");
    rmSync(folder, { recursive: true, force: true });
  }
}

/** PostgreSQL refuses to run as root: then as the user that its package made, or as nobody. */
function owner(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  for (const name of ["postgres", "nobody"]) {
    const [uid, gid] = ["-u", "-g"].map((which) => Number(spawnSync("id", [which, name], { encoding: "utf8" }).stdout));
    if (uid !== undefined && gid !== undefined && uid > 0) return { uid, gid };
  }
  return undefined;
}
