/**
 * One member of the soak of Raft, until it is killed: it takes and gives back leases as fast as it is answered, and holds or
 * tries to take what its parent names. What it was granted, and what it saw, goes to the parent.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Session } from "../../coordinator/ports/lease-service.ts";
import { type RaftMember, raftLeases } from "../../coordinator/raft-leases.ts";
import type { Sight } from "./raft-gaps.ts";
import type { Granted, HostMessage, ParentMessage } from "./raft-soak.ts";
import { monotonicNs, watchStalls } from "./stalls.ts";

const [self = "1", ports = "", directory = "", ttl = "1500", loops = "4"] = process.argv.slice(2);
const ttlMs = Number(ttl);
const members = Object.fromEntries(
  ports.split(",").map((port, index) => [index + 1, { host: "127.0.0.1", port: Number(port) }]),
);
const raft: RaftMember = await raftLeases({ cluster: "soak", directory, self: Number(self), members, ttlMs });
const granted: Granted[] = [];
const sights: Sight[] = [];
let session: Session | undefined;
/** Names to be held, or taken over, with the session under which each was granted. */
const wanted = new Map<string, string | undefined>();

process.on("message", (message: ParentMessage) => {
  if (message.kind === "want") wanted.set(message.key, undefined);
  else if (message.kind === "drop") void drop(message.key);
  else tell({ kind: "status", role: raft.member.status().role, holds: holds() });
});
process.once("disconnect", () => process.exit(1));
const member = Number(self);
watchStalls((stall) => void sights.push({ kind: "stalled", member, ...stall }));
watchHolders();
tell({ kind: "ready" });
await Promise.all([
  keepSession(),
  want(),
  watchLeader(),
  report(),
  ...Array.from({ length: Number(loops) }, (_, loop) => load(loop)),
]);

function tell(message: HostMessage): void {
  process.send?.(message);
}

/** What it was granted under the session that it still has, as the table has it; 0: the table has nothing of it. */
function holds(): readonly Granted[] {
  const leases = raft.service.view().leases;
  const isMine = (by: string | undefined) => by !== undefined && session?.id === by && session.isValid;
  return [...wanted].flatMap(([key, by]) => (isMine(by) ? [noted(key, leases.get(key)?.index ?? 0)] : []));
}

async function keepSession(): Promise<void> {
  for (;;) {
    if (session?.isValid !== true)
      session = await raft.service.openSession({ node: `member-${self}`, ttlMs }).catch(() => undefined);
    await sleep(10);
  }
}

async function acquire(key: string): Promise<string | undefined> {
  const by = session;
  if (by?.isValid !== true) return undefined;
  const askedNs = monotonicNs();
  const outcome = await by.acquire(key);
  if (outcome.kind !== "granted") return undefined;
  granted.push({ ...noted(key, outcome.index), askedNs, session: by.id });
  return by.id;
}

async function want(): Promise<void> {
  for (;;) {
    for (const [key, by] of [...wanted])
      if (by === undefined || by !== session?.id) {
        const holder = await acquire(key);
        if (wanted.has(key)) wanted.set(key, holder);
      }
    await sleep(10);
  }
}

/** When what is wanted here, and was held by another, is not any more. */
function watchHolders(): void {
  const holders = new Map<string, string>();
  raft.service.onChange(() => {
    const { leases } = raft.service.view();
    for (const key of wanted.keys()) {
      const [before, after] = [holders.get(key), leases.get(key)?.session];
      if (before === after) continue;
      if (before !== undefined) sights.push({ kind: "freed", member, key, atNs: monotonicNs() });
      if (after === undefined) holders.delete(key);
      else holders.set(key, after);
    }
  });
}

async function watchLeader(): Promise<void> {
  for (let known = ""; ; await sleep(5)) {
    const { leader = 0, term } = raft.member.status();
    if (known === `${leader} ${term}`) continue;
    known = `${leader} ${term}`;
    sights.push({ kind: "follows", member, leader, term, atNs: monotonicNs() });
  }
}

async function drop(key: string): Promise<void> {
  wanted.delete(key);
  await session?.release(key);
}

async function load(loop: number): Promise<void> {
  for (let turn = 0; ; turn++) {
    // Members fight for the same few keys.
    const key = `load-${(loop + turn) % 6}`;
    const by = await acquire(key);
    if (by === undefined) await sleep(5);
    else await session?.release(key);
  }
}

async function report(): Promise<void> {
  for (;;) {
    if (sights.length > 0) tell({ kind: "saw", sights: sights.splice(0) });
    if (granted.length > 0) tell({ kind: "granted", granted: granted.splice(0) });
    await sleep(20);
  }
}

function noted(key: string, index: number): Granted {
  const atNs = monotonicNs();
  return { key, index, session: session?.id ?? "", member, askedNs: atNs, atNs };
}
