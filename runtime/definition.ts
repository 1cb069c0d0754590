/**
 * What the runtime knows of one actor type: its logic, version, and the user's policies. Made once by `defineActor`;
 * what is wrong with it is said there, before anything runs.
 */
import type { AnyActorLogic } from "xstate";
import { described, isPlain } from "./argument.ts";
import type { Cause } from "./document.ts";
import { type Duration, durationMs } from "./duration.ts";
import { InvalidRequestError } from "./errors.ts";
import { checkType } from "./keys.ts";
import { defaultLimits, type Limits } from "./limits.ts";
import { effectNames, handledEvents, machineVersion } from "./machine/events.ts";
import { type MissingLogic, missingLogic } from "./machine/missing-logic.ts";
import { logicHash } from "./machine/tree-check.ts";
import { type KeysOf, nearest, unknownOptions } from "./options.ts";
import { type EffectPolicy, policyProblems } from "./policy.ts";

/** What `migrate` gets: the root's stored state, decoded. */
export type StoredState = {
  readonly version: number;
  readonly value: unknown;
  readonly context: Record<string, unknown>;
};

/** What `migrate` returns: the state for the present machine, and an event to apply first, where states need entering. */
export type MigratedState = {
  readonly value: unknown;
  readonly context: Record<string, unknown>;
  readonly event?: { readonly type: string; readonly [field: string]: unknown };
};

/** What `provide` of a machine takes: the names that `setup` has given, or any where there was no `setup`. */
type Provided<TLogic> = TLogic extends { provide(implementations: infer TProvided): unknown } ? TProvided : never;
type Part<TProvided, TName extends string> = TProvided extends { readonly [Name in TName]?: infer TPart }
  ? NonNullable<TPart>
  : never;

/**
 * The names that `setup` gives to actions and invoked logic, of the machine and of those in it; any text where the types
 * tell none. Logic that is written into an `invoke` has its place as its name; a function that is written into the machine
 * has one that types cannot see.
 */
export type EffectName<TLogic> = [Provided<TLogic>] extends [never]
  ? string
  : `xstate.invoke.${string}` | NameIn<Part<Provided<TLogic>, "actions">> | ActorName<Part<Provided<TLogic>, "actors">>;

/** Of one machine or another, the names of either. */
type NameIn<TPart> = TPart extends unknown ? keyof TPart & string : never;

type ActorName<TActors> =
  | NameIn<TActors>
  | (TActors extends unknown
      ? {
          [Name in keyof TActors]: NonNullable<TActors[Name]> extends infer TChild
            ? [Provided<TChild>] extends [never]
              ? never
              : EffectName<TChild>
            : never;
        }[keyof TActors]
      : never);

export type ActorOptions<TLogic = unknown> = {
  /** Of the machine, a whole number. Default: the machine's own `version`, or 1. */
  readonly version?: number;
  /** Policies by name of the invoked logic or action, as in `setup({ actors, actions })`. */
  readonly effects?: { readonly [Name in EffectName<TLogic>]?: EffectPolicy };
  /** Actors that ended are deleted this long afterwards. Default: kept. */
  readonly retain?: { readonly done: Duration };
  /** Changes a cause before it is stored, to leave out what must not be kept in the history. */
  readonly redact?: (cause: Cause) => Cause;
  /** What a throw of the machine means: "reject" (default) refuses the event, "error" ends the actor as XState does. */
  readonly onError?: "reject" | "error";
  /** Brings a stored state to the present version of the machine. */
  readonly migrate?: (stored: StoredState) => MigratedState;
  readonly limits?: Partial<Limits>;
};

const actorOptions: KeysOf<ActorOptions> = {
  version: true,
  effects: true,
  retain: true,
  redact: true,
  onError: true,
  migrate: true,
  limits: true,
};

export type ActorDefinition<TLogic extends AnyActorLogic = AnyActorLogic> = {
  readonly logic: TLogic;
  readonly version: number;
  readonly hash: string;
  readonly effects: Readonly<Record<string, EffectPolicy>>;
  readonly retainDoneMs: number | undefined;
  readonly redact: ((cause: Cause) => Cause) | undefined;
  readonly onError: "reject" | "error";
  readonly migrate: ((stored: StoredState) => MigratedState) | undefined;
  readonly limits: Limits;
  /** Whether some state of the machine, or its wildcard, takes events of this type. */
  readonly handles: (eventType: string) => boolean;
};

