/**
 * `npm run bench`: every figure that we claim, beside the raw substrate, in one run. `-- --json` prints one JSON object,
 * `-- --quick` shortens every loop. Machines differ and are shared: compare ratios, not absolutes.
 */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { findNatsServers, howToGetOne } from "../runtime/testing/nats-server.ts";
import { benchCoordinator, type GrantRow } from "./coordinator.ts";
import { benchEmbedded, type EmbeddedFigures } from "./embedded.ts";
import { benchJetStream, type JetStreamRow } from "./jetstream.ts";
import { benchMemory } from "./memory.ts";
import { benchPostgres } from "./postgres.ts";
import { benchBullMq, benchSchedule, benchScheduleOnJetStream, type LatenessRow } from "./schedule.ts";
import { benchSimulator } from "./simulator.ts";

import { benchRecovery, benchStart } from "./start.ts";
import { benchStep } from "./step.ts";
import { benchTakeover } from "./takeover.ts";
import { benchTelemetry } from "./telemetry.ts";

const { values, positionals } = parseArgs({
  options: { json: { type: "boolean" }, quick: { type: "boolean" } },
  allowPositionals: true,
});
const subjects = positionals.length > 0 ? positionals : ["embedded", "jetstream"];
for (const subject of subjects)
  if (!["embedded", "jetstream", "simulator", "schedule", "coordinator"].includes(subject))
    throw new Error(`no bench ${subject}: embedded, jetstream, simulator, schedule or coordinator`);
const quick = values.quick ?? false;
const say = (line: string) => (values.json ? process.stderr : process.stdout).write(`${line}\n`);

say(`node ${process.version}, ${cpuName()}; medians of ${quick ? 1 : 3} rounds, ours and the raw substrate by turns\n`);

const results: Record<string, unknown> = { node: process.version };
if (subjects.includes("embedded")) await onOneMachine();
if (subjects.includes("jetstream")) await onJetStream();
if (subjects.includes("simulator")) await inTheSimulator();
if (subjects.includes("schedule")) await onASchedule();
if (subjects.includes("coordinator")) await onLeases();
if (values.json) process.stdout.write(`${JSON.stringify(results)}\n`);

async function onOneMachine(): Promise<void> {
  say("durable events/s on the embedded store, no effects; raw: flushed lmdb puts of the same bytes");
  say(
    `${"callers".padStart(8)}${"events/s".padStart(11)}${"p50 ms".padStart(9)}${"p99 ms".padStart(9)}${"raw/s".padStart(11)}${"raw p50".padStart(9)}${"raw p99".padStart(9)}${"ratio".padStart(8)}${"B/event".padStart(10)}${"raw B/put".padStart(11)}`,
  );
  const embedded: EmbeddedFigures[] = [];
  for (const callers of [1, 64, 256]) {
    const row = await benchEmbedded(callers, quick ? 1 : 3, quick ? 500 : 2_000);
    embedded.push(row);
    const { holdfast, raw } = row;
    say(
      `${String(callers).padStart(8)}${count(holdfast.perSecond).padStart(11)}${ms(holdfast.p50Ms).padStart(9)}${ms(holdfast.p99Ms).padStart(9)}` +
        `${count(raw.perSecond).padStart(11)}${ms(raw.p50Ms).padStart(9)}${ms(raw.p99Ms).padStart(9)}${row.ratio.toFixed(2).padStart(8)}${bytes(row.bytesPerEvent).padStart(10)}${bytes(row.rawBytesPerPut).padStart(11)}`,
    );
  }
  say("aim: 0.5 of raw or better at 64 callers\n");

  const stepped = benchStep(quick ? 3 : 9, quick ? 10_000 : 40_000);
  say(
    `step, event to document text   ${stepped.stepUs.toFixed(1)} us; live XState send ${stepped.liveUs.toFixed(1)} us; ratio ${stepped.ratio.toFixed(2)} (aim: 2.5)`,
  );

  const telemetry = await benchTelemetry(quick ? 3 : 7);
  say(
    `telemetry without an SDK       ${telemetry.withUs.toFixed(1)} us an event in memory, ${telemetry.withoutUs.toFixed(1)} us with none; ratio ${telemetry.ratio.toFixed(2)}`,
  );

  const memoryFigures = await benchMemory(quick ? 1_000 : 5_000);
  say(
    `memory per hot actor           ${count(memoryFigures.hotBytes)} B, live XState actor ${count(memoryFigures.liveBytes)} B: ` +
      `${count(memoryFigures.beyondBytes)} B beyond it (aim: 4,096); idle actors in memory: ${memoryFigures.idleActorsInMemory}`,
  );

  const start = await benchStart(quick ? 3 : 7);
  say(`process start to first event   ${start.firstEventMs} ms (aim: 400)`);

  const idle = quick ? 5_000 : 100_000;
  const recovery = await benchRecovery(idle, quick ? 100 : 1_000, (made) => {
    if (process.stderr.isTTY) process.stderr.write(`\rcreating actors ${count(made)}   `);
  });
  if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
  say(
    `recovery                       ${count(recovery.pending)} pending among ${count(recovery.idle)} idle: ${recovery.recoveredMs.toFixed(0)} ms ` +
      `from opening the store (aim: 1,000), ${recovery.openMs.toFixed(0)} ms of it to be ready`,
  );
  Object.assign(results, { embedded, step: stepped, telemetry, memory: memoryFigures, start, recovery });
}

