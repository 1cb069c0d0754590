/**
 * One push consumer without acknowledgements, as watches use it: delivers what a stream has, in order, from a sequence
 * on; what was overwritten before its turn is skipped without a word. Kept in memory: a restart of the server ends it.
 */
import type { Stored, StreamModel } from "./stream.ts";
import { type Fields, noBytes, type WireMessage } from "./wire.ts";

export type ConsumerConfig = {
  readonly name: string;
  readonly deliver_subject: string;
  readonly deliver_policy?: string;
  readonly opt_start_seq?: number;
  readonly filter_subject?: string;
  readonly filter_subjects?: readonly string[];
  readonly headers_only?: boolean;
  readonly flow_control?: boolean;
  /** Nanoseconds. */
  readonly idle_heartbeat?: number;
  readonly inactive_threshold?: number;
};

export type ConsumerPorts = {
  readonly nowMs: () => number;
  /** In milliseconds; of the background: a heartbeat is nothing that is left to happen. */
  readonly after: (delayMs: number, run: () => void) => () => void;
  /** Whether anybody listened on the subject. */
  readonly deliver: (message: WireMessage) => boolean;
  readonly ended: () => void;
};

/** Deliveries after which the client is asked whether it keeps up. */
const flowControlEvery = 32;
const defaultInactiveMs = 5_000;

export class ConsumerModel {
  readonly config: ConsumerConfig;
  readonly #stream: StreamModel;
  readonly #ports: ConsumerPorts;
  readonly #filters: readonly string[];
  /** What `last_per_subject` gives before anything newer. */
  readonly #first: number[];
  #next: number;
  #delivered = 0;
  #lastStreamSeq = 0;
  #asked: string | undefined;
  #sinceAsked = 0;
  #questions = 0;
  #idle: (() => void) | undefined;
  #unheardMs: number | undefined;
  #ended = false;

  constructor(stream: StreamModel, config: ConsumerConfig, ports: ConsumerPorts) {
    this.#stream = stream;
    this.config = config;
    this.#ports = ports;
    this.#filters = config.filter_subjects ?? [config.filter_subject ?? ">"];
    const isLast = config.deliver_policy === "last_per_subject";
    this.#first = isLast ? stream.lastOfEach(this.#filters).map(({ seq }) => seq) : [];
    this.#next =
      config.deliver_policy === "by_start_sequence"
        ? (config.opt_start_seq ?? 1)
        : isLast || config.deliver_policy === "new"
          ? stream.lastSeq + 1
          : 1;
    this.#beat();
  }

  /** Everything that can be delivered now. */
  pump(): void {
    while (!this.#ended && this.#asked === undefined) {
      const stored = this.#take();
      if (stored === undefined) return;
      this.#delivered++;
      this.#lastStreamSeq = stored.seq;
      const pending = this.#first.length + this.#stream.pendingFrom(this.#filters, this.#next);
      const place = [this.config.name, 1, stored.seq, this.#delivered, Math.round(stored.atMs * 1e6), pending];
      const size: Fields = this.config.headers_only === true ? [["Nats-Msg-Size", String(stored.data.length)]] : [];
      this.#heard(
        this.#ports.deliver({
          subject: this.config.deliver_subject,
          reply: `$JS.ACK.${this.#stream.settings.name}.${place.join(".")}`,
          fields: [...stored.fields, ...size],
          data: size.length > 0 ? noBytes : stored.data,
          storedUnder: stored.subject,
        }),
      );
      this.#beat();
      if (this.config.flow_control === true && ++this.#sinceAsked >= flowControlEvery) this.#ask();
    }
  }

  /** The client answers that it keeps up. */
  answered(subject: string): void {
    if (subject !== this.#asked) return;
    this.#asked = undefined;
    this.#sinceAsked = 0;
    this.pump();
  }

  get isWaitingFor(): string | undefined {
    return this.#asked;
  }

  end(): void {
    this.#ended = true;
    this.#idle?.();
  }

  #take(): Stored | undefined {
    const first = this.#first.shift();
    if (first !== undefined) return this.#stream.get(first) ?? this.#take();
    const stored = this.#stream.nextOf(this.#filters, this.#next);
    this.#next = stored === undefined ? Math.max(this.#next, this.#stream.lastSeq + 1) : stored.seq + 1;
    return stored;
  }

  #ask(): void {
    this.#asked = `$JS.FC.${this.#stream.settings.name}.${this.config.name}.${++this.#questions}`;
    this.#heard(this.#status("FlowControl Request", [], this.#asked));
  }

  #beat(): void {
    this.#idle?.();
    const everyMs = (this.config.idle_heartbeat ?? 0) / 1e6;
    if (everyMs <= 0 || this.#ended) return;
    this.#idle = this.#ports.after(everyMs, () => {
      const stalled: Fields = this.#asked === undefined ? [] : [["Nats-Consumer-Stalled", this.#asked]];
      const places: Fields = [
        ["Nats-Last-Consumer", String(this.#delivered)],
        ["Nats-Last-Stream", String(this.#lastStreamSeq)],
      ];
      this.#heard(this.#status("Idle Heartbeat", [...places, ...stalled]));
      if (!this.#ended) this.#beat();
    });
  }

  #status(text: string, fields: Fields, reply?: string): boolean {
    return this.#ports.deliver({
      subject: this.config.deliver_subject,
      status: { code: 100, text },
      fields,
      data: noBytes,
      ...(reply !== undefined && { reply }),
    });
  }

  /** A consumer to which nobody listens ends after a while. */
  #heard(isHeard: boolean): void {
    if (isHeard) {
      this.#unheardMs = undefined;
      return;
    }
    this.#unheardMs ??= this.#ports.nowMs();
    const longestMs = (this.config.inactive_threshold ?? 0) / 1e6 || defaultInactiveMs;
    if (this.#ports.nowMs() - this.#unheardMs < longestMs) return;
    this.end();
    this.#ports.ended();
  }
}
