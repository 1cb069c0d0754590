/**
 * Frames between the members of a cluster, over the world's links: late, lost, repeated, overtaken. A frame that is under
 * way when its receiver crashes is lost; a new incarnation hears only what is sent to it.
 */

import type { MemberId, Peers } from "../../coordinator/ports/peers.ts";
import { hashText } from "../../runtime/hash.ts";
import { type KeysOf, refuseUnknown } from "../../runtime/options.ts";
import type { RangeMs } from "./dice.ts";
import type { Gate } from "./gate.ts";
import type { Laws } from "./laws.ts";

export type PeersSettings = {
  readonly travelMs?: RangeMs;
  /** Frames under way to one member; more are dropped. */
  readonly queueLength?: number;
};

const peersSettings: KeysOf<PeersSettings> = { travelMs: true, queueLength: true };

type Member = {
  readonly gate: Gate;
  readonly node: string;
  readonly handlers: Set<(from: MemberId, frame: Uint8Array) => void>;
  underWay: number;
};

export class PeersModel {
  /** Frames that did not fit a queue. */
  dropped = 0;
  readonly #laws: Laws;
  readonly #travelMs: RangeMs;
  readonly #queueLength: number;
  readonly #members = new Map<MemberId, Member>();

  constructor(laws: Laws, settings: PeersSettings = {}) {
    refuseUnknown("settings of the peers", settings, peersSettings, RangeError);
    this.#laws = laws;
    this.#travelMs = settings.travelMs ?? [0.2, 5];
    this.#queueLength = settings.queueLength ?? 1_000;
  }

  /** This incarnation of a node as a member. It takes the place of an earlier one of the same id. */
  open(self: MemberId, node: string, gate: Gate): Peers {
    const member: Member = { gate, node, handlers: new Set(), underWay: 0 };
    this.#members.set(self, member);
    gate.onCrash(() => {
      if (this.#members.get(self) === member) this.#members.delete(self);
    });
    return {
      self,
      send: (to, frame) => {
        const copy = frame.slice();
        gate.pass("peers.send", `${to} ${describe(copy)}`, () => this.#send(self, member, to, copy));
      },
      receive: (handler) => {
        member.handlers.add(handler);
        return () => member.handlers.delete(handler);
      },
    };
  }

  #send(from: MemberId, sender: Member, to: MemberId, frame: Uint8Array): void {
    const receiver = this.#members.get(to);
    if (receiver === undefined) return;
    const { loop, dice, links } = this.#laws;
    if (receiver.underWay >= this.#queueLength) {
      this.dropped++;
      return;
    }
    const travelMs = dice.at(`peers/${sender.node}/${receiver.node}`).ms(this.#travelMs);
    const way = links.pass(sender.node, receiver.node);
    if (way.kind === "lost") return;
    const arrive = (delayMs: number): void => {
      receiver.underWay++;
      const sentMs = loop.nowMs;
      loop.after(delayMs, `peers ${sender.node} to ${receiver.node}`, () => {
        receiver.underWay--;
        // A cut takes what is under way with it.
        if (links.isCut(sender.node, receiver.node)) return;
        loop.draw?.({ kind: "message", from: sender.node, to: receiver.node, sentMs, label: "frame" });
        receiver.gate.pass("peers.receive", `${from} ${describe(frame)}`, () => {
          for (const handler of [...receiver.handlers]) handler(from, frame);
        });
      });
    };
    arrive(travelMs + way.extraMs);
    if (way.copyAfterMs !== undefined) arrive(travelMs + way.copyAfterMs);
  }
}

function describe(frame: Uint8Array): string {
  return `${frame.length} ${hashText(String.fromCharCode(...frame.subarray(0, 4_096)))}`;
}
