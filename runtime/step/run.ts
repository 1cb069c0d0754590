/**
 * One step in the making: what it has noted as causes, what it has ordered, and whether it must be committed. The handlers
 * of the inputs, in the files beside this one, work on it; everything that the machine does goes through `inTree`.
 */
import type { Cause } from "../document.ts";
import type { Json } from "../machine/codec.ts";
import type { Event } from "../machine/internals.ts";
import type { Collected, Sid } from "../machine/system.ts";
import { Tree } from "../machine/tree.ts";
import type { Adaptation } from "../migration.ts";
import { actionItem, type OutboxItem } from "../outbox.ts";
import { describeKey, type Key } from "../window.ts";
import type { Actor, Head } from "./actor.ts";
import { documentText } from "./document-text.ts";
import type { StepContext } from "./input.ts";
import type { Order, Reply, Step } from "./output.ts";

export class Run {
  readonly actor: Actor;
  readonly context: StepContext;
  readonly #causes: string[] = [];
  readonly #orders: Order[] = [];
  /** The time of this step: never before the document's own, unless that is more than 5 s ahead of our clock. */
  readonly nowMs: number;
  /** The number that the commit will have. */
  readonly seq: number;
  /** There is something to commit, also where no cause was noted (S1). */
  commits = false;
  /** The document is to be removed: nothing of a later input could be kept. */
  removes = false;

  constructor(actor: Actor, context: StepContext) {
    this.actor = actor;
    this.context = context;
    const at = actor.head?.atMs ?? 0;
    this.nowMs = Math.max(context.nowMs, Math.min(at, context.nowMs + 5_000));
    this.seq = (actor.head?.seq ?? 0) + 1;
  }

  order(order: Order): void {
    this.#orders.push(order);
  }

  /** The text to commit, unless there is nothing to commit or the document goes, and the orders that are still of use. */
  finish(replies: readonly Reply[]): Step {
    const { actor } = this;
    const { head } = actor;
    const taken = replies.length;
    if (this.removes) return { actor, replies, taken, text: undefined, orders: this.#orders, purge: true };
    if (!this.commits || head === undefined) return { actor, replies, taken, text: undefined, orders: this.#orders };
    head.seq = this.seq;
    head.atMs = this.nowMs;
    head.token = this.context.token;
    const trace = this.context.traces?.slice(0, taken).find((one) => one !== undefined);
    if (trace !== undefined) {
      head.trace = trace;
      head.origin ??= trace;
    }
    const text = documentText(actor, head, this.#causes, this.context);
    return { actor, replies, taken, text, orders: this.#liveOrders() };
  }

  // ---- the tree ----

  /** Runs one cascade and takes what it collected. Answers whether anything changed; throws when the machine threw. */
  inTree(cascade: (tree: Tree) => void, initial = false): boolean {
    const { actor } = this;
    const { tree, head } = actor;
    if (tree === undefined || head === undefined) return false;
    this.commits = true;
    const before = tree.snapshot;
    cascade(tree);
    const collected = tree.take();
    const after = tree.snapshot;
    const failed = after.status === "error" && (initial || before.status !== "error");
    if (failed && actor.definition.onError === "reject") {
      throw new MachineThrew(after.error);
    }
    this.collect(collected);
    head.status = after.status;
    if (after.status !== "active") this.#end(tree, head);
    return after !== before || collected.length > 0;
  }

  /** Its delays and inputs are the machine's own code, and so are what they throw. */
  adapt(adaptation: Adaptation): void {
    this.inTree((tree) => {
      try {
        tree.adapt(adaptation, this.nowMs);
      } catch (thrown) {
        throw new MachineThrew(thrown);
      }
    });
  }

  collect(collected: readonly Collected[]): void {
    const { actor } = this;
    const tree = actor.tree as Tree;
    for (const item of collected) {
      switch (item.kind) {
        case "action":
          this.#put(actionItem(tree.system.nextN++, item.sid, item.action, tree));
          break;
        case "emit":
          // Only the root's emitted events can be heard outside: `runtime.actor(…).on(…)`.
          if (item.sid === "s0") this.#put({ ...this.#pending(tree), kind: "emit", event: item.event });
          break;
        case "send":
          this.#put({ ...this.#pending(tree), kind: "send", sid: item.sid, to: item.to, event: item.event });
          break;
        case "start":
          if (tree.isPromise(item.sid)) this.#put({ ...this.#pending(tree), kind: "start", sid: item.sid });
          else this.#orders.push({ kind: "begin", sid: item.sid });
          break;
        case "stop":
          this.#forget(item.sid);
          break;
        default:
          this.#orders.push(item);
      }
    }
  }

  #pending(tree: Tree): { n: number; attempt: number; dueMs: undefined } {
    return { n: tree.system.nextN++, attempt: 1, dueMs: undefined };
  }

  #put(item: OutboxItem): void {
    this.actor.outbox.set(item.n, item);
    this.#orders.push({ kind: "outbox", item });
  }

  /** The work of this child is of no use any more. */
  #forget(sid: Sid): void {
    for (const item of this.actor.outbox.values()) {
      if (item.kind === "start" && item.sid === sid) this.actor.outbox.delete(item.n);
    }
    this.#orders.push({ kind: "stop", sid });
  }

  /** The root has ended: nothing of it may go on working, and retention begins. */
  #end(tree: Tree, head: Head): void {
    for (const item of this.actor.outbox.values()) if (item.kind === "start") this.#forget(item.sid);
    for (const sid of tree.volatileSids()) this.#orders.push({ kind: "stop", sid });
    const { retainDoneMs } = this.actor.definition;
    if (head.expiresMs === undefined && retainDoneMs !== undefined) head.expiresMs = this.nowMs + retainDoneMs;
  }

