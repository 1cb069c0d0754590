/**
 * What the compiler says of a call of `simulate` in TypeScript, said at run time for JavaScript and for what is drawn: an
 * unknown option, field or fault is refused, with the right one, since a run without it would hold for nothing.
 */
import { defaultSettings } from "../../runtime/host/settings.ts";
import { type KeysOf, refuseUnknown as refuseUnknownOptions } from "../../runtime/options.ts";
import { type CallStep, clientNamesOf, longestMs, nodeNamesOf, type Workload } from "./cluster.ts";
import type { FaultArguments, FaultKind } from "./fault.ts";
import { noSuch } from "./names.ts";
import { ruleNames } from "./rules.ts";
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

/** What each kind of fault is told. */
const faultArguments: { readonly [Kind in FaultKind]: KeysOf<FaultArguments[Kind]> } = {
  crash: { node: true, point: true, nth: true, restartAfterMs: true, wiped: true },
  pause: { node: true, forMs: true, clock: true },
  slow: { node: true, upToMs: true, forMs: true },
  cut: { from: true, to: true, oneWay: true, forMs: true },
  partition: { groups: true, forMs: true },
  flap: { from: true, to: true, everyMs: true, forMs: true },
  clog: { from: true, to: true, forMs: true },
  link: { from: true, to: true, quality: true, forMs: true },
  step: { node: true, byMs: true },
  drift: { node: true, rate: true, forMs: true },
  stop: { node: true, forMs: true },
  write: { fault: true, rate: true, forMs: true },
  read: { fault: true, rate: true, forMs: true },
  watch: { fault: true, rate: true, forMs: true },
  request: { fault: true, rate: true, forMs: true },
  publish: { fault: true, rate: true, forMs: true },
  service: { service: true, fault: true, rate: true, forMs: true },
  takeover: { partition: true, node: true, told: true },
  hold: { point: true, rate: true, forMs: true },
  nats: { fault: true, rate: true, forMs: true },
  disk: { node: true, fault: true, rate: true, forMs: true },
};
const faultKinds = Object.keys(faultArguments);
const mayBeMissing = ["point", "nth", "restartAfterMs", "wiped", "oneWay"];

/** Every name, none left out: the compiler sees to it. */
function namesOf<TName extends string>(all: Readonly<Record<TName, true>>): readonly string[] {
  return Object.keys(all);
}

export function checkOptions(options: SimulateOptions): void {
  for (const name of Object.keys(options)) refuseUnknown("option", name, optionNames);
  const { workload, faults = [] } = options;
  if (isDriven(workload))
    for (const name of Object.keys(workload)) refuseUnknown("field of a workload that drives", name, ["drive"]);
  const isWorkload = typeof workload === "function" || Array.isArray(workload) || isDriven(workload);
  if (!isWorkload)
    throw new TypeError(
      "a simulation needs a workload: steps, a function that draws them, or { drive: async (…) => … }",
    );
  refuseUnknownOptions("settings of the simulation", options.settings, defaultSettings, RangeError);
  const { except = [], invariants = {}, always = {} } = options;
  const rules = [...ruleNames, ...Object.keys(invariants), ...Object.keys(always)];
  for (const rule of except) refuseUnknown("rule", rule, rules);
  for (const [what, all] of Object.entries({ invariants, always }))
    for (const [rule, holds] of Object.entries(all))
      if (typeof holds !== "function")
        throw new TypeError(`${what}: ${JSON.stringify(rule)} is no function that returns true, false or a text`);
  for (const name of ["nodes", "partitions", "clients", "requestTimeoutMs"] as const)
    if (options[name] !== undefined && !isCount(options[name], 1))
      throw new RangeError(`${name} is ${JSON.stringify(options[name])}; it must be a whole number from 1`);
  checkServices(options);
  if (!Array.isArray(faults)) throw new TypeError("faults are an array of families and kinds, or of faults");
  for (const fault of faults as readonly unknown[]) {
    if (typeof fault === "string") refuseUnknown("fault", fault, [...Object.keys(faultFamilies), ...faultKinds]);
    else checkFault(fault as Given);
  }
}

