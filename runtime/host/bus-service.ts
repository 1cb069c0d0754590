/**
 * What other nodes and callers elsewhere ask of this one over the bus: requests for its actors, messages between actors,
 * and what is settled of them. Also asks that itself, for marks that have grown old.
 */
import type { Settlement } from "../inbox.ts";
import { parseActorKey } from "../keys.ts";
import type { Event } from "../machine/internals.ts";
import { Tree } from "../machine/tree.ts";
import type { Bus, BusRequest } from "../ports/bus.ts";
import type { Leases } from "../ports/leases.ts";
import type { Logger } from "../ports/logger.ts";
import type { ActorStore } from "../ports/store.ts";
import { isTraceparent } from "../ports/telemetry.ts";
import type { Input } from "../step.ts";
import type { Cell } from "./cell.ts";
import type { Interventions } from "./interventions.ts";
import type { Messenger } from "./messenger.ts";
import type { Outcome } from "./outcome.ts";
import type { HostSettings } from "./settings.ts";
import {
  type Body,
  channelOf,
  type MessageAnswer,
  type MessageBody,
  type RequestAnswer,
  type RequestBody,
  readBody,
  readSettlement,
} from "./wire.ts";

export type BusServiceEnv = {
  readonly store: ActorStore;
  readonly bus: Bus;
  readonly leases: Leases;
  readonly logger: Logger;
  readonly settings: HostSettings;
  readonly messenger: Messenger;
  readonly interventions: Interventions;
  readonly state: () => "new" | "running" | "draining" | "stopped";
  readonly partitionOf: (key: string) => number;
  /** Undefined: this node has no actor type for it. */
  readonly cell: (key: string) => Cell | undefined;
};

export class BusService {
  readonly #env: BusServiceEnv;
  /** Types of existing actors that this node owns and cannot run; each was complained of. */
  readonly #unknownTypes = new Set<string>();

  constructor(env: BusServiceEnv) {
    this.#env = env;
  }

  // ---- requests ----

