/**
 * Random machines as data, and the XState machines that they describe. Every machine has a region of its own, the
 * journal, that writes down each event it sees, so that the final document alone tells what was applied. All that a
 * machine does outside goes through the ports of the node that runs it. Events of type N change nothing anywhere.
 */
import { type AnyActorLogic, assign, cancel, createMachine, emit, fromPromise, raise, sendTo } from "xstate";
import { type ActorDefinition, defineActor } from "../../runtime/definition.ts";
import { hashText } from "../../runtime/hash.ts";
import { address, effectOf } from "../../runtime/index.ts";
import type { Token } from "../../runtime/ports/store.ts";
import type { FencedRecorder } from "../world/fenced-recorder.ts";
import type { NodePorts } from "../world/node.ts";

/** One thing that a machine does. Actors are named by their number in the case. */
export type Doing =
  | { readonly do: "count" }
  | { readonly do: "named" }
  | { readonly do: "inline" }
  /** Fails in its first attempt. */
  | { readonly do: "flaky" }
  | { readonly do: "send"; readonly to: number }
  | { readonly do: "emit" }
  | { readonly do: "timer"; readonly delayMs: number; readonly id: string }
  | { readonly do: "cancel"; readonly id: string };

export type EventType = "A" | "B" | "C";

export type TransitionSpec = {
  readonly target: number | undefined;
  /** A guard that throws for events that say so. */
  readonly throws: boolean;
  readonly doing: readonly Doing[];
};

export type StateSpec = {
  readonly on: { readonly [type in EventType]?: TransitionSpec };
  readonly entry: readonly Doing[];
  readonly exit: readonly Doing[];
  readonly after?: { readonly delayMs: number; readonly target: number };
  /** Work that fails in its first `failures` attempts; three are made. */
  readonly invoke?: { readonly failures: number; readonly done: number; readonly error: number };
  /** An inner state that gives way to another after this time. */
  readonly innerMs?: number;
};

export type MachineSpec = { readonly regions: readonly (readonly StateSpec[])[] };

export type Context = {
  readonly name: string;
  /** Every event that was applied: `e:id` of a client, `m:sender:number` of another actor, others by type. */
  readonly log: readonly string[];
  /** How many messages were sent, by receiver. */
  readonly sent: Readonly<Record<string, number>>;
  /** How many timers of each id are set, as the machine itself counts: one more, one less. */
  readonly pending: Readonly<Record<string, number>>;
  /** What moves without an event from outside takes one, so that every machine comes to rest. */
  readonly fuel: number;
  readonly count: number;
};

type AnyEvent = { readonly type: string; readonly [field: string]: unknown };

/** One run of an effect, as the machine's function saw it. */
export type Performed = {
  readonly key: string;
  readonly token: Token;
  readonly attempt: number;
  readonly calledMs: number;
  readonly fence: string;
  /** Set when it reached the resource; and as which of all, since what was called later may arrive earlier. */
  outcome: "applied" | "repeated" | "fenced" | undefined;
  place: number;
  /** Set when the machine's function was through. */
  endedMs: number | undefined;
};

/** How long an effect takes; which one, its key decides. */
const durationsMs = [0, 0, 4, 250];

export type EffectWorld = {
  readonly ports: NodePorts;
  readonly recorder: FencedRecorder;
  readonly performed: Performed[];
  readonly nowMs: () => number;
};

/** The key of actor number `index`; its type is that of its machine. */
export type ActorNames = readonly { readonly type: string; readonly id: string }[];

export function defineMachine(spec: MachineSpec, actors: ActorNames, world: EffectWorld): ActorDefinition {
  const retry = { initialMs: 20, maxMs: 200 };
  const policy = {
    named: { retry },
    flaky: { retry },
    work: { retry: { ...retry, attempts: 3 } },
  };
  return defineActor(machineOf(spec, actors, world) as AnyActorLogic, {
    effects: policy,
    // Longer than anything that arrives late in these worlds.
    limits: { clientWindowMs: 600_000 },
  });
}

