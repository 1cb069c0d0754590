/**
 * Who can reach whom, and how well: nodes by name, and `store`, `leases` and services. A link has two directions, each
 * with its own cuts, clogs and quality; one without any costs no dice, so it changes nothing for the others.
 */
import type { DiceTable, RangeMs } from "./dice.ts";

/** Missing: none of it. Probabilities are per message. */
export type LinkQuality = {
  /** Added to each message's own time; messages may overtake each other by it. */
  readonly delayMs?: RangeMs;
  readonly drop?: number;
  /** A second copy soon after. */
  readonly duplicate?: number;
  /** A second copy much later. */
  readonly replay?: number;
};

/** What becomes of one message that is sent now. */
export type Passage =
  | { readonly kind: "lost" }
  | { readonly kind: "passes"; readonly extraMs: number; readonly copyAfterMs?: number };

const straight: Passage = { kind: "passes", extraMs: 0 };
const soonMs: RangeMs = [0.1, 20];
const muchLaterMs: RangeMs = [500, 40_000];

export class Links {
  readonly #cuts = new Map<string, number>();
  readonly #clogs = new Map<string, number>();
  readonly #qualities = new Map<string, LinkQuality>();
  readonly #healListeners = new Set<() => void>();
  readonly #note: (text: string) => void;
  readonly #dice: DiceTable;
  readonly #nowMs: () => number;

  constructor(note: (text: string) => void, dice: DiceTable, nowMs: () => number) {
    this.#note = note;
    this.#dice = dice;
    this.#nowMs = nowMs;
  }

  /** Returns how to undo this cut alone: others of the same link stay. */
  cut(a: string, b: string, { oneWay = false } = {}): () => void {
    const ways = oneWay ? [way(a, b)] : [way(a, b), way(b, a)];
    for (const each of ways) this.#cuts.set(each, (this.#cuts.get(each) ?? 0) + 1);
    this.#note(`links cut ${a} ${oneWay ? "to " : ""}${b}`);
    return () => {
      for (const each of ways) {
        const left = (this.#cuts.get(each) ?? 0) - 1;
        if (left > 0) this.#cuts.set(each, left);
        else this.#cuts.delete(each);
      }
      this.#note(`links heal ${a} ${oneWay ? "to " : ""}${b}`);
      this.#tellHealed();
    };
  }

  /** Every cut between the two. */
  heal(a: string, b: string): void {
    this.#cuts.delete(way(a, b));
    this.#cuts.delete(way(b, a));
    this.#note(`links heal ${a} ${b}`);
    this.#tellHealed();
  }

  healAll(): void {
    this.#cuts.clear();
    this.#clogs.clear();
    this.#qualities.clear();
    this.#note("links heal all");
    this.#tellHealed();
  }

  /** Both ways, for this long from now. */
  clog(a: string, b: string, forMs: number): void {
    for (const each of [way(a, b), way(b, a)])
      this.#clogs.set(each, Math.max(this.#clogs.get(each) ?? 0, this.#nowMs() + forMs));
    this.#note(`links clog ${a} ${b} for ${forMs} ms`);
  }

  /** Both ways, in place of what was set before; `undefined`: as new. */
  setQuality(a: string, b: string, quality: LinkQuality | undefined): void {
    for (const each of [way(a, b), way(b, a)]) {
      if (quality === undefined) this.#qualities.delete(each);
      else this.#qualities.set(each, quality);
    }
    this.#note(`links quality ${a} ${b} ${JSON.stringify(quality ?? "as new")}`);
  }

  /** For models that hold something back behind a cut. Told of every healing. Returns how to stop. */
  onHeal(listener: () => void): () => void {
    this.#healListeners.add(listener);
    return () => this.#healListeners.delete(listener);
  }

  /** Whether messages from `from` to `to` are lost. */
  isCut(from: string, to: string): boolean {
    return this.#cuts.size > 0 && this.#cuts.has(way(from, to));
  }

  /** Draws what becomes of one message: ask once for each. */
  pass(from: string, to: string): Passage {
    if (this.#cuts.size + this.#clogs.size + this.#qualities.size === 0) return straight;
    const name = way(from, to);
    if (this.#cuts.has(name)) return { kind: "lost" };
    const cloggedMs = Math.max(0, (this.#clogs.get(name) ?? 0) - this.#nowMs());
    const quality = this.#qualities.get(name);
    if (quality === undefined) return cloggedMs === 0 ? straight : { kind: "passes", extraMs: cloggedMs };
    const at = (what: string) => this.#dice.at(`link/${name}/${what}`);
    const isLost = at("drop").chance(quality.drop ?? 0);
    const extraMs = cloggedMs + (quality.delayMs === undefined ? 0 : at("delay").ms(quality.delayMs));
    const isTwice = at("duplicate").chance(quality.duplicate ?? 0);
    const isAgain = at("replay").chance(quality.replay ?? 0);
    if (isLost) return { kind: "lost" };
    if (isAgain) return { kind: "passes", extraMs, copyAfterMs: extraMs + at("replay/time").ms(muchLaterMs) };
    if (isTwice) return { kind: "passes", extraMs, copyAfterMs: extraMs + at("duplicate/time").ms(soonMs) };
    return { kind: "passes", extraMs };
  }

  #tellHealed(): void {
    for (const listener of [...this.#healListeners]) listener();
  }
}

function way(from: string, to: string): string {
  return `${from}>${to}`;
}
