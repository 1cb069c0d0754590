/**
 * An outside resource that keeps a record of every effect that reached it. With the check of C5 (fencing and effect in
 * one step) it refuses what an earlier token sends; without it, it shows what an unfenced resource lives through.
 */
import { type KeysOf, refuseUnknown } from "../../runtime/options.ts";
import { compareTokens, type Token } from "../../runtime/ports/store.ts";

export type Application = {
  /** The effect's stable key. */
  readonly key: string;
  readonly token: Token;
  readonly value: unknown;
  /** What the tokens are compared within: usually the actor, or its partition. Default: the key. */
  readonly fence?: string;
};

export type ApplicationOutcome =
  | { readonly kind: "applied" }
  /** Known by its key and not done again, where the resource remembers keys. */
  | { readonly kind: "repeated" }
  | { readonly kind: "fenced"; readonly newest: Token };

export type RecordedApplication = Application & {
  readonly fence: string;
  readonly outcome: ApplicationOutcome["kind"];
  readonly atMs: number;
};

export type RecorderOptions = {
  readonly fenced: boolean;
  /** Remembers keys and does each once, as a payment provider with idempotency keys. Default false. */
  readonly remembersKeys?: boolean;
  /** True time, for the record. */
  readonly nowMs: () => number;
};

const recorderOptions: KeysOf<RecorderOptions> = { fenced: true, remembersKeys: true, nowMs: true };

export class FencedRecorder {
  readonly #options: RecorderOptions;
  readonly #recorded: RecordedApplication[] = [];
  readonly #newest = new Map<string, Token>();
  readonly #keys = new Set<string>();

  constructor(options: RecorderOptions) {
    refuseUnknown("options of FencedRecorder", options, recorderOptions, RangeError);
    this.#options = options;
  }

  /** All that reached the resource, refused or not, in order. */
  get recorded(): readonly RecordedApplication[] {
    return this.#recorded;
  }

  apply(application: Application): ApplicationOutcome {
    const fence = application.fence ?? application.key;
    const outcome = this.#judge(application, fence);
    this.#recorded.push({ ...application, fence, outcome: outcome.kind, atMs: this.#options.nowMs() });
    return outcome;
  }

  #judge({ key, token }: Application, fence: string): ApplicationOutcome {
    if (this.#options.fenced) {
      const newest = this.#newest.get(fence);
      if (newest !== undefined && compareTokens(token, newest) < 0) return { kind: "fenced", newest };
      this.#newest.set(fence, token);
    }
    if (this.#options.remembersKeys === true && this.#keys.has(key)) return { kind: "repeated" };
    this.#keys.add(key);
    return { kind: "applied" };
  }
}