function machineOf(spec: MachineSpec, actors: ActorNames, world: EffectWorld): unknown {
  const perform = async (args: { readonly system: object }, failures: number): Promise<string> => {
    const { key, token, attempt } = effectOf(args);
    const fence = key.split("/").slice(0, 2).join("/");
    const run: Performed = {
      key,
      token,
      attempt,
      calledMs: world.nowMs(),
      fence,
      outcome: undefined,
      place: 0,
      endedMs: undefined,
    };
    world.performed.push(run);
    await world.ports.effect(() => {
      run.outcome = world.recorder.apply({ key, token, fence, value: attempt }).kind;
      run.place = world.recorder.recorded.length;
    });
    const durationMs = durationsMs[Number.parseInt(hashText(key).slice(0, 4), 16) % durationsMs.length] as number;
    if (durationMs > 0) await new Promise<void>((resolve) => world.ports.clock.after(durationMs, resolve));
    run.endedMs = world.nowMs();
    if (attempt <= failures) throw new Error(`attempt ${attempt} fails`);
    return key;
  };

  const actionsOf = (doing: readonly Doing[]): unknown[] => doing.flatMap((one) => actionOf(one));
  const actionOf = (one: Doing): unknown[] => {
    switch (one.do) {
      case "count":
        return [assign({ count: ({ context }: { context: Context }) => context.count + 1 })];
      case "named":
        return ["named"];
      case "flaky":
        return ["flaky"];
      case "inline":
        return [(args: { readonly system: object }) => perform(args, 0)];
      case "emit":
        return [emit({ type: "EMITTED" } as never)];
      case "timer":
        return [
          raise({ type: "TICK", id: one.id } as never, { delay: one.delayMs, id: one.id }),
          assign({ pending: ({ context }: { context: Context }) => counted(context, one.id, 1) }),
        ];
      case "cancel":
        return [
          cancel(one.id),
          assign({ pending: ({ context }: { context: Context }) => counted(context, one.id, -1) }),
        ];
      case "send": {
        const to = actors[one.to % actors.length] as ActorNames[number];
        const receiver = `${to.type}.${to.id}`;
        return [
          assign({
            sent: ({ context }: { context: Context }) => ({
              ...context.sent,
              [receiver]: (context.sent[receiver] ?? 0) + 1,
            }),
          }),
          sendTo(() => address(to.type, to.id), (({ context }: { context: Context }) => ({
            type: "M",
            from: context.name,
            k: context.sent[receiver],
          })) as never),
        ];
      }
    }
  };

  const hasFuel = ({ context }: { context: Context }): boolean => context.fuel > 0;
  const burn = assign({ fuel: ({ context }: { context: Context }) => context.fuel - 1 });
  const stateOf = (state: StateSpec, states: number): unknown => {
    const target = (index: number): string => `s${index % states}`;
    const on: Record<string, unknown> = {};
    for (const [type, transition] of Object.entries(state.on)) {
      on[type] = {
        ...(transition.target !== undefined && { target: target(transition.target) }),
        ...(transition.throws && { guard: throwingGuard }),
        actions: actionsOf(transition.doing),
      };
    }
    return {
      on,
      entry: actionsOf(state.entry),
      exit: actionsOf(state.exit),
      ...(state.after && {
        after: { [state.after.delayMs]: { guard: hasFuel, target: target(state.after.target), actions: burn } },
      }),
      ...(state.invoke && {
        invoke: {
          src: "work",
          input: { failures: state.invoke.failures },
          onDone: { guard: hasFuel, target: target(state.invoke.done), actions: burn },
          onError: { guard: hasFuel, target: target(state.invoke.error), actions: burn },
        },
      }),
      ...(state.innerMs !== undefined && {
        initial: "outer",
        states: {
          outer: { after: { [state.innerMs]: { guard: hasFuel, target: "inner", actions: burn } } },
          inner: {},
        },
      }),
    };
  };

  const regions: Record<string, unknown> = {
    journal: {
      on: {
        "*": {
          guard: ({ event }: { event: AnyEvent }) => event.type !== "N",
          actions: assign({
            log: ({ context, event }: { context: Context; event: AnyEvent }) => [...context.log, entryOf(event)],
            pending: ({ context, event }: { context: Context; event: AnyEvent }) =>
              event.type === "TICK" ? counted(context, String(event.id), -1) : context.pending,
          }),
        },
      },
    },
  };
  for (const [index, states] of spec.regions.entries()) {
    regions[`r${index}`] = {
      initial: "s0",
      states: Object.fromEntries(states.map((state, number) => [`s${number}`, stateOf(state, states.length)])),
    };
  }
  return createMachine({
    type: "parallel",
    context: ({ input }: { input: { name: string } }) => ({
      name: input.name,
      log: [],
      sent: {},
      pending: {},
      fuel: 5,
      count: 0,
    }),
    states: regions,
  } as never).provide({
    actions: {
      named: (args: { readonly system: object }) => perform(args, 0),
      flaky: (args: { readonly system: object }) => perform(args, 1),
    },
    actors: {
      work: fromPromise((args: { input: { failures: number }; system: object }) => perform(args, args.input.failures)),
    },
  } as never);
}

/** A timer that is not set cannot be cancelled. */
function counted({ pending }: Context, id: string, by: 1 | -1): Context["pending"] {
  return { ...pending, [id]: Math.max(0, (pending[id] ?? 0) + by) };
}

function throwingGuard({ event }: { event: AnyEvent }): boolean {
  if (event.throws === true) throw new Error("this guard throws");
  return true;
}

function entryOf(event: AnyEvent): string {
  if (event.type === "M") return `m:${String(event.from)}:${String(event.k)}`;
  return typeof event.id === "string" && event.type.length === 1 ? `e:${event.id}` : event.type;
}
