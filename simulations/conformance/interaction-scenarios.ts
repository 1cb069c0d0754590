/**
 * Runs one interaction scenario of etcd-io/raft: nodes, their storage threads and the messages between them, moved only
 * by commands, with everything that happens written out in etcd's words. Start reading at `#run`.
 */
import { parseChanges } from "../../coordinator/raft/conf-change.ts";
import type { LogLevel } from "../../coordinator/raft/config.ts";
import { describeEntries, describeMessage, describeReady } from "../../coordinator/raft/describe.ts";
import {
  type ConfChange,
  type ConfChangeTransition,
  localAppendThread,
  localApplyThread,
  type Message,
  message,
  type NodeId,
} from "../../coordinator/raft/messages.ts";
import { votersOf } from "../../coordinator/raft/quorum.ts";
import { isLocalThread } from "../../coordinator/raft/raw-node.ts";
import { describeProgress } from "../../coordinator/raft/tracker/progress.ts";
import { type Argument, type Directive, parseCommand } from "./datadriven.ts";
import { emptySnapshot, type NodeOptions, ScenarioNode } from "./interaction-nodes.ts";

const levels: readonly string[] = ["DEBUG", "INFO", "WARN", "ERROR", "FATAL", "NONE"];
const quietLevel = levels.indexOf("NONE");

const transitions: Readonly<Record<string, ConfChangeTransition>> = {
  auto: "ConfChangeTransitionAuto",
  implicit: "ConfChangeTransitionJointImplicit",
  explicit: "ConfChangeTransitionJointExplicit",
};

/** What a node answered, in etcd's words. */
const outcomeTexts = {
  proposalDropped: "raft proposal dropped",
  localMessage: "raft: cannot step raft local message",
  unknownPeer: "raft: cannot step as peer not found",
} as const;

type Recipient = { readonly id: NodeId; readonly drop: boolean };

export class InteractionScenario {
  readonly #nodes: ScenarioNode[] = [];
  #inFlight: Message[] = [];
  #output = "";
  #level = 0;

  handle({ command, arguments: args, input }: Directive): string {
    this.#output = "";
    let error = "";
    try {
      this.#run(command, args, input);
      if (command !== "propose-conf-change") this.#runLines(input);
    } catch (thrown) {
      error = thrown instanceof Error ? thrown.message : String(thrown);
    }
    if (this.#level === quietLevel && error !== "") return error;
    this.#output += error;
    return this.#output === "" ? "ok" : this.#output;
  }

  /** Further commands may follow the first one, in its input. */
  #runLines(input: string): void {
    for (const line of input.split("\n").filter((each) => each.trim() !== "")) {
      const { command, arguments: args } = parseCommand(line);
      this.#run(command, args, "");
    }
  }

  #run(command: string, args: readonly Argument[], input: string): void {
    switch (command) {
      case "add-nodes":
        return this.#addNodes(args);
      case "campaign":
        return this.#nodeOf(args).raw.campaign();
      case "compact":
        return this.#compact(args);
      case "deliver-msgs":
        return this.#deliverMessages(args);
      case "forget-leader":
        return this.#nodeOf(args).raw.forgetLeader();
      case "log-level":
        return this.#setLevel(keyAt(args, 0));
      case "process-append-thread":
        return this.#forEach(args, "processing append thread", (node) => this.#processAppend(node));
      case "process-apply-thread":
        return this.#forEach(args, "processing apply thread", (node) => this.#processApply(node));
      case "process-ready":
        return this.#forEach(args, "handling Ready", (node) => this.#processReady(node));
      case "propose":
        return fail(this.#nodeOf(args).raw.propose(new TextEncoder().encode(keyAt(args, 1))));
      case "propose-conf-change":
        return fail(this.#nodeOf(args).raw.proposeConfChange(changeOf(args, input)));
      case "raft-log":
        return this.#raftLog(this.#nodeOf(args));
      case "raft-state":
        return this.#raftState();
      case "report-unreachable":
        return this.#reportUnreachable(args);
      case "send-snapshot":
        return this.#sendSnapshot(args);
      case "set-randomized-election-timeout":
        this.#nodeOf(args).raw.raft.randomElectionTicks = Number(namedValue(args, "timeout"));
        return;
      case "stabilize":
        return this.#stabilizeAt(args);
      case "status":
        return this.#write(describeProgress(this.#nodeOf(args).raw.status().progress));
      case "tick-election":
        return this.#tick(this.#nodeOf(args), (node) => node.raw.raft.config.electionTicks);
      case "tick-heartbeat":
        return this.#tick(this.#nodeOf(args), (node) => node.raw.raft.config.heartbeatTicks);
      case "transfer-leadership":
        return this.#node(Number(namedValue(args, "from"))).raw.transferLeader(Number(namedValue(args, "to")));
      case "_breakpoint":
        return;
      default:
        throw new Error("unknown command");
    }
  }

  // Nodes

  #addNodes(args: readonly Argument[]): void {
    const count = Number(keyAt(args, 0));
    const { options, voters, learners, index, content } = nodeOptionsOf(args.slice(1));
    const isBootstrapped = args.some(({ key }) => ["voters", "learners", "index", "content"].includes(key));
    if (isBootstrapped && index <= 1) throw new Error("index must be specified as > 1 due to bootstrap");
    const confState = { ...emptySnapshot.metadata.confState, voters, learners };
    const data = new TextEncoder().encode(content);
    const snapshot = isBootstrapped ? { data, metadata: { confState, index, term: 1 } } : emptySnapshot;
    for (let added = 0; added < count; added++) {
      const id = this.#nodes.length + 1;
      this.#nodes.push(new ScenarioNode(id, options, snapshot, (level, text) => this.#log(level, text)));
    }
  }