  /** Answers what was asked, or that this node may not run the actor (any more). */
  async serve({ partition, body: text, channel, trace: given }: BusRequest): Promise<string> {
    const trace = isTraceparent(given) ? given : undefined;
    const body = readBody(text);
    if (body === undefined)
      return answer({ kind: "refused", code: "InvalidRequest", message: "the request cannot be read" });
    if (channelOf(body.op) !== channel)
      return answer({
        kind: "refused",
        code: "InvalidRequest",
        message: `${body.op} is not asked for as a ${channel}`,
      });
    if (this.#env.leases.token(partition) === undefined || this.#env.state() === "stopped")
      return answer({ kind: "moved" });
    // Whoever asks from another node goes on looking for an owner, unless this one still hands its partitions over.
    const isServing =
      this.#env.state() === "running" || (this.#env.state() === "draining" && this.#env.leases.drain !== undefined);
    const needsHost = body.op !== "settled" && body.op !== "ask" && body.op !== "message";
    if (needsHost && !isServing) return answer({ kind: "moved" });
    switch (body.op) {
      case "message":
        return JSON.stringify(await this.#message(body, trace));
      case "settled":
        this.#env.cell(body.actor)?.later({ kind: "settled", settlement: body.settlement });
        return answer({ kind: "receipt", revision: 0, changed: false, duplicate: false });
      case "ask":
        return JSON.stringify((await this.#settlementFor(body)) ?? { kind: "moved" });
      case "purge":
        return answer(toAnswer(await this.#env.interventions.purge(body.actor, body.force)));
      case "resume":
        return answer(toAnswer(await this.#env.interventions.resume(body.actor, body.mode)));
      default:
        return answer(toAnswer(await this.#asked(body.actor, inputOf(body), trace)));
    }
  }

  async #message(body: MessageBody, trace: string | undefined): Promise<MessageAnswer> {
    if (this.#env.state() !== "running") return { kind: "later" };
    const cell = this.#env.cell(body.actor);
    if (cell === undefined) return this.#messageOfUnknownType(body);
    if (body.settlement !== undefined) cell.later({ kind: "settled", settlement: body.settlement });
    const codec = Tree.codec({});
    const items = body.items.map(({ n, event }) => ({ n, event: codec.decodeValue(event) as Event }));
    const sender = { ...body.sender, partition: this.#env.partitionOf(body.sender.key) };
    const { number, life } = body;
    const outcome = await offered(cell, { kind: "message", sender, number, life, items }, trace);
    if (outcome.kind !== "reply") return { kind: "later" };
    const { reply } = outcome;
    return reply.kind === "message" || reply.kind === "renumber" || reply.kind === "life" ? reply : { kind: "later" };
  }

  /** In a rolling deploy the type may be known to other nodes: only what does not exist makes a dead letter. */
  async #messageOfUnknownType(body: MessageBody): Promise<MessageAnswer> {
    const { store, logger } = this.#env;
    const name = parseActorKey(body.actor);
    let exists: boolean;
    try {
      exists = name !== undefined && (await store.read(body.actor)) !== undefined;
    } catch {
      return { kind: "later" };
    }
    if (name === undefined || !exists) {
      const reason = `${body.actor} does not exist, and this node has no actor type for it`;
      return { kind: "message", upTo: 0, dead: body.items.map(({ n }) => ({ n, reason })) };
    }
    if (!this.#unknownTypes.has(name.type)) {
      this.#unknownTypes.add(name.type);
      logger.warn(
        `messages to actors of type ${name.type} wait in their senders: this node owns some of these actors and has no such type; run the version that has it`,
        { actor: body.actor },
      );
    }
    return { kind: "later" };
  }

  async #asked(key: string, input: Input, trace: string | undefined): Promise<Outcome> {
    const cell = this.#env.cell(key);
    return cell === undefined ? { kind: "moved" } : offered(cell, input, trace);
  }

  // ---- settling marks ----

  /** Asks the owners of these senders what is settled, on behalf of the receiver. */
  ask(cell: Cell, senders: readonly { key: string; born: string; upTo: number }[]): void {
    const byPartition = new Map<number, { key: string; born: string; upTo: number }[]>();
    for (const sender of senders) {
      const partition = this.#env.partitionOf(sender.key);
      byPartition.set(partition, [...(byPartition.get(partition) ?? []), sender]);
    }
    for (const [partition, some] of byPartition) {
      const body = JSON.stringify({ op: "ask", actor: cell.key, senders: some.slice(0, 100) });
      void this.#env.bus
        .request({ partition, body, channel: "node" }, this.#env.settings.messageTimeoutMs)
        .then((reply) => {
          const settlement = reply.kind === "reply" ? readSettlement(reply.body) : undefined;
          if (settlement !== undefined) cell.later({ kind: "settled", settlement });
        });
    }
  }

  /** What the asked senders have settled: each is claimed first, so that what its document says is final (R3). */
  async #settlementFor(body: Extract<Body, { op: "ask" }>): Promise<Settlement | undefined> {
    const settled: Settlement["senders"][number][] = [];
    let partition: number | undefined;
    for (const sender of body.senders) {
      partition = this.#env.partitionOf(sender.key);
      const cell = this.#env.cell(sender.key);
      if (cell === undefined) continue;
      if (await cell.askSettled(body.actor, sender)) settled.push(sender);
    }
    return partition === undefined ? undefined : this.#env.messenger.settlement(partition, body.actor, settled);
  }
}

function inputOf(body: Exclude<RequestBody, { op: "purge" | "resume" }>): Input {
  const codec = Tree.codec({});
  switch (body.op) {
    case "create":
      return {
        kind: "create",
        key: body.key,
        input: body.input === undefined ? undefined : codec.decodeValue(body.input),
        ...(body.event !== undefined && { event: codec.decodeValue(body.event) as Event }),
      };
    case "event":
      return { kind: "event", key: body.key, event: codec.decodeValue(body.event) as Event };
    case "delete":
      return { kind: "delete", key: body.key };
    case "barrier":
      return { kind: "barrier" };
  }
}

function toAnswer(outcome: Outcome): RequestAnswer {
  switch (outcome.kind) {
    case "moved":
    case "unknown":
      return outcome;
    case "failed":
      return { kind: "refused", code: outcome.code, message: outcome.message };
    case "reply": {
      const { reply } = outcome;
      if (reply.kind === "receipt") return { kind: "receipt", ...reply.receipt, duplicate: reply.duplicate };
      if (reply.kind === "refused")
        return { kind: "refused", code: reply.error.code as never, message: reply.error.message };
      return { kind: "receipt", revision: 0, changed: false, duplicate: false };
    }
  }
}

function offered(cell: Cell, input: Input, trace: string | undefined): Promise<Outcome> {
  return new Promise((resolve) => cell.offer(input, resolve, trace));
}

function answer(value: RequestAnswer): string {
  return JSON.stringify(value);
}
