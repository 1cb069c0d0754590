/** All verbs, over a running host. Events and inputs come encoded, and take the way of every other caller's. */
import { resolve } from "node:path";
import type { AnyActorLogic, AnyStateMachine, StateValue } from "xstate";
import type { ActorHandle } from "../client.ts";
import type { ActorDefinition } from "../definition.ts";
import { readDocument } from "../document.ts";
import type { ParkedRecord } from "../host/parking.ts";
import { DamagedValueError, type Json } from "../machine/codec.ts";
import { mermaidOf } from "../machine/graph.ts";
import { unknownName } from "../machine/names.ts";
import { rootSid, Tree } from "../machine/tree.ts";
import type { ActorStore } from "../ports/store.ts";
import type { RuntimeInfo } from "../runtime.ts";
import type { JobHandle } from "../schedules.ts";
import { ControlError } from "./errors.ts";
import { readingVerbs } from "./reading-verbs.ts";
import type { ListQuestion, Verbs } from "./verbs.ts";

/** What the verbs need of a runtime. */
export type ControlledRuntime = {
  actor(type: string, id: string): ActorHandle<AnyActorLogic>;
  job(name: string): JobHandle;
  parked(): ParkedRecord[];
  info(): RuntimeInfo;
};

export type HostVerbsOptions = {
  readonly directory: string;
  readonly store: ActorStore;
  readonly definitions: Readonly<Record<string, ActorDefinition>>;
  readonly runtime: ControlledRuntime;
};

export function hostVerbs({ directory, store, definitions, runtime }: HostVerbsOptions): Verbs {
  const reading = readingVerbs(store, async () => runtime.parked());
  const keyed = (key: string | undefined) => (key === undefined ? {} : { key });
  return {
    ...reading,

    async ls(question) {
      return { ...(await reading.ls(question)), unknown: unknownIn(definitions, question) ?? null };
    },

    async info() {
      const { store: storeInfo, types, ...host } = runtime.info();
      return { directory: resolve(directory), host: { pid: process.pid, types, ...host }, store: storeInfo };
    },

    async send({ type, id, event, key }) {
      return runtime.actor(type, id).send(decoded(event, "event") as { type: string }, keyed(key));
    },

    async create({ type, id, input, key }) {
      return runtime.actor(type, id).create(input === undefined ? undefined : decoded(input, "input"), keyed(key));
    },

    async resume({ type, id, mode }) {
      await runtime.actor(type, id).resume(mode);
      return { type, id };
    },

    async removeJob({ name }) {
      const job = runtime.job(name);
      const state = await job.state();
      if (state === undefined) throw noJob(name);
      await job.remove();
      return { name, changed: state.removed !== true };
    },

    async graph({ type, id }) {
      const definition = Object.hasOwn(definitions, type) ? definitions[type] : undefined;
      if (definition === undefined) {
        const known = Object.keys(definitions).join(", ");
        throw new ControlError(
          "InvalidRequest",
          `there is no actor type ${JSON.stringify(type)}; this host has ${known}`,
        );
      }
      const text = id === undefined ? undefined : (await reading.get({ type, id })).text;
      return drawn(definition.logic, type, text);
    },
  };
}

export function noJob(name: string): ControlError {
  return new ControlError("NotFound", `job ${JSON.stringify(name)} does not exist`);
}

/** What no actor of this host can be or have. */
function unknownIn(
  definitions: HostVerbsOptions["definitions"],
  { type, state, tag }: ListQuestion,
): string | undefined {
  if (type !== undefined && !Object.hasOwn(definitions, type))
    return `there is no actor type ${JSON.stringify(type)}; this host has ${Object.keys(definitions).join(", ")}`;
  const asked = { ...(state !== undefined && { state }), ...(tag !== undefined && { tag }) };
  const types = type === undefined ? Object.keys(definitions) : [type];
  const unknown = types.map((name) => unknownName(definitions[name]?.logic, asked));
  if (unknown.length === 0 || unknown.includes(undefined)) return undefined;
  return types.map((name, index) => `${name} has ${unknown[index]}`).join("; ");
}

/** A value as it came, dates and the like revived. Throws ControlError. */
export function decoded(value: unknown, what: "event" | "input"): unknown {
  try {
    return Tree.codec({}).decodeValue(value as Json);
  } catch (error) {
    if (!(error instanceof DamagedValueError)) throw error;
    const path = error.path.replace(/^value/, what);
    throw new ControlError("InvalidRequest", `${path} is not usable: ${error.what}`, { cause: error });
  }
}

/** A machine as a diagram; `text`: the document whose state is marked. */
export function drawn(
  logic: unknown,
  name: string,
  text?: string,
): { readonly mermaid: string; readonly state?: string } {
  if (!isMachine(logic)) {
    throw new ControlError("NotSupported", `${name} is no state machine: only machines have a graph`);
  }
  if (text === undefined) return { mermaid: mermaidOf(logic) };
  const document = readDocument(text);
  const value = (document.actors[rootSid]?.snap as { readonly value?: StateValue } | undefined)?.value;
  return { mermaid: mermaidOf(logic, value === undefined ? undefined : { value }), state: document.state };
}

function isMachine(logic: unknown): logic is AnyStateMachine {
  const { root, transition } = (logic ?? {}) as { root?: { states?: unknown }; transition?: unknown };
  return typeof root?.states === "object" && typeof transition === "function";
}