  #node(id: NodeId): ScenarioNode {
    const node = this.#nodes[id - 1];
    if (node === undefined) throw new Error(`no node ${id}`);
    return node;
  }

  #nodeOf(args: readonly Argument[]): ScenarioNode {
    return this.#node(Number(keyAt(args, 0)));
  }

  #nodesOf(args: readonly Argument[]): ScenarioNode[] {
    return args.filter(({ values }) => values.length === 0).map(({ key }) => this.#node(Number(key)));
  }

  #forEach(args: readonly Argument[], what: string, run: (node: ScenarioNode) => void): void {
    const nodes = this.#nodesOf(args);
    for (const node of nodes) {
      if (nodes.length === 1) run(node);
      else this.#section(`> ${node.id} ${what}\n`, () => run(node));
    }
  }

  #tick(node: ScenarioNode, ticks: (node: ScenarioNode) => number): void {
    for (let left = ticks(node); left > 0; left--) node.raw.tick();
  }

  #compact(args: readonly Argument[]): void {
    const node = this.#nodeOf(args);
    if (node.storage.compact(Number(keyAt(args, 1))) === "compacted")
      throw new Error("requested index is unavailable due to compaction");
    this.#raftLog(node);
  }

  #reportUnreachable(args: readonly Argument[]): void {
    const [reporting, reported] = this.#nodesOf(args);
    if (reporting === undefined || reported === undefined || args.length !== 2)
      throw new Error("must specify exactly two node indexes: node on which to report, and reported node");
    reporting.raw.reportUnreachable(reported.id);
  }

  #sendSnapshot(args: readonly Argument[]): void {
    const [from, to] = this.#nodesOf(args);
    if (from === undefined || to === undefined) throw new Error("must specify sender and receiver");
    const snapshot = from.storage.snapshot();
    const sent = message({ type: "MsgSnap", term: from.raw.status().term, from: from.id, to: to.id, snapshot });
    this.#inFlight.push(sent);
    this.#write(describeMessage(sent));
  }

  // Work

  #processReady(node: ScenarioNode): void {
    const ready = node.raw.ready();
    this.#write(describeReady(ready));
    if (!node.isAsync) {
      node.append(ready.hardState, ready.entries, ready.snapshot);
      node.apply(ready.committedEntries);
    }
    for (const sent of ready.messages) {
      if (sent.to === localAppendThread) node.appendWork.push(sent);
      else if (sent.to === localApplyThread) node.applyWork.push(sent);
      else this.#inFlight.push(sent);
    }
    if (!node.isAsync) node.raw.advance();
  }

  #processAppend(node: ScenarioNode): void {
    const work = node.appendWork.shift();
    if (work === undefined) return this.#write("no append work to perform");
    this.#write(`Processing:\n${describeMessage({ ...work, responses: [] })}\n`);
    const { term, vote, commit, entries, snapshot } = work;
    const hasHardState = term !== 0 || vote !== 0 || commit !== 0;
    node.append(hasHardState ? { term, vote, commit } : undefined, entries, snapshot);
    this.#respond(work);
  }

  #processApply(node: ScenarioNode): void {
    const work = node.applyWork.shift();
    if (work === undefined) return this.#write("no apply work to perform");
    this.#write(`Processing:\n${describeMessage({ ...work, responses: [] })}\n`);
    node.apply(work.entries);
    this.#respond(work);
  }

  #respond({ responses }: Message): void {
    this.#write(`Responses:\n${responses.map((response) => `${describeMessage(response)}\n`).join("")}`);
    this.#inFlight.push(...responses);
  }

  #deliverMessages(args: readonly Argument[]): void {
    const recipients: Recipient[] = this.#nodesOrIds(args).map((id) => ({ id, drop: false }));
    const dropped = args.find(({ key }) => key === "drop")?.values ?? [];
    recipients.push(...dropped.map((id) => ({ id: Number(id), drop: true })));
    const type = args.find(({ key }) => key === "type")?.values[0];
    if (this.#deliver(recipients, type) === 0) this.#write("no messages\n");
  }

  /** Messages may be dropped that are for nodes which do not exist yet. */
  #nodesOrIds(args: readonly Argument[]): NodeId[] {
    return args.filter(({ values }) => values.length === 0).map(({ key }) => Number(key));
  }

  /** Returns how many messages were delivered or dropped. */
  #deliver(recipients: readonly Recipient[], type?: string): number {
    let handled = 0;
    for (const { id, drop } of recipients) {
      const concerns = (m: Message) => m.to === id && !(drop && isLocal(m)) && (type === undefined || m.type === type);
      const taken = this.#inFlight.filter(concerns);
      this.#inFlight = this.#inFlight.filter((m) => !concerns(m));
      handled += taken.length;
      for (const m of taken) {
        this.#write(`${drop ? "dropped: " : ""}${describeMessage(m)}\n`);
        if (drop) continue;
        const outcome = this.#node(id).raw.step(m);
        if (outcome !== "stepped") this.#write(`${outcomeTexts[outcome]}\n`);
      }
    }
    return handled;
  }

  #stabilizeAt(args: readonly Argument[]): void {
    const before = this.#level;
    const level = args.find(({ key }) => key === "log-level")?.values[0];
    if (level !== undefined) this.#setLevel(level);
    try {
      const nodes = this.#nodesOf(args);
      this.#stabilize(nodes.length > 0 ? nodes : this.#nodes);
    } finally {
      this.#level = before;
    }
  }

  /** Goes on until nobody has anything left to do. */
  #stabilize(nodes: readonly ScenarioNode[]): void {
    const pass = (what: string, hasWork: (node: ScenarioNode) => boolean, run: (node: ScenarioNode) => void) => {
      const busy = (node: ScenarioNode) => {
        if (!hasWork(node)) return false;
        this.#section(`> ${node.id} ${what}\n`, () => run(node));
        return true;
      };
      return nodes.map(busy).includes(true);
    };
    const whileAny = (work: (node: ScenarioNode) => readonly Message[], run: (node: ScenarioNode) => void) => {
      return (node: ScenarioNode) => {
        while (work(node).length > 0) run(node);
      };
    };
    const [appendWork, applyWork] = [(node: ScenarioNode) => node.appendWork, (node: ScenarioNode) => node.applyWork];
    for (;;) {
      const done = [
        pass(
          "handling Ready",
          (node) => node.raw.hasReady(),
          (node) => this.#processReady(node),
        ),
        pass(
          "receiving messages",
          ({ id }) => this.#inFlight.some(({ to }) => to === id),
          ({ id }) => this.#deliver([{ id, drop: false }]),
        ),
        pass(
          "processing append thread",
          (node) => node.appendWork.length > 0,
          whileAny(appendWork, (node) => this.#processAppend(node)),
        ),
        pass(
          "processing apply thread",
          (node) => node.applyWork.length > 0,
          whileAny(applyWork, (node) => this.#processApply(node)),
        ),
      ];
      if (!done.includes(true)) return;
    }
  }

  // Output

  #raftLog({ storage }: ScenarioNode): void {
    const [first, last] = [storage.firstIndex(), storage.lastIndex()];
    if (last < first) return this.#write(`log is empty: first index=${first}, last index=${last}`);
    const entries = storage.entries(first, last + 1, Number.POSITIVE_INFINITY);
    this.#write(typeof entries === "string" ? entries : describeEntries(entries));
  }

  #raftState(): void {
    for (const { raw } of this.#nodes) {
      const { id, raftState, config, term, lead } = raw.status();
      const role = votersOf(config.voters).includes(id) ? "(Voter)" : "(Non-Voter)";
      this.#write(`${id}: ${raftState} ${role} Term:${term} Lead:${lead}\n`);
    }
  }

  #setLevel(name: string): void {
    const level = levels.indexOf(name.toUpperCase());
    if (level < 0) throw new Error(`log levels must be either of [${levels.join(" ")}]`);
    this.#level = level;
  }

  #log(level: LogLevel, text: string): void {
    if (levels.indexOf(level) >= this.#level) this.#write(`${level} ${text}\n`);
  }

  #write(text: string): void {
    if (this.#level !== quietLevel) this.#output += text;
  }

  /** A heading, and what is written under it, indented. */
  #section(heading: string, run: () => void): void {
    this.#write(heading);
    const before = this.#output;
    this.#output = "";
    try {
      run();
    } finally {
      const inner = this.#output.replace(/\n$/, "");
      this.#output = before + (inner === "" ? "" : inner.replace(/^/gm, "  ") + "\n");
    }
  }
}

