/**
 * Requests between nodes as a network makes of them: late, lost, repeated, answered by whoever believes to own the
 * partition when they arrive. Start reading at `request`.
 */

import { hashText } from "../../runtime/hash.ts";
import { type KeysOf, refuseUnknown } from "../../runtime/options.ts";
import type { Bus, BusReply, BusRequest } from "../../runtime/ports/bus.ts";
import type { Leases } from "../../runtime/ports/leases.ts";
import type { RangeMs } from "./dice.ts";
import { FaultPlan } from "./fault-plan.ts";
import type { Gate } from "./gate.ts";
import type { Laws } from "./laws.ts";

/** What can happen to a request. */
export type RequestFault =
  | "lose-request"
  /** It was handled; nobody hears of it. */
  | "lose-reply"
  /** Handled twice, the second time soon after. */
  | "duplicate"
  /** Handled twice, the second time minutes later, by whoever owns the partition then. */
  | "duplicate-late"
  /** Handled once, minutes later, when nobody waits any more. */
  | "late"
  /** `nobody`, although there is an owner: it is not reachable. */
  | "nobody";

/** What can happen to one published event on its way to one node. */
export type PublishFault = "lose" | "duplicate" | "duplicate-late";

export type BusSettings = {
  readonly travelMs?: RangeMs;
  /** Of what comes late. */
  readonly lateMs?: RangeMs;
};

const busSettings: KeysOf<BusSettings> = { travelMs: true, lateMs: true };

type Endpoint = {
  readonly node: string;
  readonly gate: Gate;
  readonly leases: Leases;
  readonly topics: Map<string, Set<(body: string, id: string) => void>>;
  handler: ((request: BusRequest) => Promise<string>) | undefined;
};

export class BusModel {
  readonly requestFaults: FaultPlan<RequestFault>;
  readonly publishFaults: FaultPlan<PublishFault>;
  readonly #laws: Laws;
  readonly #travelMs: RangeMs;
  readonly #lateMs: RangeMs;
  readonly #endpoints: Endpoint[] = [];

  constructor(laws: Laws, settings: BusSettings = {}) {
    refuseUnknown("settings of the bus", settings, busSettings, RangeError);
    this.#laws = laws;
    this.#travelMs = settings.travelMs ?? [0.2, 5];
    this.#lateMs = settings.lateMs ?? [60_000, 600_000];
    this.requestFaults = new FaultPlan("bus/request", laws.dice);
    this.publishFaults = new FaultPlan("bus/publish", laws.dice);
  }

  faultsOff(): void {
    this.requestFaults.off();
    this.publishFaults.off();
  }

