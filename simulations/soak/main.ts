/**
 * `npm run soak [-- SUBJECT]`: real processes and servers under load; exit 0 when the books are right. `troubles`, the default,
 * kills, freezes and cuts (`--events 100000 --minutes 10 --seed 1`); `rolling` restarts every host in turn (`--hosts 3
 * --rate 500 --rounds 1`); `schedule` runs jobs every second on five hosts, with Redis, through one trouble after the other
 * (`--seconds 120`, `--only NATS` for the one with that word in its name; with `--leases raft` each host is a member of our
 * Raft, whose leader is killed too); `raft` kills and stops the leader of three members of our Raft (`--rounds 100`).
 * `--json` prints the result as one object.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { findNatsServers, howToGetOne } from "../../runtime/testing/nats-server.ts";
import type { Gap } from "./raft-gaps.ts";
import { raftSoak } from "./raft-soak.ts";
import { type Latencies, rollingRestart } from "./rolling.ts";
import { soakSchedules } from "./scheduling.ts";
import { soak } from "./soak.ts";

const { values, positionals } = parseArgs({
  options: {
    events: { type: "string", default: "100000" },
    minutes: { type: "string", default: "10" },
    seed: { type: "string", default: "1" },
    hosts: { type: "string" },
    seconds: { type: "string", default: "120" },
    only: { type: "string" },
    rate: { type: "string", default: "500" },
    rounds: { type: "string" },
    leases: { type: "string", default: "kv" },
    json: { type: "boolean", default: false },
  },
  allowPositionals: true,
});
const say = (line: string) => (values.json ? process.stderr : process.stdout).write(`${line}\n`);
const [name = "troubles"] = positionals;
if (name !== "raft" && findNatsServers().length === 0) {
  say(howToGetOne);
  process.exit(1);
}
const folder = mkdtempSync(join(tmpdir(), "holdfast-soak-"));
const subjects: Readonly<Record<string, () => Promise<boolean>>> = { troubles, rolling, schedule, raft };
const subject = subjects[name];
if (subject === undefined) {
  say(`there is no soak ${name}: choose ${Object.keys(subjects).join(", ")}`);
  process.exit(2);
}
const isRight = await subject();
if (isRight) rmSync(folder, { recursive: true, force: true });
else say(`the hosts' logs are in ${folder}`);
process.exit(isRight ? 0 : 1);

function list(counts: Readonly<Record<string, number>>): string {
  const each = Object.entries(counts).map(([what, count]) => `${what} ${count}`);
  return each.length === 0 ? "none" : each.join(", ");
}

function tell(result: { readonly differences: readonly string[] }): boolean {
  for (const difference of result.differences.slice(0, 50)) say(`different: ${difference}`);
  if (values.json) process.stdout.write(`${JSON.stringify(result)}\n`);
  return result.differences.length === 0;
}

async function troubles(): Promise<boolean> {
  const result = await soak({
    events: Number(values.events),
    deadlineMs: Number(values.minutes) * 60_000,
    seed: Number(values.seed),
    folder,
    say,
  });
  const { effects } = result;
  say("");
  say(`seed       ${values.seed}`);
  say(`troubles   ${list(result.troubles)}`);
  say(`outcomes   acknowledged ${result.acknowledged}; repeated under the same key after: ${list(result.outcomes)}`);
  say(
    `effects    ${effects.accepted} accepted, ${effects.repeated} of them again under their key, ${effects.fenced} refused for a lower token`,
  );
  say(
    `speed      ${result.seconds.toFixed(0)} s, ${result.perSecond.toFixed(0)} events/s, longest wait ${(result.slowestMs / 1_000).toFixed(1)} s`,
  );
  const isRight = tell(result);
  say(`acknowledged ${result.acknowledged} · lost ${result.lost} · doubled ${result.doubled}`);
  return isRight;
}

async function rolling(): Promise<boolean> {
  const [hosts, eventsPerSecond, rounds] = [Number(values.hosts ?? 3), Number(values.rate), Number(values.rounds ?? 1)];
  say(`${hosts} hosts, three NATS servers, ${eventsPerSecond} events/s with a deadline of 5 s`);
  const result = await rollingRestart({ hosts, eventsPerSecond, rounds, folder, say });
  const row = ({ p50Ms, p99Ms, maxMs }: Latencies) =>
    `p50 ${p50Ms.toFixed(1)} ms, p99 ${p99Ms.toFixed(1)} ms, max ${maxMs.toFixed(0)} ms`;
  say("");
  say(`calm        ${row(result.calm)}`);
  say(`restarting  ${row(result.restarting)}   (aim: p99 500 ms)`);
  say(
    `jobs        ${row(result.jobs.calm)} late; restarting ${row(result.jobs.restarting)}; ${result.jobs.slots} slots`,
  );
  const isRight = tell(result);
  say(
    `sent ${result.sent} in ${result.seconds.toFixed(0)} s · restarts ${result.restarts} · errors seen by callers: ${list(result.errors)}`,
  );
  return isRight && Object.keys(result.errors).length === 0;
}

async function schedule(): Promise<boolean> {
  const { leases } = values;
  if (leases !== "kv" && leases !== "raft") {
    say(`leases are kept in kv or raft, not in ${leases}`);
    return false;
  }
  const result = await soakSchedules({
    leases,
    seconds: Number(values.seconds),
    hosts: Number(values.hosts ?? 5),
    only: values.only,
    folder,
    say,
  });
  say("");
  say("lateness of handlers, from the moment when they were due (ms)".padEnd(42));
  const row = (name: string, cells: readonly string[]) =>
    say(`  ${name.padEnd(38)}${cells.map((cell) => cell.padStart(8)).join("")}`);
  row("", ["runs", "p50", "p99", "p99.9", "max", "waited", "terms"]);
  for (const { window, runs, p50Ms, p99Ms, p999Ms, maxMs } of result.lateness)
    row(
      window,
      [runs, p50Ms, p99Ms, p999Ms, maxMs, result.queuedMs[window] ?? 0, result.terms[window] ?? 0].map(String),
    );
  for (const { window, longestMs } of result.leaderless)
    for (const [bucket, ms] of Object.entries(longestMs))
      if (ms >= 500) say(`  ${window}: the stream of ${bucket} had no leader for ${ms} ms of it`);
  say(`waited: the longest that a host stood still for want of a processor; terms: elections; ${loadNow()}`);
  say("");
  say(`left out by policy, and counted: ${list(result.leftOut)}`);
  say(`runs again under their tickId: ${result.repeated}; writes refused by the fence: ${result.fenced}`);
  const isRight = tell(result);
  const { due, done, lost, doubled, early } = result;
  say(`due ${due} · done ${done} · lost ${lost} · doubled ${doubled} · early ${early}`);
  return isRight;
}

async function raft(): Promise<boolean> {
  const rounds = Number(values.rounds ?? 100);
  say(`three members of our Raft, ${rounds} rounds: their leader is killed, or stopped, while it holds a lease`);
  const result = await raftSoak({ rounds, folder, say });
  const { gaps, boundMs } = result;
  const within = gaps.filter(({ gapMs }) => gapMs <= boundMs);
  say("");
  say(`troubles   kill -9 ${result.kills}, SIGSTOP ${result.stops}, in ${result.seconds.toFixed(0)} s`);
  const line = (name: string, cells: readonly string[]) =>
    say(`${name.padEnd(44)}${cells.map((cell) => cell.padStart(8)).join("")}`);
  line("gaps (ms)", ["p50", "p90", "p99", "max"]);
  const row = (name: string, of: (gap: Gap) => number) => {
    const sorted = gaps.map(of).sort((a, b) => a - b);
    const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
    line(
      `  ${name}`,
      [0.5, 0.9, 0.99, 1].map((share) => at(share).toFixed(0)),
    );
  };
  row("from the leader's end to the next grant", ({ gapMs }) => gapMs);
  row("  until another led", ({ leaderlessMs }) => leaderlessMs);
  row("  the rest of the time to live", ({ restOfTtlMs }) => restOfTtlMs);
  row("  until it was granted", ({ grantingMs }) => grantingMs);
  row("a process stood still meanwhile", ({ stalledMs }) => stalledMs);
  row("  of that, it waited for a processor", ({ queuedMs }) => queuedMs ?? Number.NaN);
  const late = gaps.slice(within.length);
  const excused = late.filter(({ gapMs, queuedMs = 0 }) => gapMs - queuedMs <= boundMs);
  say(
    `${within.length} of ${gaps.length} within ${boundMs} ms; of the others, ${excused.length} but for processes that waited ` +
      `for a processor; ${loadNow()}`,
  );
  for (const gap of late) say(`late       ${describeGap(gap)}`);
  const isRight = tell(result);
  say(
    `grants ${result.grants} · looked for after a leader was gone ${result.kept} · lost or out of order ${result.differences.length}`,
  );
  return isRight;
}

function loadNow(): string {
  return `load ${loadavg()[0]?.toFixed(1)} on ${cpus().length} processors`;
}

function describeGap(gap: Gap): string {
  const [gapMs, leaderlessMs, restOfTtlMs, grantingMs, stalledMs] = [
    gap.gapMs,
    gap.leaderlessMs,
    gap.restOfTtlMs,
    gap.grantingMs,
    gap.stalledMs,
  ].map((ms) => ms.toFixed(0));
  const stood = `a process stood still for ${stalledMs} ms, ${gap.queuedMs?.toFixed(0) ?? "?"} of them without a processor`;
  return (
    `round ${gap.round} (${gap.trouble}): ${gapMs} ms = ${leaderlessMs} without a leader (${gap.terms} terms) + ` +
    `${restOfTtlMs} of its time to live + ${grantingMs} to be granted; ${stood}`
  );
}
