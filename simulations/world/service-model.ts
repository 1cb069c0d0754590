/**
 * An outside service that user effects call: a payment provider, a mail server. It is no part of any node, so what has
 * reached it stays done; requests and answers travel, get lost and come late.
 */
import { type KeysOf, refuseUnknown } from "../../runtime/options.ts";
import type { RangeMs } from "./dice.ts";
import { FaultPlan } from "./fault-plan.ts";
import type { Gate } from "./gate.ts";
import type { Laws } from "./laws.ts";

export type ServiceFault =
  /** Never arrives; the caller gets an error. */
  | "lose-request"
  /** Done; the caller gets an error. */
  | "lose-answer"
  /** The caller gets an error; done later. */
  | "late"
  /** Done and answered truly, but late. */
  | "slow";

export type ServiceSettings = {
  readonly travelMs?: RangeMs;
  readonly lateMs?: RangeMs;
  /** How long a caller waits before it gets the error. */
  readonly timeoutMs?: number;
};

const serviceSettings: KeysOf<ServiceSettings> = { travelMs: true, lateMs: true, timeoutMs: true };

/** No answer in time: the service may have done it. */
export class ServiceTimeoutError extends Error {
  override readonly name = "ServiceTimeoutError";

  constructor(service: string) {
    super(`${service} did not answer in time: it may have been done`);
  }
}

export class ServiceModel<Request, Answer> {
  readonly name: string;
  readonly faults: FaultPlan<ServiceFault>;
  readonly #laws: Laws;
  readonly #handle: (request: Request) => Answer;
  readonly #travelMs: RangeMs;
  readonly #lateMs: RangeMs;
  readonly #timeoutMs: number;

  constructor(laws: Laws, name: string, handle: (request: Request) => Answer, settings: ServiceSettings = {}) {
    refuseUnknown("settings of a service", settings, serviceSettings, RangeError);
    this.#laws = laws;
    this.name = name;
    this.#handle = handle;
    this.#travelMs = settings.travelMs ?? [1, 50];
    this.#lateMs = settings.lateMs ?? [1_000, 60_000];
    this.#timeoutMs = settings.timeoutMs ?? 5_000;
    this.faults = new FaultPlan(`service/${name}`, laws.dice);
  }

  /** For `NodePorts.service`: the way in for one incarnation of a node. */
  callFrom(node: string, gate: Gate, request: Request): Promise<Answer> {
    const detail = JSON.stringify(request) ?? "";
    return gate.call(
      `service.${this.name}`,
      detail,
      () => this.#call(node, request),
      (answer) => JSON.stringify(answer) ?? "",
    );
  }

  /** What the handler throws rejects the call, like an error that the service answers with. */
  async #call(node: string, request: Request): Promise<Answer> {
    const { loop, dice, links } = this.#laws;
    const travel = dice.at(`service/${this.name}/${node}/travel`);
    const requestMs = travel.ms(this.#travelMs);
    const answerMs = travel.ms(this.#travelMs);
    const lateMs = (): number => dice.at(`service/${this.name}/${node}/late`).ms(this.#lateMs);
    const way = links.pass(node, this.name);
    const drawn = this.faults.draw({ node, subject: this.name });
    const fault = way.kind === "lost" || way.extraMs >= this.#timeoutMs ? "lose-request" : drawn;
    if (fault !== undefined) loop.note(`service ${this.name} from ${node}: fault ${fault}`);
    const timeOut = async (): Promise<never> => {
      await loop.sleep(this.#timeoutMs, `service.${this.name} times out`);
      throw new ServiceTimeoutError(this.name);
    };

    const sentMs = loop.nowMs;
    const draw = (lost = false) =>
      loop.draw?.({
        kind: "message",
        from: node,
        to: this.name,
        sentMs,
        label: JSON.stringify(request) ?? "",
        ...(lost && { lost }),
      });

    if (fault === "lose-request") {
      draw(true);
      return timeOut();
    }
    if (fault === "late") {
      loop.after(this.#timeoutMs + lateMs(), `service.${this.name} late`, () => {
        draw();
        this.#handleUnheard(request);
      });
      return timeOut();
    }
    await loop.sleep(requestMs + (way.kind === "passes" ? way.extraMs : 0), `service.${this.name} arrives`);
    draw();
    const answeredMs = loop.nowMs;
    const reply = { kind: "message", from: this.name, to: node, sentMs: answeredMs, label: "reply" } as const;
    if (fault === "lose-answer" || links.isCut(this.name, node)) {
      this.#handleUnheard(request);
      loop.draw?.({ ...reply, lost: true });
      return timeOut();
    }
    try {
      return this.#handle(request);
    } finally {
      await loop.sleep(fault === "slow" ? answerMs + lateMs() : answerMs, `service.${this.name} answers`);
      loop.draw?.(reply);
    }
  }

  #handleUnheard(request: Request): void {
    try {
      this.#handle(request);
    } catch (error) {
      this.#laws.loop.note(`service ${this.name}: an error that nobody hears: ${String(error)}`);
    }
  }
}
