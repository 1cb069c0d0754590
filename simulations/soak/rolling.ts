/**
 * A rolling restart under load: every host is stopped in good order and started again, one after the other, while callers
 * send at a steady pace with a deadline of five seconds, and jobs run every second. What callers see is the figure: errors,
 * and how long an event took; and of the jobs, that no slot is missed.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { jetstream } from "../../runtime/adapters/jetstream/index.ts";
import { connect } from "../../runtime/index.ts";
import { soakActors, soakBucket, soakFleet } from "./actors.ts";
import { Fleet } from "./fleet.ts";
import type { FromHost, HostedJob } from "./jobs.ts";
import { startRecorder } from "./recorder.ts";

export type RollingOptions = {
  readonly hosts: number;
  readonly eventsPerSecond: number;
  /** How often every host is restarted. */
  readonly rounds: number;
  readonly folder: string;
  readonly say: (line: string) => void;
};

export type Latencies = { readonly p50Ms: number; readonly p99Ms: number; readonly maxMs: number };

export type RollingResult = {
  readonly sent: number;
  readonly restarts: number;
  readonly seconds: number;
  /** What callers saw, by error code; empty in a good run. */
  readonly errors: Readonly<Record<string, number>>;
  readonly calm: Latencies;
  /** From the stop of the first host to the return of the last. */
  readonly restarting: Latencies;
  readonly jobs: {
    readonly slots: number;
    /** How late their handlers began. */
    readonly calm: Latencies;
    readonly restarting: Latencies;
  };
  /** What is stored differs from what was acknowledged. */
  readonly differences: readonly string[];
};

const actors = 100;
const jobs = 20;
const deadlineMs = 5_000;
const calmMs = 5_000;

export async function rollingRestart(options: RollingOptions): Promise<RollingResult> {
  const { say, eventsPerSecond } = options;
  const recorder = await startRecorder();
  let isCalm = true;
  const late = { calm: [] as number[], restarting: [] as number[] };
  let heard: (jobs: readonly HostedJob[]) => void = () => {};
  const fleet = await Fleet.start({
    ...soakFleet(options.hosts, recorder.port, options.folder, jobs),
    onMessage: (message) => {
      const told = message as FromHost;
      if (told.kind === "ran") (isCalm ? late.calm : late.restarting).push(told.lateMs);
      if (told.kind === "jobs") heard(told.jobs);
    },
  });
  const quiet = { debug() {}, info() {}, warn() {}, error() {} };
  const client = await connect({
    actors: soakActors(() => Promise.reject(new Error("nothing is done here"))),
    store: jetstream({ servers: fleet.urls, bucket: soakBucket }),
    logger: quiet,
  });
  const handles = Array.from({ length: actors }, (_, index) => client.actor("account", `a${index}`));
  const acknowledged = new Array<number>(actors).fill(0);
  const errors: Record<string, number> = {};
  const waits = { calm: [] as number[], restarting: [] as number[] };
  const underWay = new Set<Promise<void>>();
  const last = handles.map(() => Promise.resolve());
  let sent = 0;

  /** One caller per actor, whose events follow each other; the pace does not wait for them. */
  function send(): void {
    const index = sent % actors;
    const n = Math.floor(sent / actors) + 1;
    sent++;
    const isInCalm = isCalm;
    const dueMs = performance.now();
    const one = (last[index] as Promise<void>).then(async () => {
      try {
        await handles[index]?.send({ type: "ADD", client: "c", n }, { key: `c-${index}-${n}`, timeoutMs: deadlineMs });
        acknowledged[index] = (acknowledged[index] as number) + 1;
        (isInCalm ? waits.calm : waits.restarting).push(performance.now() - dueMs);
      } catch (error) {
        const code = (error as { code?: string }).code ?? String(error);
        errors[code] = (errors[code] ?? 0) + 1;
      }
    });
    last[index] = one;
    underWay.add(one);
    void one.finally(() => underWay.delete(one));
  }

  try {
    await Promise.all(handles.map((handle) => handle.create({ id: handle.id }, { key: `new-${handle.id}` })));
    const startedMs = performance.now();
    let isOver = false;
    const pacing = (async () => {
      for (let planned = 0; !isOver; ) {
        const due = ((performance.now() - startedMs) / 1_000) * eventsPerSecond;
        for (; planned < due; planned++) send();
        await sleep(5);
      }
    })();
    await sleep(calmMs);
    isCalm = false;
    let restarts = 0;
    for (let round = 0; round < options.rounds; round++) {
      for (let host = 0; host < options.hosts; host++) {
        const before = performance.now();
        await fleet.begin("restart host", host, 0);
        restarts++;
        say(
          `host ${host + 1} is back after ${((performance.now() - before) / 1_000).toFixed(1)} s; ${sent} events sent`,
        );
        await sleep(2_000);
      }
    }
    isOver = true;
    await pacing;
    await Promise.all(underWay);
    const seconds = (performance.now() - startedMs) / 1_000;
    const differences: string[] = [];
    for (const [index, handle] of handles.entries()) {
      const { count = 0, disorder = 0 } = (await handle.state())?.context ?? {};
      if (count !== acknowledged[index] && Object.keys(errors).length === 0)
        differences.push(`${handle.id} counted ${count}, acknowledged were ${acknowledged[index]}`);
      if (disorder > 0) differences.push(`${handle.id} saw ${disorder} events out of order`);
    }
    const told = await new Promise<readonly HostedJob[]>((resolve) => {
      heard = resolve;
      fleet.tell(0, { kind: "tell" });
    });
    differences.push(...missedBy(told, Date.now()));
    return {
      sent,
      restarts,
      seconds,
      errors,
      calm: latencies(waits.calm),
      restarting: latencies(waits.restarting),
      jobs: {
        slots: told.reduce((sum, { begun }) => sum + begun, 0),
        calm: latencies(late.calm),
        restarting: latencies(late.restarting),
      },
      differences,
    };
  } finally {
    await client.close().catch(() => {}); // what matters was said before
    await fleet.stop();
    await recorder.stop();
  }
}

/** How long a slot may have been due, and not be dealt with, when the jobs are asked. */
const behindMs = 5_000;

/** Every slot from a job's first was begun, in order and in full: nothing was left out, and nothing failed. */
function missedBy(told: readonly HostedJob[], nowMs: number): readonly string[] {
  return told.flatMap(({ name, first, next, begun, open, leftOut, failed }) => {
    if (first === null || next === null) return [`${name} is over`];
    const due = (next - first) / 1_000;
    const differences: string[] = [];
    const left = Object.entries(leftOut).filter(([, count]) => count > 0);
    if (left.length > 0) differences.push(`${name} left slots out: ${JSON.stringify(Object.fromEntries(left))}`);
    // What waits has not begun.
    if (begun > due || begun + open < due) differences.push(`${name} began ${begun} of ${due} slots, ${open} are open`);
    if (failed > 0) differences.push(`${name} failed ${failed} times`);
    if (next < nowMs - behindMs) differences.push(`${name} stands still, ${nowMs - next} ms behind`);
    return differences;
  });
}

function latencies(waits: number[]): Latencies {
  waits.sort((a, b) => a - b);
  const at = (share: number) => waits[Math.min(waits.length - 1, Math.floor(waits.length * share))] ?? 0;
  return { p50Ms: at(0.5), p99Ms: at(0.99), maxMs: waits.at(-1) ?? 0 };
}
