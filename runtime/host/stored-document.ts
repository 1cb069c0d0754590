/**
 * One actor's document in the store, as its owner last knew it: read, proven to be the latest, replaced, removed. A write
 * ends as `commit` tells; what follows from that is the cell's to decide.
 */
import { hashText } from "../hash.ts";
import type { Limits } from "../limits.ts";
import type { Clock } from "../ports/clock.ts";
import type { Hold } from "../ports/fault-points.ts";
import type { Logger } from "../ports/logger.ts";
import { type ActorStore, compareTokens, type Revision, type StoredEntry, type Token } from "../ports/store.ts";
import { type Actor, dueMs, type Reply, type Step } from "../step.ts";
import { type CommitPorts, type CommitResult, commit, pause } from "./commit.ts";
import type { Waiting } from "./mailbox.ts";
import type { PendingSlot } from "./pending-index.ts";
import type { HostSettings } from "./settings.ts";
import type { TurnSpans } from "./turn-spans.ts";

export type StoredDocumentEnv = {
  readonly store: ActorStore;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly hold: Hold | undefined;
  readonly settings: HostSettings;
  readonly token: (partition: number) => Token | undefined;
  /** A write was confirmed: the host watches that revisions only grow. Answers whether they do. */
  readonly confirmed: (key: string, sentAbove: Revision, revision: Revision) => boolean;
  readonly highestConfirmed: (key: string) => Revision;
  readonly count: (what: "commits" | "evictedKeys") => void;
};

/** Whose document it is: the cell. */
export type DocumentOwner = {
  readonly key: string;
  readonly partition: number;
  readonly definition: { readonly limits: Limits };
  readonly slot: PendingSlot;
  /** The actor is not run here any more, whatever the lease says. */
  readonly isClosed: boolean;
};

export class StoredDocument {
  readonly #env: StoredDocumentEnv;
  readonly #owner: DocumentOwner;
  /** The revision that the next write expects; 0: there is no document. */
  revision: Revision = 0;
  /** The bound of the next steps: one byte less than the store refused, although it had promised more. */
  mostBytes: number | undefined;

  constructor(env: StoredDocumentEnv, owner: DocumentOwner) {
    this.#env = env;
    this.#owner = owner;
  }

  /** What a write, and whatever else is done under this token, needs of the world. */
  ports(token: Token): CommitPorts {
    const { store, clock, settings, hold } = this.#env;
    const mayAct = () => {
      const now = this.#env.token(this.#owner.partition);
      return !this.#owner.isClosed && now !== undefined && compareTokens(now, token) === 0;
    };
    return { store, clock, settings, mayAct, hold };
  }

  /** Repeats until the store answers, or the right to run the actor is gone. */
  async read(token: Token): Promise<StoredEntry | undefined | "abandoned"> {
    const { key } = this.#owner;
    let waitMs = this.#env.settings.settleFirstMs;
    for (;;) {
      try {
        return await this.#env.store.read(key);
      } catch (error) {
        this.#env.logger.warn("the store could not be read; trying again", { actor: key, error });
      }
      if (!this.ports(token).mayAct()) return "abandoned";
      await pause(this.#env.clock, waitMs);
      waitMs = Math.min(waitMs * 2, this.#env.settings.settleMaxMs);
    }
  }

  /** "written": what is known here is still the latest. */
  async prove(token: Token): Promise<CommitResult> {
    const entry = await this.read(token);
    if (entry === "abandoned") return { kind: "abandoned" };
    return (entry?.revision ?? 0) === this.revision
      ? { kind: "written", revision: this.revision }
      : { kind: "superseded" };
  }

  /** Nothing to write. What was concluded from the actor as we know it is true only if it is still the latest. */
  async unchanged(result: Step, taken: readonly Waiting[], token: Token): Promise<CommitResult> {
    const needsProof = result.replies.some((reply, index) => isConclusion(reply, taken[index] as Waiting));
    return needsProof ? this.prove(token) : { kind: "written", revision: this.revision };
  }

  /** An index entry for what is pending is confirmed first (I1), then the document replaced. */
  async commit(
    actor: Actor,
    text: string,
    token: Token,
    id: string,
    spans: TurnSpans | undefined,
  ): Promise<CommitResult> {
    const { key, slot } = this.#owner;
    const ports = this.ports(token);
    const due = dueMs(actor);
    if (due !== undefined) {
      const ready = await slot.ensure(ports, due, token, id);
      if (ready.kind !== "ready" && ready.kind !== "written") return ready;
    }
    const trace = actor.head?.trace;
    const header = { commit: id, hash: hashText(text), ...(trace !== undefined && { trace }) };
    spans?.committing(id, text.length);
    const sentAbove = this.#env.highestConfirmed(key);
    const result = await commit(ports, { key, value: text, header, expect: this.revision, token });
    if (result.kind !== "written") return result;
    this.mostBytes = undefined;
    if (!this.#env.confirmed(key, sentAbove, result.revision)) return { kind: "abandoned" };
    actor.base = text;
    this.revision = result.revision;
    this.#env.count("commits");
    this.#reportEvictions(actor);
    this.#reportSize(text);
    return result;
  }

  /** Removes the document. */
  async purge(token: Token): Promise<CommitResult> {
    const outcome = await this.#env.store.purge(this.#owner.key, this.revision, token);
    if (outcome.kind === "written" || outcome.kind === "refused") return outcome;
    // Whatever it was, the next look at the key tells.
    return { kind: "superseded" };
  }

  /** R5: a key that was forgotten before its time is reported. */
  #reportEvictions(actor: Actor): void {
    const { evictedEarly } = actor.window;
    if (evictedEarly === 0) return;
    actor.window.evictedEarly = 0;
    for (let index = 0; index < evictedEarly; index++) this.#env.count("evictedKeys");
    this.#env.logger.warn(
      `${evictedEarly} idempotency keys were forgotten before their time: raise limits.keys or limits.clients`,
      { actor: this.#owner.key, storeRevision: this.revision },
    );
  }

  #reportSize(text: string): void {
    const { key, definition } = this.#owner;
    const { warnBytes, documentBytes } = definition.limits;
    if (text.length < warnBytes) return;
    this.#env.logger.warn(`a document of ${text.length} characters; refused above ${documentBytes} bytes`, {
      actor: key,
      storeRevision: this.revision,
    });
  }
}

/** Whether an answer rests on the whole state of the actor, so that a later commit could make it wrong. */
function isConclusion(reply: Reply, { input, answer }: Waiting): boolean {
  switch (reply.kind) {
    case "refused":
      return (
        reply.error.code !== "UnknownEvent" && reply.error.code !== "KeyReused" && reply.error.code !== "Overloaded"
      );
    case "message":
      return reply.dead.length > 0;
    case "park":
      return true;
    case "done":
      return input.kind === "claim" && answer !== undefined;
    default:
      return false;
  }
}
