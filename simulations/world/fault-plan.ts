/**
 * Which call goes wrong, and how: by probability, or scripted for the n-th call from now. Every kind of fault at every
 * place rolls its own dice, so switching one kind off leaves the others where they were.
 */
import type { DiceTable } from "./dice.ts";

/** Probability per call, by kind. Missing: never. */
export type FaultRates<Fault extends string> = { [Kind in Fault]?: number };

/** What a script may look at to choose its call. */
export type FaultCall = { readonly node: string; readonly subject: string };

type Scripted<Fault extends string> = {
  readonly fault: Fault;
  readonly where: (call: FaultCall) => boolean;
  callsLeft: number;
};

export class FaultPlan<Fault extends string> {
  /** Change it at any time; `{}` switches all chance off. */
  rates: FaultRates<Fault> = {};
  readonly #name: string;
  readonly #dice: DiceTable;
  #scripted: Scripted<Fault>[] = [];

  constructor(name: string, dice: DiceTable) {
    this.#name = name;
    this.#dice = dice;
  }

  /** The `nth` call from now (1: the next one) that `where` accepts gets this fault, whatever the rates say. */
  next(nth: number, fault: Fault, where: (call: FaultCall) => boolean = () => true): void {
    this.#scripted.push({ fault, where, callsLeft: nth });
  }

  off(): void {
    this.rates = {};
    this.#scripted = [];
  }

  draw(call: FaultCall): Fault | undefined {
    return this.#drawScripted(call) ?? this.#drawByChance(call);
  }

  #drawScripted(call: FaultCall): Fault | undefined {
    let drawn: Fault | undefined;
    for (const script of this.#scripted) {
      if (!script.where(call)) continue;
      script.callsLeft--;
      if (script.callsLeft === 0) drawn ??= script.fault;
    }
    this.#scripted = this.#scripted.filter((script) => script.callsLeft > 0);
    return drawn;
  }

  #drawByChance(call: FaultCall): Fault | undefined {
    let drawn: Fault | undefined;
    // Every kind rolls, also after one has hit: how often a kind rolls must not depend on the others.
    for (const kind of Object.keys(this.rates) as Fault[]) {
      const isHit = this.#dice.at(`${this.#name}/${call.node}/${kind}`).chance(this.rates[kind] ?? 0);
      if (isHit) drawn ??= kind;
    }
    return drawn;
  }
}
