/**
 * One run of real members of our Raft, and of leases on them, as nodes of the world. Each node does its steps with leases;
 * a supervisor starts processes again that have stopped. After each event of the world the checkers look at all members.
 * Then everything heals: there must be a leader in time, every node must get a lease, and all tables must be equal.
 */
import { RaftLeases } from "../../coordinator/backends/raft/leases.ts";
import { Member } from "../../coordinator/backends/raft/member.ts";
import type { ManageOutcome } from "../../coordinator/backends/raft/membership.ts";
import { recoverAlone } from "../../coordinator/backends/raft/recover.ts";
import { decodeFrame, type Wish } from "../../coordinator/backends/raft/wire.ts";
import type { Session } from "../../coordinator/ports/lease-service.ts";
import type { MemberId, Peers } from "../../coordinator/ports/peers.ts";
import type { RawNode } from "../../coordinator/raft/raw-node.ts";
import type { Storage } from "../../coordinator/raft/storage.ts";
import { hashText } from "../../runtime/hash.ts";
import { LeaseChecker } from "../checkers/leases.ts";
import { RaftChecker, RaftViolation } from "../checkers/raft.ts";
import type { Violation } from "../checkers/violation.ts";
import { guard, watchRejections } from "../run/ambient.ts";
import type { Fault } from "../run/fault.ts";
import { inflict } from "../run/inflict.ts";
import type { Looking, Plan, Ran } from "../run/suite.ts";
import type { DrawnAt } from "../world/drawing.ts";
import type { NodePorts, SimulatedNode } from "../world/node.ts";
import { createWorld, type World } from "../world/world.ts";
import { addressOf, type Deed, Operator } from "./operator.ts";

/** What one node does next, or, with `change`, what an operator does to the cluster. */
export type LeaseStep =
  | {
      readonly node: string;
      readonly waitMs: number;
      readonly key: string;
      readonly holdMs: number;
      /** Keep: until the session ends. */
      readonly ending: "release" | "close" | "keep" | "transfer";
    }
  | { readonly atMs: number; readonly deed: Deed };

export type LeaseSetup = {
  readonly voters: readonly MemberId[];
  /** Started empty, to be added later. */
  readonly spares: readonly MemberId[];
};

const tickMs = 50;
const longestElectionMs = 20 * tickMs;
export const ttlMs = 1_500;
const nodeOf = (id: MemberId) => `n${id}`;
const restMs = 2_000;

type Running = {
  readonly id: MemberId;
  readonly incarnation: number;
  /** Of a cluster that was given up, and runs again: it must do no harm, and is not judged otherwise. */
  readonly isLeftOver: boolean;
  member: Member | undefined;
  raw: RawNode | undefined;
  durable: Storage | undefined;
  sessions: Session[];
  tableIndex: number;
  wasAt: string;
  /** Why it did not start. */
  refusal: Error | undefined;
};

export async function runLeaseCluster(plan: Plan, looking: Looking = {}): Promise<Ran> {
  const world = createWorld({ seed: plan.seed, fullTrace: looking.trace === true, maxSteps: 1_000_000 });
  await guard(world);
  const watched = watchRejections();
  try {
    const drawn: DrawnAt[] = [];
    if (looking.picture === true) world.draw((one) => drawn.push(one));
    const run = new LeaseRun(world, plan);
    const healedMs = await run.play();
    const violations = [...run.violations, ...(await watched.end())];
    const lanes = run.nodes;
    const picture = { title: `seed ${plan.seed}`, lanes, drawn, faults: plan.faults, violations, healedMs };
    return {
      violations,
      traceHash: world.trace.hash,
      events: world.steps,
      virtualMs: world.nowMs,
      met: [...run.met],
      ...(looking.trace === true && { lines: world.trace.lines() }),
      ...(looking.picture === true && { picture: { ...picture, endMs: world.nowMs } }),
    };
  } finally {
    await watched.end();
  }
}

