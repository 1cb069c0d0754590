/**
 * Makes ambient time, dice and identities virtual while the world moves, and real timers and I/O impossible. Installed
 * when a turn of the world begins and removed when it ends, so whatever runs the simulation never sees it. User code
 * that asks `Date` gets the clock of the node it runs on.
 */
import type { Violation } from "../checkers/violation.ts";
import type { World } from "../world/world.ts";

/** Code inside a simulated run reached for the real world. The stack is the culprit's. */
export class AmbientAccessError extends Error {
  override readonly name = "AmbientAccessError";

  constructor(what: string) {
    super(
      `${what} was used during a simulated run: the same seed would not be the same run. ` +
        "Wait with XState's delays or `sleep`, reach services through `service(name)`.",
    );
  }
}

type Replaced = { readonly owner: object; readonly name: string; readonly value: unknown };

const timers = ["setTimeout", "setInterval", "setImmediate"];
const outside = [
  "fetch",
  "WebSocket",
  "XMLHttpRequest",
  "EventSource",
  "MessageChannel",
  "Worker",
  "WeakRef",
  "FinalizationRegistry",
];

/** Deno's own ways out. They can be replaced, as what is imported of `node:fs` cannot. */
const denoOutside = [
  "readTextFile",
  "readFile",
  "writeTextFile",
  "writeFile",
  "open",
  "stat",
  "readDir",
  "remove",
  "mkdir",
]
  .flatMap((name) => [name, `${name}Sync`])
  .concat(["connect", "connectTls", "listen", "serve", "resolveDns", "Command"]);

/**
 * `tripwire`: also what was imported before it could be replaced (`node:fs`, `node:timers/promises`), where Node can tell;
 * and our own code gets no virtual values either, since its time and its dice are ports.
 */
export async function guard(world: World, { tripwire = false } = {}): Promise<Guard> {
  const refused: AmbientAccessError[] = [];
  const refuse = (error: AmbientAccessError): never => {
    refused.push(error);
    throw error;
  };
  const replacements = replacementsFor(world, tripwire ? refuseOwnCode : () => {}, refuse);
  if (tripwire) replacements.push(...denoReplacements(refuse));
  const wire = tripwire ? await stretchTripwire() : undefined;
  if (wire !== undefined) replacements.push(...printing(wire));
  world.onTurn(() => {
    const before = replacements.map(({ owner, name }) => Object.getOwnPropertyDescriptor(owner, name));
    for (const { owner, name, value } of replacements)
      Object.defineProperty(owner, name, { value, configurable: true, writable: true, enumerable: false });
    wire?.enable();
    return () => {
      wire?.disable();
      replacements.forEach(({ owner, name }, index) => {
        const descriptor = before[index];
        if (descriptor === undefined) Reflect.deleteProperty(owner, name);
        else Object.defineProperty(owner, name, descriptor);
      });
      const tripped = wire?.take();
      if (tripped !== undefined) throw tripped;
    };
  });
  return { violations: () => violationsOf(refused) };
}

export type Guard = {
  /** Each place that was refused what it reached for, whoever caught the error: an effect's `onError` hides it. */
  violations(): readonly Violation[];
};

export const realWorldRule = "reached for the real world";

function violationsOf(refused: readonly AmbientAccessError[]): readonly Violation[] {
  return [...new Set(refused.map(withCulprit))].map((detail) => ({ rule: realWorldRule, detail }));
}

/** What was reached for, and the line of code that did. */
export function withCulprit({ message, stack = "" }: AmbientAccessError): string {
  const culprit = stack.split("\n").find((line) => /^\s+at /.test(line) && !isOfNode.test(line));
  return [message, ...(culprit === undefined ? [] : [culprit])].join("\n");
}

