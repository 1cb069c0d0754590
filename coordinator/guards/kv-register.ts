/**
 * A fenced register in a JetStream KV bucket of one's own: the claim is part of the value, and every change is a compare-and-set
 * on what was read, so a stale read can refuse nothing and let nothing through. What is stored reads well with `nats kv get`.
 */
import type { KV, KvEntry } from "@nats-io/kv";
import { refuseUnknown } from "../../runtime/options.ts";
import type { Clock } from "../../runtime/ports/clock.ts";
import {
  type Claim,
  claimProblem,
  type FencedRegister,
  type InstallOutcome,
  mayAct,
  type RegisterOutcome,
  type RegisterState,
  type RegisterWrite,
} from "../../runtime/ports/fenced-register.ts";
import { LeaseInvalidOption } from "../lease/errors.ts";

/** What is done with what stands there: the next state; undefined where it is to stay as it is, under the new claim. */
type Change = (state: RegisterState | undefined) => { readonly value: string; readonly effect: string } | undefined;

type Changed =
  | { readonly kind: "changed"; readonly before: RegisterState | undefined }
  | Extract<RegisterOutcome, { kind: "fenced" | "unknown" }>;

/** The server's words for "not the revision that you expect", the second on replicas under load. */
const conflicts = [10071, 10164];
const pauseMs = 50;

export class KvRegister implements FencedRegister {
  readonly #kv: KV;
  readonly #clock: Clock;
  readonly #timeoutMs: number;

  /** `timeoutMs`: until the outcome is told as unknown. Default: 5,000. */
  constructor(kv: KV, clock: Clock, options: { readonly timeoutMs?: number } = {}) {
    refuseUnknown("options of the register", options, { timeoutMs: true }, LeaseInvalidOption);
    this.#kv = kv;
    this.#clock = clock;
    this.#timeoutMs = options.timeoutMs ?? 5_000;
  }

  async install(key: string, claim: Claim): Promise<InstallOutcome> {
    const outcome = await this.#change(key, claim, () => undefined);
    if (outcome.kind !== "changed") return outcome;
    return { kind: "installed", value: outcome.before?.value, effect: outcome.before?.effect };
  }

  async write({ key, claim, value, effect }: RegisterWrite): Promise<RegisterOutcome> {
    const outcome = await this.#change(key, claim, (state) =>
      state?.effect === effect ? undefined : { value, effect },
    );
    if (outcome.kind !== "changed") return outcome;
    return { kind: outcome.before?.effect === effect ? "repeated" : "applied" };
  }

  async read(key: string): Promise<RegisterState | undefined> {
    return stateOf(await this.#kv.get(keyOf(key)));
  }

  /** Writes in any case, also what stays: only what was written is known to be so now. */
  async #change(key: string, claim: Claim, change: Change): Promise<Changed> {
    const problem = claimProblem(claim);
    if (problem !== undefined) throw new LeaseInvalidOption(problem);
    const kvKey = keyOf(key);
    const untilMs = this.#clock.monotonic() + this.#timeoutMs;
    for (let cause: unknown; ; ) {
      try {
        const entry = await this.#kv.get(kvKey);
        const before = stateOf(entry);
        if (before !== undefined && !mayAct(before.claim, claim)) return { kind: "fenced", newest: before.claim };
        const kept = before?.value === undefined ? {} : { value: before.value, effect: before.effect };
        const text = JSON.stringify({ token: claim.token, holder: claim.holder, ...(change(before) ?? kept) });
        // Of a deleted key the revision of its mark; 0 where there never was one.
        await this.#kv.put(kvKey, text, { previousSeq: entry?.revision ?? 0 });
        return { kind: "changed", before };
      } catch (error) {
        if (error instanceof LeaseInvalidOption) throw error;
        if (!isConflict(error)) cause = error;
      }
      if (this.#clock.monotonic() >= untilMs)
        return { kind: "unknown", cause: cause instanceof Error ? cause.message : "others were always faster" };
      await new Promise<void>((resolve) => void this.#clock.after(pauseMs * Math.random(), resolve));
    }
  }
}

function isConflict(error: unknown): boolean {
  return conflicts.includes((error as { code?: number } | null)?.code ?? 0);
}

function stateOf(entry: KvEntry | null): RegisterState | undefined {
  if (entry === null || entry.operation !== "PUT") return undefined;
  try {
    const { token, holder, value, effect } = entry.json<RegisterState["claim"] & Omit<RegisterState, "claim">>();
    if (claimProblem({ token, holder }) === undefined) return { claim: { token, holder }, value, effect };
  } catch {
    // Told below.
  }
  throw new LeaseInvalidOption(
    `the entry ${entry.key} of ${entry.bucket} was not written through a register: choose another key, or delete it`,
  );
}

/** What a key of a bucket may not hold is written `=XX` per byte. */
function keyOf(key: string): string {
  if (typeof key !== "string" || key === "" || key.length > 200)
    throw new LeaseInvalidOption("the key of a register must be a text of 1 to 200 characters");
  return [...new TextEncoder().encode(key)]
    .map((byte) => {
      const character = String.fromCharCode(byte);
      return /[A-Za-z0-9_/-]/.test(character) ? character : `=${byte.toString(16).toUpperCase().padStart(2, "0")}`;
    })
    .join("");
}
