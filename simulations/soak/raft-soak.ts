/**
 * Three members of our Raft as processes on this machine, under load: the leader is killed or stopped by turns, while the
 * others try to take what it held. Judged: tokens grow over all members, no grant is forgotten, and how long nobody held.
 */
import { type ChildProcess, fork } from "node:child_process";
import { createWriteStream } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePorts } from "../../runtime/testing/server-process.ts";
import { type Gap, gapOf, type RaftRound, type Sight } from "./raft-gaps.ts";
import { monotonicNs } from "./stalls.ts";

/** Times are of the machine's monotonic clock. */
export type Granted = {
  readonly key: string;
  readonly index: number;
  readonly session: string;
  readonly member: number;
  readonly askedNs: number;
  readonly atNs: number;
};
export type ParentMessage = { readonly kind: "want" | "drop"; readonly key: string } | { readonly kind: "status" };
export type HostMessage =
  | { readonly kind: "ready" }
  | { readonly kind: "granted"; readonly granted: readonly Granted[] }
  | { readonly kind: "saw"; readonly sights: readonly Sight[] }
  | { readonly kind: "status"; readonly role: string; readonly holds: readonly Granted[] };

export type RaftSoakOptions = {
  readonly rounds: number;
  readonly folder: string;
  readonly say: (line: string) => void;
};

export type RaftSoakResult = {
  readonly rounds: number;
  readonly kills: number;
  readonly stops: number;
  readonly grants: number;
  /** Grants of another member that were looked for after a leader's end, and were there. */
  readonly kept: number;
  readonly seconds: number;
  /** From the kill or the stop to the next grant of what the leader held, shortest first. */
  readonly gaps: readonly Gap[];
  readonly boundMs: number;
  readonly differences: readonly string[];
};

export const ttlMs = 1_500;
/** Twenty ticks of 50 ms at most. */
const electionMs = 1_000;
const patienceMs = 30_000;

export async function raftSoak({ rounds, folder, say }: RaftSoakOptions): Promise<RaftSoakResult> {
  const fleet = new Members(folder, await freePorts(3));
  const startedMs = performance.now();
  const gone: RaftRound[] = [];
  const done = { kills: 0, stops: 0 };
  try {
    await Promise.all([0, 1, 2].map((place) => fleet.start(place)));
    for (let round = 1; round <= rounds; round++) {
      const leader = await fleet.leader();
      const key = `round-${round}`;
      await fleet.hold(leader, key);
      const others = [0, 1, 2].filter((place) => place !== leader);
      const kept = await fleet.hold(others[0]!, `kept-${round}`);
      for (const other of others) fleet.tell(other, { kind: "want", key });
      await sleep(100);
      const isKill = round % 2 === 1;
      const trouble = isKill ? "SIGKILL" : "SIGSTOP";
      const goneNs = monotonicNs();
      fleet.signal(leader, trouble);
      const { atNs: nextNs } = await fleet.granted(key, (one) => one.member !== leader + 1);
      gone.push({ round, trouble, leader: leader + 1, key, goneNs, nextNs });
      await fleet.mustHold(others[0]!, kept);
      if (isKill) {
        done.kills++;
        await fleet.start(leader);
      } else {
        done.stops++;
        fleet.signal(leader, "SIGCONT");
      }
      for (const place of [0, 1, 2]) for (const each of [key, kept.key]) fleet.tell(place, { kind: "drop", key: each });
      if (round % 10 === 0)
        say(`round ${round}: ${fleet.grants} grants so far, the last gap ${((nextNs - goneNs) / 1e6).toFixed(0)} ms`);
    }
    const { differences, kept, grants } = fleet;
    const gaps = gone.map((one) => gapOf(one, fleet.sights)).sort((a, b) => a.gapMs - b.gapMs);
    const seconds = (performance.now() - startedMs) / 1_000;
    return { rounds, ...done, grants, kept, seconds, gaps, boundMs: ttlMs + electionMs, differences };
  } finally {
    await fleet.stop();
  }
}

class Members {
  grants = 0;
  /** How often a grant was found to have outlived a leader. */
  kept = 0;
  readonly differences: string[] = [];
  readonly sights: Sight[] = [];
  readonly #folder: string;
  readonly #ports: readonly number[];
  readonly #children: (ChildProcess | undefined)[] = [undefined, undefined, undefined];
  /** By key, the grant with the highest index; by key and index, the session. */
  readonly #newest = new Map<string, Granted>();
  readonly #held = new Map<string, string>();
  readonly #listeners = new Set<(granted: Granted) => void>();