  /** The bus as one incarnation of a node sees it; `leases` says what this incarnation believes to own. */
  open(node: string, gate: Gate, leases: Leases): Bus {
    const endpoint: Endpoint = { node, gate, leases, topics: new Map(), handler: undefined };
    this.#endpoints.push(endpoint);
    gate.onCrash(() => {
      this.#endpoints.splice(this.#endpoints.indexOf(endpoint), 1);
    });
    return {
      request: (request, timeoutMs) => {
        const detail = `${request.partition} ${hashText(request.body)}`;
        return gate.call("bus.request", detail, () => this.#request(node, request, timeoutMs), describeReply);
      },
      serve: (handler) => {
        if (endpoint.handler !== undefined) throw new Error(`bus: ${gate.owner} serves already`);
        endpoint.handler = handler;
        return () => {
          if (endpoint.handler === handler) endpoint.handler = undefined;
        };
      },
      publish: (topic, body, id) => {
        const detail = `${topic} ${id} ${hashText(body)}`;
        return gate.call(
          "bus.publish",
          detail,
          () => this.#publish(node, topic, body, id),
          () => "",
        );
      },
      subscribe: (topic, listener) => {
        const listeners = endpoint.topics.get(topic) ?? new Set();
        endpoint.topics.set(topic, listeners.add(listener));
        return () => listeners.delete(listener);
      },
    };
  }

  #request(from: string, request: BusRequest, timeoutMs: number): Promise<BusReply> {
    const { partition } = request;
    const { loop, dice } = this.#laws;
    const travel = dice.at(`bus/${from}/travel`);
    const late = dice.at(`bus/${from}/late`);
    const travelMs = travel.ms(this.#travelMs);
    const answerMs = travel.ms(this.#travelMs);
    const fault = this.requestFaults.draw({ node: from, subject: String(partition) });
    if (fault !== undefined) loop.note(`bus ${from} to ${partition}: fault ${fault}`);
    return new Promise<BusReply>((resolve) => {
      const giveUp = loop.after(timeoutMs, `bus.request ${from} times out`, () => resolve({ kind: "timeout" }));
      const answer = (reply: BusReply): void => {
        if (fault === "lose-reply") return;
        loop.after(answerMs, `bus.request ${from} answered`, () => {
          giveUp();
          resolve(reply);
        });
      };
      const arrive = (delayMs: number): void => {
        const sentMs = loop.nowMs;
        loop.after(delayMs, `bus.request ${from} arrives`, () => this.#handle(from, request, sentMs, answer));
      };
      if (fault === "nobody") answer({ kind: "nobody" });
      else if (fault === "late") arrive(late.ms(this.#lateMs));
      else if (fault !== "lose-request") arrive(travelMs);
      if (fault === "duplicate") arrive(travelMs + travel.ms(this.#travelMs));
      if (fault === "duplicate-late") arrive(late.ms(this.#lateMs));
    });
  }

  /** Given to one of those who serve the partition; two may believe to own it. */
  #handle(from: string, request: BusRequest, sentMs: number, answer: (reply: BusReply) => void): void {
    const { partition } = request;
    const { loop, dice, links } = this.#laws;
    const owners = this.#endpoints.filter(
      (endpoint) => endpoint.handler !== undefined && endpoint.leases.token(partition) !== undefined,
    );
    if (owners.length === 0) {
      loop.note(`bus ${from} to ${partition}: nobody`);
      answer({ kind: "nobody" });
      return;
    }
    const owner = dice.at(`bus/${from}/owner`).pick(owners);
    const way = links.pass(from, owner.node);
    const draw = (lost = false) =>
      loop.draw?.({ kind: "message", from, to: owner.node, sentMs, label: labelOf(request), ...(lost && { lost }) });
    if (way.kind === "lost") {
      draw(true);
      return;
    }
    const serve = (): void => {
      draw();
      this.#serve(owner, from, request, answer);
    };
    const reach = (delayMs: number): void => {
      if (delayMs === 0) serve();
      else loop.after(delayMs, `bus.request ${from} delayed`, serve);
    };
    reach(way.extraMs);
    if (way.copyAfterMs !== undefined) reach(way.copyAfterMs);
  }

  #serve(owner: Endpoint, from: string, request: BusRequest, answer: (reply: BusReply) => void): void {
    const { loop, links } = this.#laws;
    const { partition, body } = request;
    const detail = `${partition} from ${from} ${hashText(body)}`;
    owner.gate.pass("bus.serve:request", detail, () => {
      // Stopped while the request was held: the connection is gone, so nobody answers.
      const handled = owner.handler?.(request);
      handled?.then(
        (reply) =>
          owner.gate.pass("bus.serve:reply", `${partition} to ${from} ${hashText(reply)}`, () => {
            const back = links.pass(owner.node, from);
            const lost = back.kind === "lost";
            loop.draw?.({ kind: "message", from: owner.node, to: from, sentMs: loop.nowMs, label: "reply", lost });
            if (lost) return;
            if (back.extraMs === 0) answer({ kind: "reply", body: reply });
            else loop.after(back.extraMs, `bus.reply ${from} delayed`, () => answer({ kind: "reply", body: reply }));
          }),
        (error: unknown) => loop.note(`bus ${owner.gate.owner} failed to answer: ${String(error)}`),
      );
    });
  }

  async #publish(from: string, topic: string, body: string, id: string): Promise<void> {
    const { loop, dice, links } = this.#laws;
    for (const endpoint of [...this.#endpoints]) {
      const pace = dice.at(`bus/${from}/publish/${endpoint.node}`);
      const travelMs = pace.ms(this.#travelMs);
      const fault = this.publishFaults.draw({ node: endpoint.node, subject: topic });
      const way = links.pass(from, endpoint.node);
      if (fault === "lose" || way.kind === "lost") continue;
      const arrive = (delayMs: number): void => {
        loop.after(delayMs, `bus.publish ${topic} to ${endpoint.node}`, () => hear(endpoint, topic, body, id));
      };
      arrive(travelMs + way.extraMs);
      if (way.copyAfterMs !== undefined) arrive(travelMs + way.copyAfterMs);
      if (fault === "duplicate") arrive(travelMs + pace.ms(this.#travelMs));
      if (fault === "duplicate-late") arrive(dice.at(`bus/${from}/late`).ms(this.#lateMs));
    }
    await loop.sleep(dice.at(`bus/${from}/travel`).ms(this.#travelMs), "bus.publish accepted");
  }
}

/** Nodes and clients alike write the operation first. */
function labelOf({ body }: BusRequest): string {
  return /"type":"([^"]+)"/.exec(body)?.[1] ?? /^\{"op":"(\w+)"/.exec(body)?.[1] ?? "request";
}

function hear(endpoint: Endpoint, topic: string, body: string, id: string): void {
  if ((endpoint.topics.get(topic)?.size ?? 0) === 0) return;
  endpoint.gate.pass("bus.subscribe:event", `${topic} ${id}`, () => {
    for (const listener of [...(endpoint.topics.get(topic) ?? [])]) listener(body, id);
  });
}

function describeReply(reply: BusReply): string {
  return reply.kind === "reply" ? `reply ${hashText(reply.body)}` : reply.kind;
}
