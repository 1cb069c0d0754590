/**
 * The person who runs a cluster, by the guide: asks members for changes until the list of members shows them, replaces who is
 * dead, and begins a lost cluster anew from one survivor. Start reading at `order`. At most one voter is dead at a time, but for
 * those whose disks rotted; whoever judges must keep those a minority.
 */
import type { Member } from "../../coordinator/backends/raft/member.ts";
import type { ManageOutcome } from "../../coordinator/backends/raft/membership.ts";
import type { Wish } from "../../coordinator/backends/raft/wire.ts";
import type { MemberId } from "../../coordinator/ports/peers.ts";

export type Deed =
  | { readonly kind: "add" | "remove" | "transfer"; readonly id: MemberId }
  /** The dead one is killed for this, unless its disk is rotten: then it is dead already. */
  | { readonly kind: "replace"; readonly dead: MemberId; readonly id: MemberId }
  /** All but the survivor are lost, and the fresh ones are added to it. */
  | {
      readonly kind: "recover";
      readonly survivor: MemberId;
      readonly fresh: readonly MemberId[];
      /** The lost ones run again after this time, as nobody should let them. Missing: never. */
      readonly backAfterMs?: number;
    };

export type OperatorGround = {
  after(delayMs: number, run: () => void): void;
  note(what: string): void;
  leader(): Member | undefined;
  /** Asks somebody who runs; undefined while nobody does. */
  ask(wish: Wish): Promise<ManageOutcome> | undefined;
  /** Its process and its disk are gone for good. */
  kill(id: MemberId): void;
  recover(deed: Extract<Deed, { kind: "recover" }>): void;
};

export const addressOf = (id: MemberId) => `n${id}:7000`;
const lookEveryMs = 200;
/** An answer that has not come by then never will: who was asked may have crashed. */
const answerWithinMs = 2_500;
/** A learner that is not a voter yet is asked for again. */
const isForNow = /ask again|no leader is known|^this member is|is a member already/;

export class Operator {
  readonly #ground: OperatorGround;
  /** Deeds that are not done. */
  readonly #underWay = new Set<Deed>();
  /** Ids that were ever asked for, and those that were asked out. */
  readonly #given = new Set<MemberId>();
  readonly #out = new Set<MemberId>();
  #isOver = false;

  constructor(ground: OperatorGround) {
    this.#ground = ground;
  }

  get isIdle(): boolean {
    return this.#underWay.size === 0;
  }

  get underWay(): readonly Deed[] {
    return [...this.#underWay];
  }

  /** It may find that the cluster goes on without it. */
  isOut(id: MemberId): boolean {
    return this.#out.has(id);
  }

  order(deed: Deed): void {
    if (this.#isOver || !this.#isSensible(deed)) return;
    this.#ground.note(`the operator begins: ${JSON.stringify(deed)}`);
    switch (deed.kind) {
      case "add":
        this.#given.add(deed.id);
        return this.#insist(deed, { kind: "add", id: deed.id, address: addressOf(deed.id), replaces: 0 });
      case "remove":
        this.#out.add(deed.id);
        return this.#insist(deed, { kind: "remove", id: deed.id });
      case "transfer":
        return this.#insist(deed, { kind: "transfer", id: deed.id });
      case "replace":
        this.#given.add(deed.id);
        this.#out.add(deed.dead);
        this.#ground.kill(deed.dead);
        return this.#insist(deed, { kind: "add", id: deed.id, address: addressOf(deed.id), replaces: deed.dead });
      case "recover":
        this.#underWay.clear();
        this.#given.clear();
        this.#ground.recover(deed);
        for (const id of deed.fresh) this.order({ kind: "add", id });
        // What was ordered was meant for the cluster that is lost.
        return this.beginNothingMore();
    }
  }

  /** In the place of one whose disk has lost its votes. */
  replaceRotten(dead: MemberId, id: MemberId): void {
    this.#out.add(dead);
    this.#given.add(id);
    this.#ground.kill(dead);
    const deed = { kind: "replace", dead, id } as const;
    this.#insist(deed, { kind: "add", id, address: addressOf(id), replaces: dead });
  }

  /** Nothing new from now on; what is under way is brought to its end. */
  beginNothingMore(): void {
    this.#isOver = true;
  }

  #isSensible(deed: Deed): boolean {
    const replacing = [...this.#underWay].flatMap((one) => (one.kind === "replace" ? [one] : []));
    switch (deed.kind) {
      case "add":
        return !this.#given.has(deed.id);
      case "remove":
        return replacing.every(({ dead, id }) => dead !== deed.id && id !== deed.id);
      case "transfer":
        return true;
      case "replace": {
        const isVoter = this.#views().some(({ id, role }) => id === deed.dead && role === "voter");
        return !this.#given.has(deed.id) && !this.#out.has(deed.dead) && replacing.length === 0 && isVoter;
      }
      case "recover":
        return !this.#out.has(deed.survivor);
    }
  }

  #insist(deed: Deed, wish: Wish): void {
    this.#underWay.add(deed);
    const end = (why: string) => {
      this.#underWay.delete(deed);
      this.#ground.note(`the operator ends ${JSON.stringify(deed)}: ${why}`);
    };
    const again = () => {
      // Of a cluster that was given up since.
      if (!this.#underWay.has(deed)) return;
      if (this.#isShown(deed)) return end("done");
      let isAnswered = false;
      const look = (outcome: ManageOutcome): void => {
        if (isAnswered || !this.#underWay.has(deed)) return;
        isAnswered = true;
        if (outcome.kind === "refused" && !isForNow.test(outcome.reason)) return end(outcome.reason);
        if (deed.kind === "transfer") return end(outcome.kind);
        this.#ground.after(lookEveryMs, again);
      };
      void this.#ground.ask(wish)?.then(look);
      this.#ground.after(answerWithinMs, () => look({ kind: "unknown" }));
    };
    again();
  }

  /** By the list of members, at whoever leads. */
  #isShown(deed: Deed): boolean {
    const views = this.#views();
    const isListed = (id: MemberId) => views.some((view) => view.id === id);
    if (views.length === 0) return false;
    if (deed.kind === "add") return isListed(deed.id);
    if (deed.kind === "remove") return !isListed(deed.id);
    if (deed.kind === "replace") return isListed(deed.id) && !isListed(deed.dead);
    return false;
  }

  #views() {
    return this.#ground.leader()?.members() ?? [];
  }
}
