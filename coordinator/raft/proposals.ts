/**
 * What a leader takes into its log: entries within the bytes that may be uncommitted, and one change of membership at a
 * time (Ongaro's thesis, chapter 4). It also leaves joint configurations by itself.
 */
import { Changer } from "./changer.ts";
import { asV2, decodeConfChange, encodeConfChange, leaveJointChange, UnreadableConfChange } from "./conf-change.ts";
import type { LogLevel } from "./config.ts";
import { describeConfChange, describeNode as hex } from "./describe.ts";
import { type ConfChangeV2, type Entry, type Message, message, type NodeId, none } from "./messages.ts";
import type { Workings } from "./role.ts";
import { payloadBytes } from "./size.ts";
import { describeConfig } from "./tracker/tracker.ts";

export class Proposals {
  readonly #workings: Workings;
  readonly #id: NodeId;
  readonly #term: number;
  /** At or above the index of the last membership change that may not be applied yet; only one is under way at a time. */
  #pendingConfIndex: number;
  /** Of the payloads proposed under this leadership and not yet known to be applied; an estimate from below. */
  #uncommittedBytes = 0;

  constructor(workings: Workings, term: number) {
    this.#workings = workings;
    this.#id = workings.config.id;
    this.#term = term;
    // The tail of the log may hold a membership change: no other one before all of it is applied.
    this.#pendingConfIndex = workings.log.lastIndex();
  }

  /** All entries of the message, or none (false). */
  take(m: Message): boolean {
    const { log } = this.#workings;
    const pendingBefore = this.#pendingConfIndex;
    try {
      if (this.append(m.entries.map((entry, offset) => this.#admitted(entry, log.lastIndex() + 1 + offset))))
        return true;
    } catch (error) {
      if (!(error instanceof UnreadableConfChange)) throw error;
      this.#tell("ERROR", `${hex(this.#id)} dropping proposal from ${hex(m.from)}: ${error.message}`);
    }
    this.#pendingConfIndex = pendingBefore;
    return false;
  }

  /** The entry as it goes into the log: a membership change that must not be made now is replaced by an empty entry. */
  #admitted(entry: Entry, index: number): Entry {
    if (entry.type === "EntryNormal") return entry;
    const { config, tracker } = this.#workings;
    const change = asV2(decodeConfChange(entry.type, entry.data));
    const refused = config.disableConfChangeValidation ? undefined : this.#whyNotNow(change);
    if (refused !== undefined) {
      const [what, where] = [describeConfChange(change), describeConfig(tracker.config)];
      this.#tell("INFO", `${hex(this.#id)} ignoring conf change ${what} at config ${where}: ${refused}`);
      return { ...entry, type: "EntryNormal", data: new Uint8Array() };
    }
    this.#pendingConfIndex = index;
    return entry;
  }

  #whyNotNow(change: ConfChangeV2): string | undefined {
    const { log, tracker } = this.#workings;
    const isJoint = tracker.config.voters.outgoing.size > 0;
    const leaves = change.changes.length === 0;
    if (this.#pendingConfIndex > log.applied)
      return `possible unapplied conf change at index ${this.#pendingConfIndex} (applied to ${log.applied})`;
    if (isJoint && !leaves) return "must transition out of joint config first";
    if (!isJoint && leaves) return "not in joint state; refusing empty conf change";
    // Nothing is pending, so this is the membership that the change will meet, and what is refused now would be then.
    const changed = new Changer(tracker, log.lastIndex()).change(change);
    return changed.kind === "refused" ? changed.why : undefined;
  }

  /** False: too much is uncommitted. */
  append(entries: readonly Entry[]): boolean {
    const { config, log, outbox } = this.#workings;
    const last = log.lastIndex();
    const added = entries.map((entry, offset) => ({ ...entry, term: this.#term, index: last + 1 + offset }));
    const bytes = payloadBytes(added);
    // Empty payloads are never refused: a new leader's entry, and leaving a joint configuration, depend on that.
    if (this.#uncommittedBytes > 0 && bytes > 0 && this.#uncommittedBytes + bytes > config.maxUncommittedBytes) {
      this.#tell(
        "WARN",
        `${hex(this.#id)} appending new entries to log would exceed uncommitted entry size limit; dropping proposal`,
      );
      return false;
    }
    this.#uncommittedBytes += bytes;
    // The leader's own acknowledgement, which it gets once the entries are durable here.
    outbox.send({ type: "MsgAppResp", to: this.#id, index: log.append(added) });
    return true;
  }

  onApplied(bytes: number): void {
    this.#uncommittedBytes = Math.max(0, this.#uncommittedBytes - bytes);
  }

  /** Whoever leads leaves it, and tries again with each entry applied: the leader that entered it may be gone. */
  mustLeaveJoint(): boolean {
    const { log, tracker } = this.#workings;
    return tracker.config.autoLeave && log.applied >= this.#pendingConfIndex;
  }

  #tell(level: LogLevel, text: string): void {
    this.#workings.config.logger(level, text);
  }
}

/** A message that asks for entries to be appended; their term and index are the leader's to give. */
export function proposal(entries: readonly Entry[], from: NodeId = none): Message {
  return message({ type: "MsgProp", from, entries });
}

export const leaveJointEntry: Entry = { ...encodeConfChange(leaveJointChange), term: 0, index: 0 };
