/**
 * Who may run which partition, granted to sessions that renew every third of a ttl. A node believes what it was told
 * last, through its gate: frozen, cut off or simply never told, it still believes while another has the grant already.
 * L1 tokens grow with every grant. L2 the table has one owner per partition; only beliefs may overlap.
 */
import { type KeysOf, refuseUnknown } from "../../runtime/options.ts";
import type { LeaseChange, Leases } from "../../runtime/ports/leases.ts";
import type { Token } from "../../runtime/ports/store.ts";
import type { RangeMs } from "./dice.ts";
import type { Gate } from "./gate.ts";
import type { Laws } from "./laws.ts";
import type { Channel } from "./loop.ts";

export type LeaseSettings = {
  /** Default 4. */
  readonly partitions?: number;
  /** Default 5,000. */
  readonly ttlMs?: number;
  /** One way between the coordinator and a node. */
  readonly travelMs?: RangeMs;
  /** A node that could not renew for a ttl stops believing by itself. Default false, the meaner world. */
  readonly holderStops?: boolean;
};

const leaseSettings: KeysOf<LeaseSettings> = { partitions: true, ttlMs: true, travelMs: true, holderStops: true };

export type MoveOptions = {
  /** False: the old owner is never told, and believes until its process ends. Default true. */
  readonly tellOldOwner?: boolean;
  /** Until the move happens. Default 0. */
  readonly delayMs?: number;
};

/** For checkers: every grant, in order. */
export type Grant = {
  readonly partition: number;
  readonly token: Token;
  readonly owner: string;
  readonly atMs: number;
};

/** Where the coordinator is on the map of `Links`. */
export const leasePlace = "leases";

/** Long enough that nodes which start together share the partitions. */
const settleMs = 10;

type Session = {
  readonly node: string;
  readonly gate: Gate;
  readonly channel: Channel;
  readonly believed: Map<number, Token>;
  readonly listeners: Set<(change: LeaseChange) => void>;
  /** Tokens whose loss this node is never told of. */
  readonly silenced: Set<string>;
  state: "outside" | "live" | "expired" | "released";
  renewedAtMs: number;
  /** Changes sent and not yet arrived. */
  underWay: number;
};

export class LeaseModel {
  readonly partitions: number;
  readonly ttlMs: number;
  /** The epoch of grants from now on. */
  epoch = 1;
  readonly #laws: Laws;
  readonly #travelMs: RangeMs;
  readonly #holderStops: boolean;
  readonly #sessions: Session[] = [];
  readonly #table = new Map<number, { readonly session: Session; readonly token: Token }>();
  readonly #grants: Grant[] = [];
  #isSharingPlanned = false;

  constructor(laws: Laws, settings: LeaseSettings = {}) {
    refuseUnknown("settings of the leases", settings, leaseSettings, RangeError);
    this.#laws = laws;
    this.partitions = settings.partitions ?? 4;
    this.ttlMs = settings.ttlMs ?? 5_000;
    this.#travelMs = settings.travelMs ?? [0.2, 5];
    this.#holderStops = settings.holderStops ?? false;
  }

  get grants(): readonly Grant[] {
    return this.#grants;
  }

  /** The node that has the grant now, whoever else may believe to. */
  ownerOf(partition: number): string | undefined {
    return this.#table.get(partition)?.session.node;
  }

  /** Every living node that believes to own the partition. */
  believersIn(partition: number): readonly string[] {
    return this.#sessions
      .filter((session) => session.gate.state !== "crashed" && session.believed.has(partition))
      .map((session) => session.node);
  }

  /** Grants the partition to another node (or anew to the same one), which must have joined by `leases.onChange`. */
  move(partition: number, toNode: string, options: MoveOptions = {}): void {
    refuseUnknown("options of move", options, { tellOldOwner: true, delayMs: true }, RangeError);
    const { tellOldOwner = true, delayMs = 0 } = options;
    const move = (): void => {
      const to = this.#sessions.findLast((session) => session.node === toNode && session.state === "live");
      if (to === undefined) throw new Error(`leases: ${toNode} has no session, so partition ${partition} cannot move`);
      const old = this.#table.get(partition);
      this.#laws.loop.note(`leases move ${partition} ${old?.session.gate.owner ?? "nobody"} to ${to.gate.owner}`);
      if (old !== undefined && old.session !== to) {
        if (tellOldOwner) this.#tell(old.session, { kind: "lost", partition });
        else old.session.silenced.add(old.token.join("."));
      }
      this.#grant(partition, to);
    };
    if (delayMs === 0) move();
    else this.#laws.loop.after(delayMs, "leases move", move);
  }

  /** Leases as one incarnation of a node sees them. Its session begins with its first `onChange`. */
  open(node: string, gate: Gate): Leases {
    const session: Session = {
      node,
      gate,
      channel: this.#laws.loop.channel(`leases.change ${gate.owner}`),
      believed: new Map(),
      listeners: new Set(),
      silenced: new Set(),
      state: "outside",
      renewedAtMs: 0,
      underWay: 0,
    };
    this.#sessions.push(session);
    return {
      partitions: this.partitions,
      token: (partition) => session.believed.get(partition),
      onChange: (listener) => {
        session.listeners.add(listener);
        if (session.state === "outside" && gate.state !== "crashed") this.#join(session);
        return () => session.listeners.delete(listener);
      },
      release: () =>
        gate.call(
          "leases.release",
          "",
          () => this.#release(session),
          () => "",
        ),
    };
  }