async function onASchedule(): Promise<void> {
  say("jobs that run every second, one node: from the slot to the first line of the handler");
  say(
    `${"".padEnd(26)}${"jobs".padStart(6)}${"runs/s".padStart(9)}${"not run".padStart(9)}${"p50 ms".padStart(9)}${"p99 ms".padStart(9)}${"max ms".padStart(9)}`,
  );
  const seconds = quick ? 5 : 20;
  const rows: LatenessRow[] = [];
  const add = (row: LatenessRow | undefined, otherwise = "") => {
    if (row === undefined) {
      say(otherwise);
      return;
    }
    rows.push(row);
    const { what, jobs, perSecond, missed, p50Ms, p99Ms, maxMs } = row;
    say(
      `${what.padEnd(26)}${count(jobs).padStart(6)}${count(perSecond).padStart(9)}${count(missed).padStart(9)}${ms(p50Ms).padStart(9)}${ms(p99Ms).padStart(9)}${ms(maxMs).padStart(9)}`,
    );
  };
  for (const jobs of [100, 1_000, 5_000]) {
    add(await benchSchedule(jobs, 1_000, seconds));
    add(await benchSchedule(jobs, 0, seconds));
    if (jobs <= 1_000) add(await benchScheduleOnJetStream(jobs, seconds), `JetStream: not measured: ${howToGetOne}`);
    add(await benchBullMq(jobs, seconds), "BullMQ: not measured: no redis-server on PATH");
  }
  say("aims at 1,000 jobs, spread over the second: p99 of 20 ms embedded, 50 ms on JetStream");
  Object.assign(results, { schedule: rows });
}

async function onLeases(): Promise<void> {
  say("leases granted per second, each of a free key; ours flushed on two of three members before the answer");
  say(
    `${"".padEnd(32)}${"in flight".padStart(10)}${"grants/s".padStart(11)}${"p50 ms".padStart(9)}${"p99 ms".padStart(9)}`,
  );
  const row = ({ what, callers, figures }: GrantRow) =>
    say(
      `${what.padEnd(32)}${String(callers).padStart(10)}${count(figures.perSecond).padStart(11)}${ms(figures.p50Ms).padStart(9)}${ms(figures.p99Ms).padStart(9)}`,
    );
  const coordinator = await benchCoordinator({ rounds: quick ? 1 : 3, roundMs: quick ? 500 : 2_000, row });
  const { leases, sessions, cpu, bytesPerSecond } = coordinator.rest;
  say(
    `at rest: ${count(leases)} leases of ${sessions} sessions cost ${(cpu * 100).toFixed(1)} % of a core and ${bytes(bytesPerSecond)} bytes/s, three members together`,
  );
  say("aim: 10,000 flushed grants/s at 64 in flight, p99 under 10 ms");
  Object.assign(results, { coordinator });
}