/** Between a node and itself, or its threads: these are never lost. */
function isLocal({ from, to }: Message): boolean {
  return from === to || isLocalThread(from) || isLocalThread(to);
}

function fail(outcome: "stepped" | keyof typeof outcomeTexts): void {
  if (outcome !== "stepped") throw new Error(outcomeTexts[outcome]);
}

function keyAt(args: readonly Argument[], place: number): string {
  const argument = args[place];
  if (argument === undefined) throw new Error(`argument ${place + 1} is missing`);
  return argument.key;
}

function namedValue(args: readonly Argument[], key: string): string {
  const value = args.find((argument) => argument.key === key)?.values[0];
  if (value === undefined) throw new Error(`argument ${key} is missing`);
  return value;
}

function changeOf(args: readonly Argument[], input: string): ConfChange {
  let isV1 = false;
  let transition = transitions.auto!;
  for (const { key, values } of args.slice(1)) {
    const value = values[0] ?? "";
    if (key === "v1") isV1 = value === "true";
    else if (key === "transition" && transitions[value] !== undefined) transition = transitions[value];
    else throw new Error(key === "transition" ? `unknown transition ${value}` : `unknown command ${key}`);
  }
  const changes = parseChanges(input);
  if (typeof changes === "string") throw new Error(changes);
  if (!isV1) return { kind: "v2", transition, changes, context: "" };
  const [change] = changes;
  if (change === undefined || changes.length > 1 || transition !== transitions.auto)
    throw new Error("v1 conf change can only have one operation and no transition");
  return { kind: "v1", ...change, context: "" };
}

