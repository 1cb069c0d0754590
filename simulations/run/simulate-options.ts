/**
 * What the compiler says of a call of `simulate` in TypeScript, said at run time for JavaScript and for what is drawn: an
 * unknown option, field or fault is refused, with the right one, since a run without it would hold for nothing.
 */
import type { CallStep } from "./cluster.ts";
import type { FaultKind } from "./fault.ts";
import { noSuch } from "./names.ts";
import type { SimulateOptions } from "./simulate.ts";
import { faultFamilies } from "./swarm.ts";

const optionNames = namesOf<keyof SimulateOptions>({
  name: true,
  actors: true,
  workload: true,
  invariants: true,
  always: true,
  except: true,
  faults: true,
  seeds: true,
  services: true,
  nodes: true,
  partitions: true,
  clients: true,
  ground: true,
  settings: true,
  requestTimeoutMs: true,
});

const stepFields = namesOf<keyof CallStep>({
  to: true,
  send: true,
  create: true,
  delete: true,
  key: true,
  retries: true,
  client: true,
  waitMs: true,
  first: true,
});

const faultKinds = namesOf<FaultKind>({
  crash: true,
  pause: true,
  slow: true,
  cut: true,
  partition: true,
  flap: true,
  clog: true,
  link: true,
  step: true,
  drift: true,
  stop: true,
  write: true,
  read: true,
  watch: true,
  request: true,
  publish: true,
  service: true,
  takeover: true,
  hold: true,
  nats: true,
  disk: true,
});

/** Every name, none left out: the compiler sees to it. */
function namesOf<TName extends string>(all: Readonly<Record<TName, true>>): readonly string[] {
  return Object.keys(all);
}

export function checkOptions(options: SimulateOptions): void {
  for (const name of Object.keys(options)) refuseUnknown("option", name, optionNames);
  const { workload, faults = [] } = options;
  const isWorkload =
    typeof workload === "function" || Array.isArray(workload) || typeof (workload as Driven)?.drive === "function";
  if (!isWorkload)
    throw new TypeError(
      "a simulation needs a workload: steps, a function that draws them, or { drive: async (…) => … }",
    );
  if (!Array.isArray(faults)) throw new TypeError("faults are an array of families and kinds, or of faults");
  for (const fault of faults as readonly unknown[]) {
    if (typeof fault === "string") refuseUnknown("fault", fault, [...Object.keys(faultFamilies), ...faultKinds]);
    else refuseUnknown("kind of fault", String((fault as { readonly kind?: unknown } | null)?.kind), faultKinds);
  }
}

type Driven = { readonly drive?: unknown } | undefined;

export function checkStep(step: CallStep, index: number): void {
  const which = `step ${index + 1} of the workload, ${JSON.stringify(step)}`;
  if (typeof step !== "object" || step === null)
    throw new TypeError(`${which}, is no step: it is written as { to, send }`);
  const problem = problemOf(step);
  if (problem !== undefined) throw new TypeError(`${which}: ${problem}`);
}

function problemOf(step: CallStep): string | undefined {
  const unknown = Object.keys(step).find((field) => !stepFields.includes(field));
  if (unknown !== undefined) return noSuch("field", unknown, stepFields);
  if (typeof step.to !== "string") return "it lacks `to`, the actor that it is for, such as counter/a";
  if (!/^[^/]+\/./.test(step.to)) return "its `to` is no actor: it is written as type/id, such as counter/a";
  if (step.send !== undefined && typeof step.send?.type !== "string") return "its `send` lacks a `type`";
  return undefined;
}

function refuseUnknown(what: string, name: string, all: readonly string[]): void {
  if (!all.includes(name)) throw new RangeError(noSuch(what, name, all));
}