class LeaseRun {
  readonly nodes: readonly string[];
  readonly met = new Set<string>();
  readonly #world: World;
  readonly #plan: Plan;
  readonly #setup: LeaseSetup;
  readonly #ids: readonly MemberId[];
  readonly #running = new Map<MemberId, Running>();
  #raft = new RaftChecker();
  #leases: LeaseChecker;
  readonly #found: Violation[] = [];
  readonly #stepsLeft: Map<MemberId, LeaseStep[]>;
  readonly #operator: Operator;
  /** Their processes are never started again. */
  readonly #dead = new Set<MemberId>();
  readonly #leftOver = new Set<MemberId>();
  /** Spares in the place of rotten members. */
  readonly #taken = new Set<MemberId>();
  /** It is made the whole cluster by hand, when it starts next. */
  #survivor: MemberId | undefined;
  readonly #finished = new Set<MemberId>();
  #isHealed = false;

  constructor(world: World, plan: Plan) {
    this.#world = world;
    this.#plan = plan;
    this.#setup = plan.setup as LeaseSetup;
    this.#ids = [...this.#setup.voters, ...this.#setup.spares];
    this.nodes = this.#ids.map(nodeOf);
    this.#leases = new LeaseChecker(conditionsOf(plan.faults));
    const steps = plan.steps as unknown as readonly LeaseStep[];
    this.#stepsLeft = new Map(
      this.#ids.map((id) => [id, steps.filter((step) => "node" in step && step.node === nodeOf(id))]),
    );
    this.#operator = new Operator({
      after: (delayMs, run) => world.after(delayMs, "the operator looks", run),
      note: (what) => world.note(what),
      leader: () => this.#leader()?.member,
      ask: (wish) => this.#ask(wish),
      kill: (id) => this.#kill(id),
      recover: (deed) => this.#recover(deed),
    });
  }

  get violations(): readonly Violation[] {
    return [...this.#found, ...this.#leases.violations];
  }

  /** Returns when everything was healed. */
  async play(): Promise<number | undefined> {
    const world = this.#world;
    for (const fault of this.#plan.faults) world.after(fault.at, "what a fault meets", () => this.#meet(fault));
    inflict(this.#plan.faults, { world, nodes: this.nodes });
    for (const id of this.#ids)
      world.after(0, "a member starts", () => world.node(nodeOf(id)).boot((ports) => this.#boot(id, ports)));
    this.#supervise();
    for (const step of this.#plan.steps as unknown as readonly LeaseStep[])
      if ("deed" in step) world.after(step.atMs, "the operator", () => this.#operator.order(step.deed));
    const troubleMs = Math.max(8_000, ...this.#plan.faults.map(({ at }) => at + 500));
    if (await this.#run(troubleMs, () => false)) return undefined;
    this.#operator.beginNothingMore();
    world.heal();
    const living = () => this.#ids.filter((id) => !this.#dead.has(id)).map((id) => world.node(nodeOf(id)));
    for (const node of living()) if (node.state === "crashed") node.restart();
    const isAwake = () => living().every(({ state }) => state === "running");
    // What a slow disk was given before is still under way for up to three seconds.
    if (await this.#run(20_000, isAwake)) return undefined;
    if (await this.#run(3_500, () => false)) return undefined;
    const healedMs = world.nowMs;
    if (await this.#run(10 * longestElectionMs, () => this.#leader() !== undefined)) return healedMs;
    if (this.#leader() === undefined) return this.#missed("no-leader-after-healing", healedMs);
    this.#isHealed = true;
    // No learner, and nobody leaving.
    const isSettled = () =>
      this.#operator.isIdle &&
      this.#leader()
        ?.member?.members()
        .every(({ role }) => role === "voter") === true;
    if (await this.#run(60_000, isSettled)) return healedMs;
    if (!isSettled()) return this.#missed("members-not-settled-after-healing", healedMs);
    const areServed = () => this.#expected().every(({ id }) => this.#finished.has(id));
    if (await this.#run(60_000, areServed)) return healedMs;
    if (!areServed()) return this.#missed("no-lease-after-healing", healedMs);
    if (await this.#run(restMs, () => false)) return healedMs;
    if (await this.#run(10_000, () => this.#areEqual())) return healedMs;
    if (!this.#areEqual()) return this.#missed("members-differ", healedMs);
    // One that has only just come back leads those like it until somebody tells it.
    if (await this.#run(10 * longestElectionMs, () => !this.#leftOverLeads())) return healedMs;
    if (this.#leftOverLeads()) return this.#missed("a-left-over-member-leads", healedMs);
    const table = this.#leader()?.member?.table;
    if (table !== undefined) this.#leases.judgeEnd(table);
    return healedMs;
  }

  /** True when something is wrong: the run is over. */
  async #run(forMs: number, until: () => boolean): Promise<boolean> {
    await this.#world.run({
      forMs,
      until: () => {
        this.#judge();
        return this.#isOver() || until();
      },
    });
    return this.#isOver();
  }

  #isOver(): boolean {
    return this.violations.length > 0;
  }

  #missed(rule: string, healedMs: number): number {
    const states = [...this.#running.values()].map(({ id, member, refusal }) =>
      member === undefined ? `n${id} ${refusal?.name ?? "not started"}` : `n${id} ${JSON.stringify(member.status())}`,
    );
    states.push(`members ${JSON.stringify(this.#leader()?.member?.members())}`);
    states.push(`under way ${JSON.stringify(this.#operator.underWay)}`);
    this.#found.push({ rule, detail: `${this.#world.nowMs - healedMs} ms after healing: ${states.join("; ")}` });
    return healedMs;
  }

  // ---- processes ----

  async #boot(id: MemberId, ports: NodePorts): Promise<void> {
    const { clock, random, logger } = ports;
    if (this.#dead.has(id)) return;
    const { incarnation } = this.#world.node(nodeOf(id));
    for (const { id: session } of this.#running.get(id)?.sessions ?? []) this.#leases.onGone(session);
    this.#raft.onCrash({ id });
    const running: Running = {
      id,
      incarnation,
      isLeftOver: this.#leftOver.has(id),
      member: undefined,
      raw: undefined,
      durable: undefined,
      sessions: [],
      tableIndex: 0,
      wasAt: "",
      refusal: undefined,
    };
    this.#running.set(id, running);
    const peers = this.#listened(running, ports.peers(id));
    const { disk } = ports;
    try {
      if (this.#survivor === id) {
        await recoverAlone({ disk, clock, identity: { cluster: "c", member: id } });
        this.#survivor = undefined;
      }
      running.member = await Member.open({
        cluster: "c",
        voters: this.#setup.spares.includes(id) ? undefined : this.#setup.voters,
        address: addressOf(id),
        disk,
        peers,
        clock,
        random,
        logger,
        tickMs,
        snapshotEvery: 15,
        log: { segmentBytes: 2_000, keptEntries: 10 },
        onCore: (raw, durable) =>
          this.#noted(() => {
            if (running.isLeftOver) return;
            Object.assign(running, { raw, durable });
            this.#raft.onStart({ id, raw, durable });
          }),
      });
    } catch (error) {
      running.refusal = error as Error;
      return;
    }
    if (running.isLeftOver) return;
    const { member } = running;
    const leases = new RaftLeases({ member: this.#watched(member), clock, random });
    const pass = (ms: number) => new Promise<void>((resolve) => void clock.after(ms, resolve));
    await this.#work(running, leases, pass);
  }

  /** Starts again what has stopped, as an init system does; what has forgotten its votes is replaced, by a person. */
  #supervise(): void {
    this.#world.after(300, "the supervisor looks", () => {
      for (const running of [...this.#running.values()]) {
        const { id, member, refusal } = running;
        const node = this.#world.node(nodeOf(id));
        if (node.state !== "running" || this.#dead.has(id)) continue;
        if (refusal?.name === "HardStateLost") this.#replaceRotten(id);
        else if (refusal !== undefined) node.restart();
        else if (member?.status().role === "failed" && !this.#isOut(running, node)) node.restart();
      }
      this.#supervise();
    });
  }

  #replaceRotten(id: MemberId): void {
    const spare = this.#setup.spares.find((one) => !this.#taken.has(one));
    if (spare === undefined) return void this.#found.push({ rule: "too-many-rotten", detail: nodeOf(id) });
    this.#taken.add(spare);
    this.#operator.replaceRotten(id, spare);
  }

  /** For its disk a member may stop, and when it is out; for anything else it must not. */
  #isOut({ id, isLeftOver }: Running, { name, logs }: SimulatedNode): boolean {
    const error = logs.findLast(({ level }) => level === "error")?.fields.error as Error | undefined;
    if (error === undefined || error.name === "LogFailed") return false;
    if (error.name === "MemberRefused" && (isLeftOver || this.#operator.isOut(id))) return true;
    this.#found.push({ rule: "member-failed", detail: `${name}: ${error.stack ?? error.message}` });
    return false;
  }

  // ---- what the operator does ----

  #ask(wish: Wish): Promise<ManageOutcome> | undefined {
    const isAble = (running: Running) => this.#world.node(nodeOf(running.id)).state === "running";
    const able = [...this.#running.values()].filter(
      (running) => !running.isLeftOver && this.#isUp(running) && isAble(running) && running.member !== undefined,
    );
    // Whoever knows of a leader passes it on.
    const asked = able.find(({ member }) => {
      const { role, leader } = member!.status();
      return role !== "failed" && leader !== undefined;
    });
    if (asked === undefined) return undefined;
    const { clock } = this.#world.node(nodeOf(asked.id)).ports;
    return asked.member!.manage(wish, clock.monotonic() + 2_000);
  }

  #kill(id: MemberId): void {
    this.#dead.add(id);
    this.#world.node(nodeOf(id)).crash();
  }

  #recover({ survivor, fresh, backAfterMs }: Extract<Deed, { kind: "recover" }>): void {
    const lost = this.#ids.filter((id) => id !== survivor && !fresh.includes(id));
    for (const id of lost) this.#kill(id);
    this.#found.push(...this.#leases.violations);
    // What only the lost ones knew is lost: other entries may come at the same indexes, in another epoch.
    this.#raft = new RaftChecker();
    this.#leases = new LeaseChecker(conditionsOf(this.#plan.faults));
    this.#survivor = survivor;
    this.#world.node(nodeOf(survivor)).restart();
    if (backAfterMs === undefined) return;
    this.#world.after(backAfterMs, "lost members come back", () => {
      for (const id of lost) {
        this.#dead.delete(id);
        this.#leftOver.add(id);
        this.#world.node(nodeOf(id)).restart();
      }
    });
  }

  /** Alone they may have led; they were told, once they asked any of the others for a vote. */
  #leftOverLeads(): boolean {
    return [...this.#running.values()].some(
      (running) => running.isLeftOver && this.#isUp(running) && running.member?.status().role === "leader",
    );
  }

  /** Sees what a member says, in the moment in which it does. */
  #listened(running: Running, peers: Peers): Peers {
    return {
      self: peers.self,
      send: (to, bytes) => {
        const frame = decodeFrame(bytes);
        const { id, raw, durable } = running;
        if (frame.kind === "raft" && raw !== undefined && durable !== undefined)
          this.#noted(() => this.#raft.onSent({ id, raw, durable }, frame.message));
        peers.send(to, bytes);
      },
      receive: (handler) => peers.receive(handler),
    };
  }

  #watched(member: Member): ConstructorParameters<typeof RaftLeases>[0]["member"] {
    const world = this.#world;
    const leases = this.#leases;
    return {
      get identity() {
        return member.identity;
      },
      get table() {
        return member.table;
      },
      ask: async (request, untilMs) => {
        const sentMs = world.nowMs;
        if (request.kind === "close") leases.onClosing(request.session);
        const outcome = await member.ask(request, untilMs);
        if (request.kind === "open" && outcome?.kind === "opened") leases.onRenewed(request.session, ttlMs, sentMs);
        return outcome;
      },
      renew: async (renewal, untilMs) => {
        const sentMs = world.nowMs;
        const isRenewed = await member.renew(renewal, untilMs);
        if (isRenewed === true) leases.onRenewed(renewal.session, ttlMs, sentMs);
        return isRenewed;
      },
      onChange: (listener) => member.onChange(listener),
    };
  }

  // ---- what the nodes do ----

  async #work(running: Running, leases: RaftLeases, pass: (ms: number) => Promise<void>): Promise<void> {
    const node = nodeOf(running.id);
    let session: Session | undefined;
    const open = async (): Promise<Session | undefined> => {
      if (session?.isValid === true) return session;
      session = await leases.openSession({ node, ttlMs }).catch(() => undefined);
      if (session !== undefined) running.sessions.push(session);
      return session;
    };
    const steps = this.#stepsLeft.get(running.id) ?? [];
    for (;;) {
      const step = steps.shift();
      if (step === undefined || this.#isHealed) break;
      if ("node" in step) await this.#take(running, step, open, pass);
    }
    while (!this.#finished.has(running.id)) {
      if (this.#isHealed) {
        const one = await open();
        const outcome = await one?.acquire(`last of ${node}`);
        if (outcome?.kind === "granted") this.#finished.add(running.id);
      }
      await pass(300);
    }
  }

  async #take(
    running: Running,
    { waitMs, key, holdMs, ending }: Extract<LeaseStep, { node: string }>,
    open: () => Promise<Session | undefined>,
    pass: (ms: number) => Promise<void>,
  ): Promise<void> {
    const leases = this.#leases;
    await pass(waitMs);
    const session = await open();
    if (session === undefined) return;
    const above = leases.onAsked(key);
    const outcome = await session.acquire(key);
    if (outcome.kind !== "granted") return;
    leases.onGranted(key, session, outcome.index, above);
    await pass(holdMs);
    if (ending === "keep") return;
    const other = [...this.#running.values()].find(({ id }) => id !== running.id)?.sessions.at(-1);
    if (ending === "transfer" && other !== undefined) {
      leases.onGivenBack(key, session.id);
      await session.transfer(key, other.id);
    } else if (ending === "close") {
      leases.onGone(session.id);
      await session.close();
    } else {
      leases.onGivenBack(key, session.id);
      await session.release(key);
    }
  }

  // ---- judging ----

  #noted(judge: () => void): void {
    try {
      judge();
    } catch (error) {
      if (!(error instanceof RaftViolation)) throw error;
      const named = /^([A-Z][A-Za-z -]*):/.exec(error.message)?.[1] ?? "Raft";
      this.#found.push({ rule: named.replaceAll(" ", "-"), detail: error.message });
    }
  }

  /** Only what has changed since it was looked at last. */
  #judge(): void {
    for (const running of this.#running.values()) {
      const { id, member, raw, durable } = running;
      if (raw === undefined || durable === undefined || !this.#isUp(running)) continue;
      const { term, state, log } = raw.raft;
      const at = `${term} ${state} ${log.committed} ${log.lastIndex()} ${log.applied}`;
      if (at === running.wasAt) continue;
      running.wasAt = at;
      this.#noted(() => this.#raft.afterStep({ id, raw, durable }));
      if (member === undefined || member.table.index === running.tableIndex) continue;
      running.tableIndex = member.table.index;
      this.#leases.onTable(member.table, this.#world.nowMs);
      this.#noted(() => this.#raft.onApplied({ id }, member.table.index, textOf(member)));
    }
    this.#leases.judgeAllBeliefs(this.#world.nowMs);
    for (const running of this.#running.values())
      if (!this.#isUp(running)) for (const { id } of running.sessions.splice(0)) this.#leases.onGone(id);
  }

  #isUp({ id, incarnation }: Running): boolean {
    const node = this.#world.node(nodeOf(id));
    return node.incarnation === incarnation && node.state !== "crashed";
  }

  /** Of two who believe it, the later one. */
  #leader(): Running | undefined {
    return [...this.#running.values()]
      .filter((running) => !running.isLeftOver && this.#isUp(running) && running.member?.status().role === "leader")
      .sort((a, b) => b.member!.status().term - a.member!.status().term)[0];
  }

  /** Who must be served in the end: whoever is a member. */
  #expected(): readonly Running[] {
    const members = this.#leader()?.member?.members() ?? [];
    return [...this.#running.values()].filter(({ id }) => members.some((view) => view.id === id));
  }

  #areEqual(): boolean {
    return new Set(this.#expected().map(({ member }) => member && textOf(member))).size === 1;
  }

  #meet({ kind, args }: Fault): void {
    const id = "node" in args ? this.#ids.find((one) => nodeOf(one) === args.node) : undefined;
    const role = id === undefined ? undefined : this.#running.get(id)?.member?.status().role;
    const leads = this.#leader() === undefined ? "no leader" : "a leader";
    this.met.add(`${role ?? leads} × ${kind === "disk" ? `${kind} ${(args as { fault: string }).fault}` : kind}`);
  }
}

function textOf(member: Member): string {
  return hashText(String.fromCharCode(...member.table.snapshot()));
}

function conditionsOf(faults: readonly Fault[]) {
  const rates = faults.flatMap((fault) => (fault.kind === "drift" ? [fault.args.rate] : []));
  const areRatesFair = Math.max(1, ...rates) / Math.min(1, ...rates) < 1.05;
  const standsStill = faults.some((fault) => fault.kind === "pause" && fault.args.clock === "frozen");
  return { fastestRate: Math.max(1, ...rates), areClocksFair: areRatesFair && !standsStill };
}