type Bootstrap = { options: NodeOptions; voters: NodeId[]; learners: NodeId[]; index: number; content: string };

function nodeOptionsOf(args: readonly Argument[]): Bootstrap {
  const found: Bootstrap = { options: {}, voters: [], learners: [], index: 0, content: "" };
  for (const { key, values } of args) {
    const value = values[0] ?? "";
    const set = (options: NodeOptions) => {
      found.options = { ...found.options, ...options };
    };
    if (key === "voters") found.voters = values.map(Number);
    else if (key === "learners") found.learners = values.map(Number);
    else if (key === "content") found.content = value;
    else if (key === "index") {
      found.index = Number(value);
      set({ applied: found.index });
    } else if (key === "inflight") set({ maxInflightMessages: Number(value) });
    else if (key === "async-storage-writes") set({ asyncStorageWrites: value === "true" });
    else if (key === "prevote") set({ preVote: value === "true" });
    else if (key === "checkquorum") set({ checkQuorum: value === "true" });
    else if (key === "max-committed-size-per-ready") set({ maxCommittedBytes: Number(value) });
    else if (key === "disable-conf-change-validation") set({ disableConfChangeValidation: value === "true" });
    else if (key === "step-down-on-removal") set({ stepDownOnRemoval: value === "true" });
    else if (key === "read-only" && value === "safe") set({ readOnly: "safe" });
    else if (key === "read-only" && value === "lease-based") set({ readOnly: "leaseBased" });
    else throw new Error(key === "read-only" ? `invalid read-only option "${value}"` : `unknown option ${key}`);
  }
  return found;
}