  #join(session: Session): void {
    session.state = "live";
    session.renewedAtMs = this.#laws.loop.nowMs;
    this.#laws.loop.note(`leases joined ${session.gate.owner}`);
    this.#planRenewal(session);
    this.#planSharing();
  }

  /** The session's own keep-alive: part of the node's process, so it rests while that is frozen, and ends with it. */
  #planRenewal(session: Session): void {
    this.#laws.loop.after(this.ttlMs / 3, `leases renew ${session.gate.owner}`, () => this.#renew(session), {
      background: true,
    });
  }

  #renew(session: Session): void {
    if (session.state === "released") return;
    const { loop } = this.#laws;
    const isOver = loop.nowMs - session.renewedAtMs >= this.ttlMs;
    // The renewal and its answer.
    const canRenew =
      session.gate.state === "running" &&
      this.#passes(session.node, leasePlace) &&
      this.#passes(leasePlace, session.node);
    if (canRenew) {
      session.renewedAtMs = loop.nowMs;
      if (session.state === "expired") {
        session.state = "live";
        loop.note(`leases joined ${session.gate.owner} again`);
        this.#planSharing();
      }
      this.#correct(session);
    } else if (isOver && session.state === "live") {
      this.#expire(session);
    }
    // A crashed one is watched only until its ttl is over.
    if (session.gate.state !== "crashed" || session.state === "live") this.#planRenewal(session);
  }

  #expire(session: Session): void {
    session.state = "expired";
    this.#laws.loop.note(`leases expired ${session.gate.owner}`);
    for (const [partition, owner] of [...this.#table]) if (owner.session === session) this.#table.delete(partition);
    if (this.#holderStops) {
      for (const partition of [...session.believed.keys()]) this.#hear(session, { kind: "lost", partition });
    }
    this.#planSharing();
  }

  #planSharing(): void {
    if (this.#isSharingPlanned) return;
    this.#isSharingPlanned = true;
    this.#laws.loop.after(settleMs, "leases share", () => {
      this.#isSharingPlanned = false;
      this.#share();
    });
  }

  /** Every partition without owner goes to the live session with the fewest. */
  #share(): void {
    for (let partition = 0; partition < this.partitions; partition++) {
      if (this.#table.has(partition)) continue;
      const live = this.#sessions.filter((session) => session.state === "live");
      const [first, ...others] = live;
      if (first === undefined) return;
      this.#grant(
        partition,
        others.reduce((fewest, session) => (this.#sizeOf(session) < this.#sizeOf(fewest) ? session : fewest), first),
      );
    }
  }

  #grant(partition: number, session: Session): void {
    const token: Token = [this.epoch, this.#grants.length + 1];
    this.#table.set(partition, { session, token });
    this.#grants.push({ partition, token, owner: session.gate.owner, atMs: this.#laws.loop.nowMs });
    this.#laws.loop.note(`leases grant ${partition} to ${session.gate.owner} token ${token.join(".")}`);
    this.#tell(session, { kind: "granted", partition, token });
  }

  /** By network, in order. What meets a cut link is lost; the next renewal makes good for it. */
  #tell(session: Session, change: LeaseChange): void {
    session.underWay++;
    session.channel.send(this.#travel(session), () => {
      session.underWay--;
      if (this.#passes(leasePlace, session.node)) this.#hear(session, change);
    });
  }

  #hear(session: Session, change: LeaseChange): void {
    const detail = `${change.kind} ${change.partition}${change.kind === "granted" ? ` ${change.token.join(".")}` : ""}`;
    session.gate.pass("leases.change", detail, () => {
      if (change.kind === "granted") session.believed.set(change.partition, change.token);
      else if (!session.believed.delete(change.partition)) return;
      const token = change.kind === "granted" ? change.token.join(".") : undefined;
      this.#laws.loop.draw?.({ kind: "lease", node: session.node, partition: change.partition, token });
      for (const listener of [...session.listeners]) listener(change);
    });
  }

  /** A renewal answers with what the session really holds. */
  #correct(session: Session): void {
    if (session.underWay > 0) return;
    for (let partition = 0; partition < this.partitions; partition++) {
      const owner = this.#table.get(partition);
      const held = owner?.session === session ? owner.token : undefined;
      const believed = session.believed.get(partition);
      if (held !== undefined && held[1] !== believed?.[1])
        this.#tell(session, { kind: "granted", partition, token: held });
      const isLost = held === undefined && believed !== undefined && !session.silenced.has(believed.join("."));
      if (isLost) this.#tell(session, { kind: "lost", partition });
    }
  }

  async #release(session: Session): Promise<void> {
    await this.#laws.loop.sleep(this.#travel(session), "leases release");
    const wasLive = session.state === "live";
    session.state = "released";
    for (const [partition, owner] of [...this.#table]) if (owner.session === session) this.#table.delete(partition);
    for (const partition of [...session.believed.keys()]) this.#hear(session, { kind: "lost", partition });
    if (wasLive) this.#planSharing();
    await this.#laws.loop.sleep(this.#travel(session), "leases released");
  }

  #sizeOf(session: Session): number {
    let size = 0;
    for (const owner of this.#table.values()) if (owner.session === session) size++;
    return size;
  }

  #travel(session: Session): number {
    return this.#laws.dice.at(`leases/${session.node}/travel`).ms(this.#travelMs);
  }

  /** What is late here is as good as lost: the next renewal is under way before it. */
  #passes(from: string, to: string): boolean {
    const way = this.#laws.links.pass(from, to);
    return way.kind === "passes" && way.extraMs < this.ttlMs / 3;
  }
}
