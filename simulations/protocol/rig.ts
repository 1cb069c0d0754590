/**
 * The production host on the nodes of a simulated world, and clients that talk to it over the world's bus. Nothing of
 * the runtime is replaced: only its ports are the world's. Start reading at `bootHosts`.
 */
import type { ActorDefinition } from "../../runtime/definition.ts";
import { Host } from "../../runtime/host/host.ts";
import type { HostSettings } from "../../runtime/host/settings.ts";
import { type RequestAnswer, type RequestBody, readRequestAnswer } from "../../runtime/host/wire.ts";
import { partitionOf as partitionIn } from "../../runtime/partition.ts";
import type {
  ActorStore,
  ListOptions,
  Revision,
  StoreChange,
  StoreWrite,
  Token,
  WriteOutcome,
} from "../../runtime/ports/store.ts";
import { Sequences } from "../../runtime/sequences.ts";
import type { Key } from "../../runtime/window.ts";
import type { NodePorts, SimulatedNode } from "../world/node.ts";
import type { World } from "../world/world.ts";

/** Short times, so that a run is short; long enough for the delays of the world. */
export const rigSettings: Partial<HostSettings> = {
  idleMs: 1_500,
  settleFirstMs: 10,
  settleMaxMs: 500,
  messageTimeoutMs: 1_000,
  messageRetryFirstMs: 20,
  messageRetryMaxMs: 1_000,
  settlementMs: 50,
  askAfterMs: 1_000,
};

export type Definitions = (ports: NodePorts) => Readonly<Record<string, ActorDefinition>>;

/** One call of `write`, and how it ended, if it did. */
export type WriteCall = {
  /** The incarnation that made it. */
  readonly owner: string;
  readonly write: StoreWrite;
  outcome: WriteOutcome["kind"] | undefined;
};

/** One host per node, made anew at every start of its process. Its writes are noted in `writes`. */
export function bootHosts(
  world: World,
  nodes: readonly string[],
  writes: WriteCall[],
  define: Definitions,
  settings = rigSettings,
  groundOf: (node: SimulatedNode) => Promise<Pick<NodePorts, "store" | "leases" | "bus">> = async ({ ports }) => ports,
): ReadonlyMap<string, Host> {
  const hosts = new Map<string, Host>();
  for (const name of nodes) {
    const node = world.node(name);
    node.boot(async (ports) => {
      const { incarnation } = node;
      const { clock, random, logger, telemetry, hold } = ports;
      const defined = define(ports);
      try {
        const { store: ground, leases, bus } = await groundOf(node);
        const store = noting(ground, `${name}.${incarnation}`, writes);
        const host = new Host({ store, clock, random, leases, bus, logger, telemetry, hold }, defined, settings);
        hosts.set(name, host);
        await host.start();
      } catch (error) {
        // A process that cannot start ends, and whoever watches it starts it again.
        logger.warn(`the host did not start: ${String(error)}`);
        world.after(500, `${name} is started again`, () => {
          if (node.incarnation === incarnation && node.state !== "crashed") node.restart();
        });
      }
    });
  }
  return hosts;
}

function noting(store: ActorStore, owner: string, writes: WriteCall[]): ActorStore {
  return {
    info: store.info,
    read: (key: string) => store.read(key),
    write: async (write: StoreWrite) => {
      const call: WriteCall = { owner, write, outcome: undefined };
      writes.push(call);
      const outcome = await store.write(write);
      call.outcome = outcome.kind;
      return outcome;
    },
    purge: (key: string, expect: Revision, token: Token) => store.purge(key, expect, token),
    list: (options: ListOptions) => store.list(options),
    history: (key: string) => store.history(key),
    watch: (prefix: string, onChange: (change: StoreChange) => void) => store.watch(prefix, onChange),
    ...(store.onLoss !== undefined && { onLoss: store.onLoss.bind(store) }),
    close: () => store.close(),
  };
}

/** Who owns an actor's key, as the host computes it. */
export function partitionOf(world: World, key: string): number {
  return partitionIn(key, world.leases.partitions);
}

