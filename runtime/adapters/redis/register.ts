/**
 * A fenced register in Redis: a hash with the newest claim and the value, and one script that checks and acts, so that
 * nothing can come in between (C5). It is as safe as the server keeps what it acknowledged: `appendfsync always` and no
 * failover to a replica that lags (docs/guides/leases.md).
 */
import { type KeysOf, refuseUnknown } from "../../options.ts";
import type { Clock } from "../../ports/clock.ts";
import {
  type Claim,
  claimProblem,
  type FencedRegister,
  type InstallOutcome,
  type RegisterOutcome,
  type RegisterState,
  type RegisterWrite,
} from "../../ports/fenced-register.ts";
import { type AskLimits, askLimits, askUntilKnown } from "../redis-link/asking.ts";
import { RedisInvalidOption, RedisRefused, RedisUnreachable } from "../redis-link/errors.ts";
import { type RedisLink, type RedisReply, type RedisScript, redisScript } from "../redis-link/link.ts";

/**
 * Lua that acts under a fence: `effect` runs only for a claim that passes, in the same step. The script gets the key of the
 * fence as KEYS[1] and yours after it; the claim as ARGV[1] to ARGV[3] and yours after it. Must be safe to repeat, and must
 * not answer with a list that begins with "fenced".
 */
export function fencedScript(effect: string): RedisScript {
  return redisScript(`local newest = redis.call('HMGET', KEYS[1], 'epoch', 'index', 'holder')
if newest[1] then
  local epoch, index = tonumber(newest[1]) - tonumber(ARGV[1]), tonumber(newest[2]) - tonumber(ARGV[2])
  if epoch > 0 or (epoch == 0 and (index > 0 or (index == 0 and newest[3] ~= ARGV[3]))) then
    return {'fenced', newest[1], newest[2], newest[3]}
  end
end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'index', ARGV[2], 'holder', ARGV[3])
${effect}`);
}

export const installScript = fencedScript(
  "return {'installed', redis.call('HGET', KEYS[1], 'value'), redis.call('HGET', KEYS[1], 'effect')}",
);

export const writeScript = fencedScript(`if redis.call('HGET', KEYS[1], 'effect') == ARGV[5] then
  return {'repeated'}
end
redis.call('HSET', KEYS[1], 'value', ARGV[4], 'effect', ARGV[5])
return {'applied'}`);

/** For `read`: a script, like all the rest, so that it is asked in the same way. */
export const readScript = redisScript(
  "return redis.call('HMGET', KEYS[1], 'epoch', 'index', 'holder', 'value', 'effect')",
);

export type RedisRegisterOptions = AskLimits & {
  /** Before every key. Default: "holdfast:register:". */
  readonly prefix?: string;
};

const registerOptions: KeysOf<RedisRegisterOptions> = { ...askLimits, prefix: true };

export class RedisRegister implements FencedRegister {
  readonly #link: RedisLink;
  readonly #clock: Clock;
  readonly #options: RedisRegisterOptions;

  constructor(link: RedisLink, clock: Clock, options: RedisRegisterOptions = {}) {
    refuseUnknown("options of the register", options, registerOptions, RedisInvalidOption);
    this.#link = link;
    this.#clock = clock;
    this.#options = options;
  }

  async install(key: string, claim: Claim): Promise<InstallOutcome> {
    const outcome = await this.#ask(installScript, key, claim, []);
    if (outcome.kind !== "reply") return outcome;
    const [, value, effect] = outcome.value;
    return { kind: "installed", value: value ?? undefined, effect: effect ?? undefined };
  }

  async write({ key, claim, value, effect }: RegisterWrite): Promise<RegisterOutcome> {
    const outcome = await this.#ask(writeScript, key, claim, [value, effect]);
    if (outcome.kind !== "reply") return outcome;
    return { kind: outcome.value[0] === "applied" ? "applied" : "repeated" };
  }

  async read(key: string): Promise<RegisterState | undefined> {
    const outcome = await askUntilKnown(this.#link, this.#clock, readScript, [this.#keyOf(key)], [], this.#options);
    if (outcome.kind === "unknown") throw new RedisUnreachable(`the register could not be read: ${outcome.cause}`);
    const [epoch, index, holder, value, effect] = texts(outcome.value);
    if (epoch == null || index == null || holder == null) return undefined;
    const claim: Claim = { token: [Number(epoch), Number(index)], holder };
    return { claim, value: value ?? undefined, effect: effect ?? undefined };
  }

  /**
   * Runs a script of `fencedScript`: its own reply, or what the fence said. `keys` and `values` come after those of the
   * fence. Repeated until the outcome is known.
   */
  async run(
    script: RedisScript,
    key: string,
    claim: Claim,
    keys: readonly string[] = [],
    values: readonly string[] = [],
  ): Promise<
    { readonly kind: "reply"; readonly value: RedisReply } | Extract<RegisterOutcome, { kind: "fenced" | "unknown" }>
  > {
    const problem = claimProblem(claim);
    if (problem !== undefined) throw new RedisInvalidOption(problem);
    const [epoch, index] = claim.token;
    const outcome = await askUntilKnown(
      this.#link,
      this.#clock,
      script,
      [this.#keyOf(key), ...keys],
      [String(epoch), String(index), claim.holder, ...values],
      this.#options,
    );
    if (outcome.kind === "unknown" || !Array.isArray(outcome.value) || outcome.value[0] !== "fenced") return outcome;
    const [, newestEpoch, newestIndex, holder] = texts(outcome.value);
    return {
      kind: "fenced",
      newest: { token: [Number(newestEpoch), Number(newestIndex)], holder: holder ?? "" },
    };
  }

  async #ask(script: RedisScript, key: string, claim: Claim, values: readonly string[]) {
    const outcome = await this.run(script, key, claim, [], values);
    return outcome.kind === "reply" ? { kind: outcome.kind, value: texts(outcome.value) } : outcome;
  }

  #keyOf(key: string): string {
    if (typeof key !== "string" || key === "" || key.length > 1_000)
      throw new RedisInvalidOption("the key of a register must be a text of 1 to 1,000 characters");
    return (this.#options.prefix ?? "holdfast:register:") + key;
  }
}

/** What our scripts answer with: an array of texts and nothing. Anything else was not our script. */
function texts(reply: RedisReply): readonly (string | null)[] {
  if (Array.isArray(reply) && reply.every((item) => item === null || typeof item === "string"))
    return reply as readonly (string | null)[];
  throw new RedisRefused(`an answer that no script of ours gives: ${JSON.stringify(reply)}`);
}