  constructor(folder: string, ports: readonly number[]) {
    this.#folder = folder;
    this.#ports = ports;
  }

  async start(place: number): Promise<void> {
    const name = `member-${place + 1}`;
    const child = fork(
      new URL("./raft-host.js", import.meta.url),
      [String(place + 1), this.#ports.join(","), join(this.#folder, name), String(ttlMs)],
      { stdio: ["ignore", "ignore", "pipe", "ipc"] },
    );
    child.stderr?.pipe(createWriteStream(join(this.#folder, `${name}.log`), { flags: "a" }));
    this.#children[place] = child;
    child.on("message", (message: HostMessage) => {
      if (message.kind === "granted") for (const one of message.granted) this.#take(one);
      if (message.kind === "saw") this.sights.push(...message.sights);
    });
    await new Promise<void>((resolve, reject) => {
      child.once("message", () => resolve());
      child.once("exit", (code, signal) => reject(new Error(`${name} ended at its start: ${signal ?? code}`)));
    });
    child.removeAllListeners("exit");
  }

  tell(place: number, message: ParentMessage): void {
    const child = this.#children[place];
    if (child?.connected === true) child.send(message);
  }

  signal(place: number, signal: "SIGKILL" | "SIGSTOP" | "SIGCONT"): void {
    this.#children[place]?.kill(signal);
  }

  async leader(): Promise<number> {
    for (const untilMs = performance.now() + patienceMs; performance.now() < untilMs; await sleep(50))
      for (const place of [0, 1, 2]) if ((await this.#status(place))?.role === "leader") return place;
    throw new Error(`no leader within ${patienceMs} ms`);
  }

  /** The next grant of this key that is one of these. */
  granted(key: string, isIt: (one: Granted) => boolean): Promise<Granted> {
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => finish(new Error(`nobody was granted ${key} within ${patienceMs} ms`)), patienceMs);
      const listener = (one: Granted): void => {
        if (one.key === key && isIt(one)) finish(one);
      };
      const finish = (one: Granted | Error): void => {
        clearTimeout(late);
        this.#listeners.delete(listener);
        if (one instanceof Error) reject(one);
        else resolve(one);
      };
      this.#listeners.add(listener);
    });
  }

  /** Tells a member to hold a key; resolves with the grant. */
  hold(place: number, key: string): Promise<Granted> {
    const granted = this.granted(key, ({ member }) => member === place + 1);
    this.tell(place, { kind: "want", key });
    return granted;
  }

  /** Whoever still has the session under which he was granted a key must hold it still. */
  async mustHold(place: number, { key, session, index }: Granted): Promise<void> {
    const held = (await this.#status(place))?.holds.find((one) => one.key === key && one.session === session);
    if (held === undefined) return;
    this.kept++;
    if (held.index !== index) this.differences.push(`${key} was granted at ${index}, and is held at ${held.index}`);
  }

  async stop(): Promise<void> {
    for (const child of this.#children) {
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) continue;
      const gone = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGKILL");
      await gone;
    }
  }

  /** Whoever asked after another was told has the higher index; no index twice. */
  #take(one: Granted): void {
    this.grants++;
    const { key, index, session } = one;
    const before = this.#newest.get(key);
    if (before !== undefined && one.askedNs > before.atNs && index <= before.index && session !== before.session)
      this.differences.push(`${key}: ${index} for ${session}, after ${before.index} for ${before.session}`);
    const name = `${key}@${index}`;
    const holder = this.#held.get(name) ?? session;
    this.#held.set(name, holder);
    if (holder !== session) this.differences.push(`${name} was granted to ${holder} and to ${session}`);
    if (before === undefined || index > before.index) this.#newest.set(key, one);
    for (const listener of [...this.#listeners]) listener(one);
  }

  #status(place: number): Promise<Extract<HostMessage, { kind: "status" }> | undefined> {
    const child = this.#children[place];
    if (child === undefined || child.connected !== true) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      const finish = (status: Extract<HostMessage, { kind: "status" }> | undefined): void => {
        clearTimeout(late);
        child.off("message", listener);
        resolve(status);
      };
      const late = setTimeout(() => finish(undefined), 500);
      const listener = (message: HostMessage): void => {
        if (message.kind === "status") finish(message);
      };
      child.on("message", listener);
      child.send({ kind: "status" });
    });
  }
}