/** One attempt of a client, at true times. `id` names the event in the machine's journal. */
export type Attempt = {
  readonly client: string;
  readonly actor: string;
  readonly id: string;
  readonly callMs: number;
  readonly returnMs: number;
  readonly outcome: "acknowledged" | "refused" | "unknown";
  readonly revision?: number;
  readonly receipt?: string;
  readonly isRepetition?: boolean;
  readonly code?: string;
};

export type ClientCommand = {
  readonly actor: string;
  readonly id: string;
  readonly op: "create" | "event" | "barrier";
  /** Input of a create, or the event. */
  readonly value: unknown;
  /** With a key of the caller's; otherwise an automatic one. */
  readonly callersKey: boolean;
};

/** Refusals that say "not now". */
const passing = new Set(["Overloaded", "Stopped", "StoreFull"]);

/** Asks until it has an outcome, always under the same key. It stands outside: it never crashes. */
export class Client {
  readonly name: string;
  readonly #world: World;
  readonly #attempts: Attempt[];
  readonly #sequences: Sequences;
  readonly #ports: NodePorts;
  /** Requests given up one by one after this time. */
  readonly #timeoutMs: number;

  constructor(world: World, name: string, attempts: Attempt[], timeoutMs = 1_500) {
    this.name = name;
    this.#world = world;
    this.#attempts = attempts;
    this.#ports = world.node(name).ports;
    this.#sequences = new Sequences(this.#ports.random);
    this.#timeoutMs = timeoutMs;
  }

  async run(command: ClientCommand): Promise<Attempt> {
    const { actor, id } = command;
    const key: Key = command.callersKey ? { kind: "caller", key: id } : this.#sequences.open(actor);
    // Nobody traces a barrier.
    const span =
      command.op === "barrier"
        ? undefined
        : this.#ports.telemetry.start(`send ${id}`, { kind: "client", attributes: { "holdfast.actor": actor } });
    for (let waitMs = 20; ; waitMs = Math.min(waitMs * 2, 1_000)) {
      const attempt = await this.#attempt(command, key, span?.context);
      if (attempt !== undefined) {
        span?.end();
        this.#sequences.close(actor, key);
        return attempt;
      }
      await this.#world.sleep(waitMs);
    }
  }

  /** Undefined: to be tried again. */
  async #attempt(command: ClientCommand, key: Key, trace: string | undefined): Promise<Attempt | undefined> {
    const { actor, id } = command;
    const callMs = this.#world.nowMs;
    const reply = await this.#ports.bus.request(
      {
        partition: partitionOf(this.#world, actor),
        body: JSON.stringify(bodyOf(command, key)),
        channel: "client",
        ...(trace !== undefined && { trace }),
      },
      this.#timeoutMs,
    );
    const record = (outcome: Attempt["outcome"], more: Partial<Attempt> = {}): Attempt => {
      const attempt = { client: this.name, actor, id, callMs, returnMs: this.#world.nowMs, outcome, ...more };
      this.#attempts.push(attempt);
      return attempt;
    };
    if (reply.kind === "nobody") return undefined;
    const answer: RequestAnswer | undefined = reply.kind === "reply" ? readRequestAnswer(reply.body) : undefined;
    if (answer === undefined || answer.kind === "unknown") {
      record("unknown");
      return undefined;
    }
    switch (answer.kind) {
      case "moved":
        record("refused", { code: "moved" });
        return undefined;
      case "refused": {
        const attempt = record("refused", { code: answer.code });
        return passing.has(answer.code) || answer.code === "Parked" ? undefined : attempt;
      }
      case "receipt":
        return record("acknowledged", {
          revision: answer.revision,
          receipt: `${answer.revision} ${answer.changed}`,
          isRepetition: answer.duplicate,
        });
    }
  }
}

function bodyOf({ actor, op, value }: ClientCommand, key: Key): RequestBody {
  switch (op) {
    case "create":
      return { op, actor, key, input: value as never };
    case "event":
      return { op, actor, key, event: value as never };
    case "barrier":
      return { op, actor };
  }
}