/** Describes an actor type. Throws InvalidRequestError naming every option that is not usable. */
export function defineActor<TLogic extends AnyActorLogic>(
  logic: TLogic,
  options: ActorOptions<NoInfer<TLogic>> = {},
): ActorDefinition<TLogic> {
  const wrong = wrongLogic(logic);
  if (wrong !== undefined)
    throw new InvalidRequestError(`defineActor takes an XState machine or other actor logic; what it got is ${wrong}`);
  const problems = unknownOptions(options, actorOptions);
  // Of what is no object nothing more can be said.
  if (options === null || typeof options !== "object") throw new InvalidRequestError(`defineActor: ${problems[0]}`);
  const version = options.version ?? machineVersion(logic) ?? 1;
  if (!Number.isSafeInteger(version) || version < 0) {
    problems.push(`version is ${String(version)}; it must be a whole number, 0 or more`);
  }
  const names = effectNames(logic);
  const { effects = {} } = options;
  const areEffects = typeof effects === "object" && effects !== null && !Array.isArray(effects);
  if (!areEffects) problems.push(`effects is ${described(effects)}; it must be an object of policies, by name`);
  for (const [name, policy] of areEffects ? Object.entries(effects) : []) {
    problems.push(...policyProblems(name, policy));
    if (names !== undefined && !names.has(name)) {
      const near = nearest(name, [...names]);
      const meant = near === undefined ? "" : ` (did you mean ${near}?)`;
      problems.push(
        `effects.${name}${meant} is no action or invoked logic of the machine, which has ${[...names].join(", ") || "none"}`,
      );
    }
  }
  problems.push(...unknownOptions(options.retain, { done: true }, "retain."));
  problems.push(...unknownOptions(options.limits, defaultLimits, "limits."));
  const retainDoneMs = options.retain && durationMs(options.retain.done);
  if (options.retain !== undefined && retainDoneMs === undefined) {
    problems.push(
      `retain.done is ${JSON.stringify(options.retain.done)}; write a duration such as "30d" or milliseconds`,
    );
  }
  if (options.onError !== undefined && options.onError !== "reject" && options.onError !== "error") {
    problems.push(`onError is ${String(options.onError)}; it must be "reject" or "error"`);
  }
  for (const name of ["redact", "migrate"] as const) {
    const given: unknown = options[name];
    if (given !== undefined && typeof given !== "function")
      problems.push(`${name} is ${described(given)}; it must be a function`);
  }
  for (const [name, value] of Object.entries(options.limits ?? {})) {
    if (Object.hasOwn(defaultLimits, name) && (!Number.isFinite(value) || value < 1))
      problems.push(`limits.${name} is ${value}; it must be 1 or more`);
  }
  if (problems.length > 0) throw new InvalidRequestError(`defineActor: ${problems.join("; ")}`);
  return {
    logic,
    version,
    hash: logicHash(logic),
    effects: (options.effects ?? {}) as Readonly<Record<string, EffectPolicy>>,
    retainDoneMs,
    redact: options.redact,
    onError: options.onError ?? "reject",
    migrate: options.migrate,
    limits: { ...defaultLimits, ...options.limits },
    handles: handledEvents(logic),
  };
}

/** Definitions by type, made from definitions or bare logic. Throws InvalidKeyError for a type that makes no key. */
export function definitionsOf(
  actors: Readonly<Record<string, ActorDefinition | AnyActorLogic>>,
): Record<string, ActorDefinition> {
  if (!areByName(actors))
    throw new InvalidRequestError(
      `it needs actors, by the names of their types: { actors: { order: machine }, … }; what it got is ${described(actors)}`,
    );
  const definitions: Record<string, ActorDefinition> = {};
  for (const [type, given] of Object.entries(actors)) {
    checkType(type);
    const wrong = isDefinition(given) ? undefined : wrongLogic(given);
    if (wrong !== undefined)
      throw new InvalidRequestError(
        `actors.${type} must be an XState machine, or what defineActor gave; it is ${wrong}`,
      );
    definitions[type] = isDefinition(given) ? given : defineActor(given);
  }
  return definitions;
}

/** What the machines of a host invoke without having it, in words. */
export function missingIn(definitions: Readonly<Record<string, ActorDefinition>>): MissingLogic {
  const all = Object.entries(definitions).map(([type, { logic }]) => ({ type, missing: missingLogic(logic) }));
  const told = (kind: keyof MissingLogic) =>
    all.flatMap(({ type, missing }) => missing[kind].map((what) => `actors.${type}: ${what}`));
  return { reached: told("reached"), unreached: told("unreached") };
}

function areByName(actors: unknown): boolean {
  if (typeof actors !== "object" || actors === null || Array.isArray(actors)) return false;
  if (isLogic(actors) || isDefinition(actors)) return false;
  // A Map, a Set: what is in them is not under names.
  return isPlain(actors) || Object.keys(actors).length > 0;
}

function isLogic(given: unknown): given is AnyActorLogic {
  return typeof (given as { readonly transition?: unknown } | null | undefined)?.transition === "function";
}

function isDefinition(given: unknown): given is ActorDefinition {
  return typeof given === "object" && given !== null && "handles" in given && "logic" in given;
}

/** What stands where logic should, in words, and what to do; undefined: it is logic. */
function wrongLogic(given: unknown): string | undefined {
  if (isLogic(given)) return undefined;
  const has = (name: string) => typeof given === "object" && given !== null && name in given;
  const advice = isDefinition(given)
    ? "a definition already"
    : typeof given === "function"
      ? `${described(given)}; pass the machine that it makes`
      : has("logic") && has("getSnapshot")
        ? "an actor that runs; pass the machine that it was made of"
        : has("default")
          ? `${described(given)}; pass its \`default\``
          : has("states") || has("initial")
            ? `${described(given)}; make it a machine with createMachine(…)`
            : described(given);
  return `${advice}: it has no transition()`;
}

/** Throws InvalidRequestError naming the types that there are. */
export function definitionNamed(definitions: Readonly<Record<string, ActorDefinition>>, type: string): ActorDefinition {
  const definition = Object.hasOwn(definitions, type) ? definitions[type] : undefined;
  if (definition === undefined) {
    throw new InvalidRequestError(
      `there is no actor type ${described(type)}; known here: ${Object.keys(definitions).join(", ")}`,
    );
  }
  return definition;
}