  /** Without the work that ended within this same step. */
  #liveOrders(): Order[] {
    const { outbox } = this.actor;
    return this.#orders.filter((order) => order.kind !== "outbox" || outbox.has(order.item.n));
  }

  // ---- causes ----

  /** As `note`, for a cause whose JSON is there already. */
  noteText(text: string, cause: Cause, key: Key): void {
    // An event may have a field `key` of its own, which must not hide that of the request.
    if (this.actor.definition.redact !== undefined || Object.hasOwn(cause, "key")) return this.note(cause, key);
    this.commits = true;
    const described = key.kind === "auto" ? `"${describeKey(key)}"` : JSON.stringify(key.key);
    this.#causes.push(`${text.slice(0, -1)},"key":${described}}`);
  }

  note(cause: Cause, key?: Key): void {
    this.commits = true;
    const field = Object.hasOwn(cause, "key") ? "@key" : "key";
    const full: Cause = key === undefined ? cause : { ...cause, [field]: describeKey(key) };
    this.#causes.push(JSON.stringify(this.#redacted(full)));
  }

  /** An event and where it came from. A field of that name of the event's own stays as it is. */
  noteEvent(event: Event, field: "by" | "from" | "timer", origin: string): void {
    const body = this.encodeEvent(event);
    this.note({ ...body, [Object.hasOwn(body, field) ? `@${field}` : field]: origin });
  }

  #redacted(cause: Cause): Cause {
    const { redact } = this.actor.definition;
    if (redact === undefined) return cause;
    try {
      return redact(cause);
    } catch (thrown) {
      // Nothing may be stored that the hook has not seen: the input is refused, as when the machine throws.
      throw new MachineThrew(thrown);
    }
  }

  // ---- values ----

  /** An event as its JSON gives it back; without any tag in it, that is just what was parsed. */
  received(text: string, plain: boolean): Event {
    const parsed = JSON.parse(text) as Json;
    return (plain ? parsed : this.actor.tree?.decodeValue(parsed)) as Event;
  }

  encodeEvent(event: Event): Cause {
    return this.plain(event, `event ${event.type}`) as Cause;
  }

  plain(value: unknown, path: string): Json {
    return (this.actor.tree ?? Tree.codec(this.actor.options)).encodeValue(value, path);
  }

  /** For what only people will read. */
  lossy(value: unknown): Json {
    try {
      return this.plain(value, "error");
    } catch {
      return String(value);
    }
  }
}

/** The machine's own error, on its way out of a step. */
export class MachineThrew extends Error {
  readonly thrown: unknown;

  constructor(thrown: unknown) {
    super("the machine threw");
    this.thrown = thrown;
  }
}