/** The frames of the hook that notices, and of Node's own functions that it notices. */
const isOfNode = /\(?node:|\/run\/ambient\.[jt]s/;

export type RejectionWatch = {
  /** When the run is over: the promises that were rejected and that nobody waited for, as violations. */
  end(): Promise<readonly Violation[]>;
};

export function watchRejections(): RejectionWatch {
  const rejections: unknown[] = [];
  const onRejection = (reason: unknown): void => void rejections.push(reason);
  process.on("unhandledRejection", onRejection);
  return {
    end: async () => {
      // Told of only when a turn of the event loop ends.
      await new Promise<void>((resolve) => setImmediate(resolve));
      process.off("unhandledRejection", onRejection);
      return rejections.map((reason) => ({
        rule: "unhandled-rejection",
        detail: reason instanceof Error ? (reason.stack ?? reason.message) : String(reason),
      }));
    },
  };
}

const own = ["runtime/", "coordinator/"].map((folder) => new URL(`../../${folder}`, import.meta.url).pathname);
// XState reads the clock and rolls dice inside; of ours only tests, in which users' code stands, may.
const ownTests = /\.(test|contract|fixture)\.[jt]s/;

/** Throws where our own code, and nobody in between, is the one who asks. */
export function refuseOwnCode(what: string): void {
  const [, , , caller = ""] = new Error().stack?.split("\n") ?? [];
  if (own.some((folder) => caller.includes(folder)) && !ownTests.test(caller)) throw new AmbientAccessError(what);
}

/** `asked` is told of each use of what is virtual. */
function replacementsFor(world: World, asked: (what: string) => void, refuse: Refuse): Replaced[] {
  const dice = world.dice("ambient");
  const startMs = world.nowMs;
  const virtual = <T>(name: string, give: () => T) =>
    function given(): T {
      asked(name);
      return give();
    };
  const present = [...timers, ...outside].filter((name) => name in globalThis);
  return [
    { owner: globalThis, name: "Date", value: virtualDate(() => world.ambientNowMs(), asked) },
    { owner: Math, name: "random", value: virtual("Math.random", () => dice.next()) },
    { owner: globalThis.performance, name: "now", value: virtual("performance.now", () => world.nowMs - startMs) },
    {
      owner: globalThis.crypto,
      name: "randomUUID",
      value: virtual("crypto.randomUUID", () => uuidFrom(() => dice.next())),
    },
    {
      owner: globalThis.crypto,
      name: "getRandomValues",
      value: (array: Uint8Array) => {
        asked("crypto.getRandomValues");
        const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
        for (let index = 0; index < bytes.length; index++) bytes[index] = Math.floor(dice.next() * 256);
        return array;
      },
    },
    ...present.map((name) => refusal(globalThis, name, name, refuse)),
  ];
}

function denoReplacements(refuse: Refuse): readonly Replaced[] {
  const { Deno: deno } = globalThis as { readonly Deno?: object };
  if (deno === undefined) return [];
  return denoOutside.filter((name) => name in deno).map((name) => refusal(deno, name, `Deno.${name}`, refuse));
}

/** What is printed goes out and comes back to nobody, so it may: a line to look at is the first thing that one adds. */
function printing(wire: Tripwire): readonly Replaced[] {
  const { stdout, stderr } = process;
  const ways: readonly (readonly [owner: object, names: readonly string[]])[] = [
    [console, ["log", "info", "warn", "error", "debug", "trace", "dir", "table", "group"]],
    [stdout, ["write"]],
    [stderr, ["write"]],
  ];
  return ways.flatMap(([owner, names]) =>
    names.flatMap((name): readonly Replaced[] => {
      const print: unknown = Reflect.get(owner, name);
      if (typeof print !== "function") return [];
      const value = (...args: unknown[]): unknown => wire.aside(() => Reflect.apply(print, owner, args) as unknown);
      return [{ owner, name, value }];
    }),
  );
}

type Refuse = (error: AmbientAccessError) => never;

function refusal(owner: object, name: string, what: string, refuse: Refuse): Replaced {
  return {
    owner,
    name,
    value: function refused(): never {
      const error = new AmbientAccessError(what);
      // The first frame is then the culprit's.
      Error.captureStackTrace(error, refused);
      return refuse(error);
    },
  };
}

function virtualDate(nowMs: () => number, asked: (what: string) => void): DateConstructor {
  const now = (): number => {
    asked("Date.now");
    return Math.floor(nowMs());
  };
  return new Proxy(Date, {
    construct: (target, args: [], newTarget) => {
      if (args.length > 0) return Reflect.construct(target, args, newTarget) as Date;
      asked("new Date()");
      return Reflect.construct(target, [Math.floor(nowMs())], newTarget) as Date;
    },
    apply: (target) => {
      asked("Date()");
      return new target(Math.floor(nowMs())).toString();
    },
    get: (target, name, receiver) => (name === "now" ? now : (Reflect.get(target, name, receiver) as unknown)),
  });
}

function uuidFrom(next: () => number): string {
  const hex = Array.from({ length: 32 }, () => Math.floor(next() * 16).toString(16));
  hex[12] = "4";
  hex[16] = (8 + Math.floor(next() * 4)).toString(16);
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)]
    .map((part) => part.join(""))
    .join("-");
}

type Tripwire = {
  readonly enable: () => void;
  readonly disable: () => void;
  /** Does something that it takes no notice of. */
  readonly aside: <T>(work: () => T) => T;
  readonly take: () => Error | undefined;
};

/** What Node calls it is added: these are its names of what the event loop waits for. */
function nameOfResource(type: string): string {
  const kinds: readonly (readonly [RegExp, string])[] = [
    [/^FS/, "a file"],
    [/^(Timeout|Immediate|TIMERWRAP)/, "a real timer"],
    [/^(TCP|PIPE|TLS|UDP|HTTP)/, "a connection"],
    [/^(GETADDRINFO|GETNAMEINFO|QUERY)/, "a look-up of a name"],
    [/^TickObject/, "process.nextTick"],
    [/^(PROCESS|WORKER)/, "another process or thread"],
  ];
  const [, kind = "a resource"] = kinds.find(([names]) => names.test(type)) ?? [];
  return `${kind} (${type})`;
}

/** Whatever the event loop would have to wait for has a type of its own; promises are all that a run may make. */
async function stretchTripwire(): Promise<Tripwire | undefined> {
  const { createHook, executionAsyncId } = await import("node:async_hooks");
  let tripped: Error | undefined;
  let isAside = false;
  // What comes of printing later on, as where a test runner collects the lines and hands them over together.
  const aside = new Set<number>();
  try {
    const hook = createHook({
      init: (id, type, triggerId) => {
        if (isAside || aside.has(triggerId) || aside.has(executionAsyncId())) aside.add(id);
        else if (type !== "PROMISE" && type !== "Microtask") tripped ??= new AmbientAccessError(nameOfResource(type));
      },
    });
    return {
      enable: () => void hook.enable(),
      disable: () => void hook.disable(),
      aside: (work) => {
        const before = isAside;
        isAside = true;
        try {
          return work();
        } finally {
          isAside = before;
        }
      },
      take: () => {
        const found = tripped;
        tripped = undefined;
        return found;
      },
    };
  } catch {
    // Not on this engine: the replaced globals are what there is.
    return undefined;
  }
}