async function onJetStream(): Promise<void> {
  if (findNatsServers().length === 0) {
    say(`\nJetStream: not measured: ${howToGetOne}`);
    return;
  }
  say(
    "\ndurable events/s on JetStream; beside them js.publish and the bare path with the same bytes, compare-and-set too",
  );
  say(
    `${"".padEnd(30)}${"callers".padStart(8)}${"events/s".padStart(11)}${"p50 ms".padStart(9)}${"p99 ms".padStart(9)}${"js.publish".padStart(12)}${"p99".padStart(8)}${"ratio".padStart(7)}${"bare/s".padStart(10)}${"ratio".padStart(7)}`,
  );
  const row = ({ what, callers, figures, library, bare }: JetStreamRow) =>
    say(
      `${what.padEnd(30)}${String(callers).padStart(8)}${count(figures.perSecond).padStart(11)}${ms(figures.p50Ms).padStart(9)}${ms(figures.p99Ms).padStart(9)}` +
        (library === undefined || bare === undefined
          ? ""
          : `${count(library.perSecond).padStart(12)}${ms(library.p99Ms).padStart(8)}${(figures.perSecond / library.perSecond).toFixed(2).padStart(7)}` +
            `${count(bare.perSecond).padStart(10)}${(figures.perSecond / bare.perSecond).toFixed(2).padStart(7)}`),
    );
  const jetstream = await benchJetStream({ rounds: quick ? 1 : 3, roundMs: quick ? 500 : 2_000, row });
  say("aims at 256 callers, one server: 1.2 of js.publish, 0.35 of the bare path; over the bus half of in process");
  const postgres = benchPostgres([1, 64, 256], quick ? 2 : 5);
  if (postgres === undefined) say("PostgreSQL: not measured: no server on PATH");
  for (const { callers, perSecond, meanMs } of postgres ?? [])
    say(
      `${"PostgreSQL, fsync, one each".padEnd(30)}${String(callers).padStart(8)}${count(perSecond).padStart(11)}   mean ${ms(meanMs)} ms`,
    );
  const takeover = await benchTakeover(quick ? 200 : 1_000);
  say(
    `takeover of one partition      ${count(takeover.pending)} actors with work under way: ${takeover.takenMs.toFixed(0)} ms from the new owner's token to the last ` +
      `result (aim: 1,000), after ${takeover.leaseMs.toFixed(0)} ms for the lease to end`,
  );
  Object.assign(results, { jetstream, takeover, ...(postgres && { postgres }) });
}

async function inTheSimulator(): Promise<void> {
  const simulator = await benchSimulator(quick ? 1 : 3);
  const { bareEventsPerSecond, eventsPerSecond, restVirtualSecondsPerSecond } = simulator;
  say(`\nsimulator, world alone          ${count(bareEventsPerSecond)} events per CPU second`);
  say(`simulator, three real hosts    ${count(eventsPerSecond)} events per CPU second (aim: 50,000)`);
  say(`three nodes, 100 actors at rest ${count(restVirtualSecondsPerSecond)} virtual s per CPU second (aim: 300)`);
  Object.assign(results, { simulator });
}

function count(value: number): string {
  return Math.round(value).toLocaleString("en");
}

function bytes(value: number | undefined): string {
  return value === undefined ? "-" : count(value);
}

function ms(value: number): string {
  return value.toFixed(2);
}

function cpuName(): string {
  try {
    const info = readFileSync("/proc/cpuinfo", "utf8");
    return `${info.match(/^processor/gm)?.length} cores of ${/model name\s*: (.*)/.exec(info)?.[1]}`;
  } catch {
    return process.arch;
  }
}