function isCount(value: unknown, least: number): boolean {
  return Number.isSafeInteger(value) && (value as number) >= least;
}

function checkServices({ services = {}, nodes = 3, clients = 1 }: SimulateOptions): void {
  const taken = [...nodeNamesOf(nodes), ...clientNamesOf(clients), "store", "leases"];
  for (const [name, service] of Object.entries(services)) {
    if (typeof service !== "function" && service?.kind !== "fenced")
      throw new TypeError(
        `the service ${JSON.stringify(name)} is no function that answers a request, and not fenced()`,
      );
    if (taken.includes(name))
      throw new RangeError(`a service cannot be called ${JSON.stringify(name)}: so is a part of the simulation`);
  }
}

type Given = { readonly at?: unknown; readonly kind?: unknown; readonly args?: unknown } | null | undefined;

export function checkFault(fault: Given): void {
  const kind = String(fault?.kind);
  refuseUnknown("kind of fault", kind, faultKinds);
  for (const name of Object.keys(fault ?? {})) refuseUnknown("field of a fault", name, ["at", "kind", "args"]);
  const fields = Object.keys(faultArguments[kind as FaultKind]);
  const args = (fault?.args ?? {}) as Readonly<Record<string, unknown>>;
  for (const name of Object.keys(args)) refuseUnknown(`argument of the fault ${kind}`, name, fields);
  const missing = fields.filter((name) => args[name] === undefined && !mayBeMissing.includes(name));
  if (missing.length > 0) throw new TypeError(`the fault ${JSON.stringify(fault)} lacks ${missing.join(", ")}`);
  const wrong = Object.keys(args).filter(
    (name) => /Ms$|^(rate|nth|partition)$/.test(name) && !Number.isFinite(args[name]),
  );
  if (!Number.isFinite(fault?.at)) wrong.push("at");
  if (wrong.length > 0) throw new TypeError(`the fault ${JSON.stringify(fault)}: ${wrong.join(", ")} must be a number`);
}

function isDriven(workload: unknown): workload is { readonly drive: Workload } {
  return typeof (workload as { readonly drive?: unknown } | null | undefined)?.drive === "function";
}

/** Refuses steps that would test nothing, or never be done. */
export function checkSteps(steps: unknown): asserts steps is readonly CallStep[] {
  if (!Array.isArray(steps))
    throw new TypeError("the workload must return an array of steps, not a promise nor anything else");
  steps.forEach(checkStep);
  const ms = longestMs(steps);
  if (ms > mostWaitMs)
    throw new RangeError(
      `the steps of one client wait ${ms} ms in all, and a run ends after ${mostWaitMs} virtual ms: ` +
        "give the machine short delays for the simulation, `machine.provide({ delays: { expiry: 5_000 } })`",
    );
}

/** Of a workload that is the same for every seed: who is sent to without being made is a name misspelt. */
export function checkMade(steps: readonly CallStep[]): void {
  const made = new Set(steps.flatMap((step) => (isMaking(step) ? [step.to] : [])));
  const index = steps.findIndex(({ to }) => !made.has(to));
  if (index < 0) return;
  throw new RangeError(
    `step ${index + 1} of the workload, ${JSON.stringify(steps[index])}: ${noSuch("step that creates", steps[index]?.to ?? "", [...made])}; ` +
      'if that is meant, leave it out by `except: ["step-refused"]`',
  );
}

function isMaking({ create, send, delete: ends }: CallStep): boolean {
  return create !== undefined || (send === undefined && ends !== true);
}

const mostWaitMs = 600_000;

function checkStep(step: CallStep, index: number): void {
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
  const { waitMs = 0, client = 1, retries = 0 } = step;
  if (!(Number.isFinite(waitMs) && waitMs >= 0)) return "its `waitMs` is no time in milliseconds";
  if (!isCount(client, 1)) return "its `client` is no whole number from 1";
  if (!isCount(retries, 0)) return "its `retries` is no whole number";
  return undefined;
}

function refuseUnknown(what: string, name: string, all: readonly string[]): void {
  if (!all.includes(name)) throw new RangeError(noSuch(what, name, all));
}
