#!/usr/bin/env node
/**
 * Proves the shape of the source tree: which file may import which, and that pure cores stay pure. The rules are the
 * tables below; the rest reads the source as tokens (so comments and strings do not count) and applies them.
 * Run without arguments from the repository's root; it prints each violation and fails if there is one.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, posix, relative } from "node:path";
import { fileURLToPath } from "node:url";

/** Where source lives, what is not looked at. */
const sourceFolders = ["runtime", "coordinator", "actors", "simulations", "benchmarks", "examples"];
const sourceEndings = [".ts", ".mts", ".tsx"];

/**
 * Each file belongs to the first layer that has a matching pattern: `*` is within a folder, `**` is any depth.
 * A file that matches none is a violation, so a new folder needs a decision here.
 */
const layers = [
  ["test", ["**/*.test.ts", "**/*.contract.ts", "**/*.fixture.ts"]],
  ["public", ["actors/**", "examples/**", "runtime/testing/examples/**"]],
  [
    "entry",
    [
      "runtime/index.ts",
      "runtime/runtime.ts",
      "runtime/connect.ts",
      "runtime/schedules.ts",
      "runtime/control/**",
      "runtime/cli/**",
      "runtime/testing/**",
    ],
  ],
  // Puts store, bus and leases together, which do not know each other.
  ["entry", ["runtime/adapters/jetstream/index.ts", "runtime/adapters/redis/index.ts", "runtime/telemetry/**"]],
  ["entry", ["coordinator/index.ts", "coordinator/*-leases.ts", "simulations/**", "benchmarks/**"]],
  [
    "driver",
    ["runtime/host/**", "runtime/client/**", "runtime/client.ts", "runtime/entrance.ts", "runtime/listing.ts"],
  ],
  // Reads cron patterns with a library, for the pure schedules beside it.
  ["adapter", ["coordinator/schedule/croner.ts"]],
  ["driver", ["epoch", "user-leases", "session-life"].map((name) => `coordinator/lease/${name}.ts`)],
  ["driver", ["coordinator/placement/partition-leases.ts"]],
  // The log of a member on its disk: it waits for the disk port, and knows no real one.
  ["driver", ["coordinator/log/**"]],
  [
    "driver",
    ["member", "requests", "leading", "membership", "leases", "wire", "state", "recover", "silence"].map(
      (name) => `coordinator/backends/raft/${name}.ts`,
    ),
  ],
  ["port", ["runtime/ports/**", "coordinator/ports/**"]],
  ["transport", ["runtime/adapters/nats/**", "runtime/adapters/redis-link/**"]],
  ["adapter", ["runtime/adapters/**", "coordinator/backends/**", "coordinator/guards/**"]],
  ["core", ["runtime/machine/**", "runtime/step/**", "runtime/*.ts"]],
  ["core", ["coordinator/raft/**", "coordinator/lease/**", "coordinator/schedule/**", "coordinator/placement/**"]],
];

/** Imports point inwards: what each layer may import from the tree. A path stands for that file alone. */
const mayImport = {
  core: ["core", "port"],
  port: ["port"],
  adapter: [
    ["adapter", "port", "transport", ...["hash", "options", "seldom"].map((name) => `runtime/${name}.ts`)],
    // The holder's side, the arithmetic and the errors of the lease contract, which every back end shares.
    ["session-life", "validity", "errors"].map((name) => `coordinator/lease/${name}.ts`),
  ].flat(),
  /** One connection to a server, shared by the adapters that speak over it. */
  transport: ["transport", "port", "runtime/options.ts"],
  driver: ["driver", "core", "port"],
  entry: ["entry", "driver", "core", "port", "adapter", "transport", "public"],
  public: [
    "public",
    "runtime/index.ts",
    "runtime/testing/index.ts",
    "runtime/adapters/*/index.ts",
    "coordinator/index.ts",
    "coordinator/schedule/index.ts",
  ],
  test: ["test", "entry", "driver", "core", "port", "adapter", "transport", "public"],
};

/** Adapters do not know each other: one imports another only from its own folder. */
const staysInItsFolder = ["adapter"];

/** What a layer may import from outside the tree: packages, or Node's own modules. */
const mayUseOutside = {
  // Computation only: base64, and telling a Date of another realm. No I/O, clock or dice in either.
  core: ["node:buffer", "node:util"],
  port: [],
  adapter: ["**"],
  transport: ["**"],
  driver: ["node:async_hooks", "@opentelemetry/api"],
  entry: ["**"],
  public: ["**"],
  test: ["**"],
};

/** XState is known to these by value; elsewhere only its types, by `import type`. */
const xstate = {
  packages: ["xstate", "xstate/**", "xstate-oldest", "xstate-oldest/**"],
  byValue: ["runtime/machine/**", "runtime/testing/**", "actors/**", "examples/**", "simulations/**", "benchmarks/**"],
};

/**
 * Where code may depend on nothing but its arguments: these layers, and the simulated world, which must be the same
 * for the same seed.
 */
const withoutAmbient = {
  layers: ["core", "port", "driver"],
  files: ["simulations/world/**", "simulations/checkers/**", "simulations/models/**"],
};
/** What a single file there may use all the same. */
const excepted = {
  // It drives the world: a turn of the event loop lets all promises run, and says nothing of the time.
  "simulations/world/loop.ts": ["setImmediate", "clearImmediate"],
};
/** The globals that would break it. `Date` is one more, but only where it reads the clock. */
const ambient = {
  "the clock": ["performance", "Temporal"],
  "a timer": [
    ["setTimeout", "setInterval", "setImmediate", "queueMicrotask"],
    ["clearTimeout", "clearInterval", "clearImmediate"],
  ].flat(),
  dice: ["crypto"],
  "I/O": ["process", "fetch", "console", "require", "WebSocket", "XMLHttpRequest"],
  "whatever is global": ["globalThis", "global"],
};

/** Waiting is for drivers and adapters. */
const waitingLayers = ["core"];
const waiting = ["await", "async"];

/** Names under which things pile up: a type or function lives with the concept it describes. */
const pileNames = ["**/utils.*", "**/helpers.*", "**/types.*", "**/common/**"];

/** Files that nothing imports but that are run: the entry points come from package.json (`dist/x.js` is `x.ts`). */
const alsoRun = [
  "vitest.config.ts",
  "**/*.test.ts",
  "runtime/testing/deno-suite.fixture.ts",
  "runtime/telemetry/traced-node.fixture.ts",
  "simulations/run/trace-hashes.ts",
  "simulations/run/deno-guards.fixture.ts",
];

/**
 * @typedef {{ path: string, line: number, rule: string, what: string }} Violation
 * @typedef {{ kind: "word" | "text" | "mark", value: string, line: number }} Token
 * @typedef {{ specifier: string | undefined, typeOnly: boolean, line: number }} Import
 */

/**
 * @param {ReadonlyMap<string, string>} files source text by path from the root, with forward slashes
 * @param {string} [packageJson] its text; without it, reachability is not judged
 * @returns {Violation[]} in the order of the files
 */
export function checkShape(files, packageJson) {
  const violations = [];
  const importsOf = new Map();
  for (const [path, text] of [...files].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const report = (line, rule, what) => violations.push({ path, line, rule, what });
    if (pileNames.some((pattern) => matches(path, pattern)))
      report(1, "pile", "give the file the name of the concept in it, not of a pile");
    const layer = layerOf(path);
    if (layer === undefined) {
      report(1, "layer", "belongs to no layer of scripts/check-shape.mjs");
      continue;
    }
    const tokens = tokensOf(text);
    const imports = importsIn(tokens);
    importsOf.set(path, imports);
    for (const found of imports) checkImport(path, layer, found, files, report);
    if (staysPure(path, layer)) checkAmbient(tokens, excepted[path] ?? [], report);
    if (waitingLayers.includes(layer)) checkWaiting(tokens, report);
  }
  if (packageJson !== undefined) violations.push(...unreachable(files, importsOf, packageJson));
  return violations;
}

function layerOf(path) {
  return layers.find(([, patterns]) => patterns.some((pattern) => matches(path, pattern)))?.[0];
}

function staysPure(path, layer) {
  if (layer === "test") return false;
  return withoutAmbient.layers.includes(layer) || withoutAmbient.files.some((pattern) => matches(path, pattern));
}

/** @param {Import} found */
function checkImport(path, layer, found, files, report) {
  const { specifier, typeOnly, line } = found;
  if (specifier === undefined) {
    if (!mayUseOutside[layer].includes("**")) report(line, "outside", "imports a computed module");
    return;
  }
  if (!specifier.startsWith(".")) {
    checkOutside(path, layer, specifier, typeOnly, line, report);
    return;
  }
  const target = resolve(path, specifier);
  if (!files.has(target)) {
    report(line, "missing", `imports ${specifier}, which is not there`);
    return;
  }
  const targetLayer = layerOf(target);
  const allowed = mayImport[layer].some((rule) => rule === targetLayer || matches(target, rule));
  if (!allowed) report(line, "inwards", `${layer} imports ${target} (${targetLayer})`);
  else if (layer === targetLayer && staysInItsFolder.includes(layer) && !besides(path, target))
    report(line, "inwards", `${layer} imports another ${layer}, ${target}`);
}

function checkOutside(path, layer, specifier, typeOnly, line, report) {
  if (xstate.packages.some((name) => matches(specifier, name))) {
    const byValue = layer === "test" || xstate.byValue.some((pattern) => matches(path, pattern));
    if (!byValue && !typeOnly) report(line, "xstate", `imports ${specifier} by value; only its types are allowed here`);
    return;
  }
  if (!mayUseOutside[layer].some((pattern) => matches(specifier, pattern)))
    report(line, "outside", `${layer} imports ${specifier}`);
}

/** Whether both are in one adapter: the same folder, or a file beside the folders of the adapters. */
function besides(path, target) {
  const [a, b] = [posix.dirname(path), posix.dirname(target)];
  return a === b || a.startsWith(`${b}/`) || b.startsWith(`${a}/`);
}

/** @param {Token[]} tokens */
function checkAmbient(tokens, allowed, report) {
  const meaning = new Map(Object.entries(ambient).flatMap(([what, names]) => names.map((name) => [name, what])));
  tokens.forEach((token, index) => {
    if (token.kind !== "word" || allowed.includes(token.value) || !isGlobal(tokens, index)) return;
    const what = meaning.get(token.value);
    if (what !== undefined) report(token.line, "ambient", `uses ${token.value}: ${what}`);
    const [next, after] = [tokens[index + 1]?.value, tokens[index + 2]?.value];
    if (token.value === "Math" && isDot(next) && after === "random")
      report(token.line, "ambient", "uses Math.random: dice");
    if (token.value === "Date" && readsClock(tokens, index))
      report(token.line, "ambient", "uses Date for now: the clock");
  });
}

/** `Date.now`, `Date()` and `new Date()` read the clock; `new Date(ms)`, `Date.parse` and the type do not. */
function readsClock(tokens, index) {
  const [previous, next, after, then] = [-1, 1, 2, 3].map((offset) => tokens[index + offset]?.value);
  if (isDot(next)) return after === "now";
  if (previous !== "new") return next === "(";
  return next !== "(" || after === ")" || (after === "." && then === ".");
}

/** @param {Token[]} tokens */
function checkWaiting(tokens, report) {
  tokens.forEach((token, index) => {
    if (token.kind === "word" && waiting.includes(token.value) && isGlobal(tokens, index))
      report(token.line, "waiting", `uses ${token.value}`);
  });
}

/** Whether the word at `index` means the global (or keyword): not a member, a key, or a method that is declared. */
function isGlobal(tokens, index) {
  const [previous, next] = [tokens[index - 1]?.value, tokens[index + 1]?.value];
  if (isDot(previous)) return false;
  const startsMember = [undefined, "{", ",", ";", "}", "readonly", "get", "set", "static", "private"].includes(
    previous,
  );
  if (next === ":" || (next === "?" && tokens[index + 2]?.value === ":")) return !startsMember;
  if (next !== "(" || !startsMember) return true;
  const end = tokens[closing(tokens, index + 1) + 1]?.value;
  return end !== "{" && end !== ":";
}

function isDot(value) {
  return value === "." || value === "?.";
}

/** The index of the parenthesis that closes the one at `open`. */
function closing(tokens, open) {
  let depth = 0;
  for (let index = open; index < tokens.length; index++) {
    if (tokens[index].value === "(" && tokens[index].kind === "mark") depth++;
    if (tokens[index].value === ")" && tokens[index].kind === "mark") depth--;
    if (depth === 0) return index;
  }
  return tokens.length;
}

/** @param {Token[]} tokens @returns {Import[]} */
function importsIn(tokens) {
  const found = [];
  tokens.forEach((token, index) => {
    if (token.kind !== "word" || isDot(tokens[index - 1]?.value)) return;
    const next = tokens[index + 1];
    if (token.value === "import" && next?.value === "(" && next.kind === "mark") {
      const specifier = tokens[index + 2]?.kind === "text" ? tokens[index + 2].value : undefined;
      // `import("x").Name` in a type names a type; by value it would have to be awaited first.
      const typeOnly = isDot(tokens[index + 4]?.value) && /^[A-Z]/.test(tokens[index + 5]?.value ?? "");
      found.push({ specifier, typeOnly, line: token.line });
    } else if (token.value === "import" && next?.kind === "text") {
      found.push({ specifier: next.value, typeOnly: false, line: token.line });
    } else if (token.value === "import" || token.value === "export") {
      const from = fromClause(tokens, index, token.value);
      if (from !== undefined) found.push({ specifier: from, typeOnly: isTypeImport(tokens, index), line: token.line });
    } else if (token.value === "URL" && next?.value === "(" && tokens[index + 2]?.kind === "text") {
      // A worker or a child process: `new URL("./worker.ts", import.meta.url)`.
      const text = tokens[index + 2].value;
      if (text.startsWith(".") && /\.[mc]?[jt]sx?$/.test(text))
        found.push({ specifier: text.replace(/js$/, "ts"), typeOnly: false, line: token.line });
    }
  });
  return found;
}

/** The module of `import … from "x"` or `export … from "x"`, which ends before the next statement can begin. */
function fromClause(tokens, index, keyword) {
  const next = tokens[index + 1]?.value === "type" ? tokens[index + 2]?.value : tokens[index + 1]?.value;
  if (keyword === "export" && next !== "{" && next !== "*") return undefined;
  for (let at = index + 1; at < tokens.length; at++) {
    const { kind, value } = tokens[at];
    if (value === "from" && tokens[at + 1]?.kind === "text") return tokens[at + 1].value;
    if (kind === "text" || (kind === "mark" && !["{", "}", ",", "*"].includes(value))) return undefined;
    if (value === "}" && tokens[at + 1]?.value !== "from") return undefined;
  }
  return undefined;
}

/** `import type X from` and `export type { X } from` vanish; `import { type X } from` still loads the module. */
function isTypeImport(tokens, index) {
  const following = tokens[index + 2];
  return tokens[index + 1]?.value === "type" && following?.value !== "from" && following?.value !== ",";
}

function unreachable(files, importsOf, packageJson) {
  const starts = [...packageJson.matchAll(/\bdist\/([\w./-]+?)\.js\b/g)].map(([, name]) => `${name}.ts`);
  const missing = [...new Set(starts)].filter((path) => !files.has(path));
  const reached = new Set();
  const waitingFor = [...files.keys()].filter((path) => alsoRun.some((pattern) => matches(path, pattern)));
  waitingFor.push(...starts.filter((path) => files.has(path)));
  for (let path = waitingFor.pop(); path !== undefined; path = waitingFor.pop()) {
    if (reached.has(path)) continue;
    reached.add(path);
    for (const { specifier } of importsOf.get(path) ?? [])
      if (specifier?.startsWith(".")) waitingFor.push(resolve(path, specifier));
  }
  const lost = [...files.keys()].filter((path) => !reached.has(path)).sort();
  return [
    ...missing.map((path) => ({
      path: "package.json",
      line: 1,
      rule: "missing",
      what: `names ${path}, which is not there`,
    })),
    ...lost.map((path) => ({ path, line: 1, rule: "lost", what: "is reached from no entry point and no test" })),
  ];
}

function resolve(path, specifier) {
  return posix.normalize(posix.join(posix.dirname(path), specifier));
}

function matches(path, pattern) {
  const source = pattern
    .replace(/[.+^${}()|[\]\\]/g, "\\$&")
    .replace(/\*\*\/|\*\*|\*/g, (star) => ({ "**/": "(?:.*/)?", "**": ".*", "*": "[^/]*" })[star] ?? star);
  return new RegExp(`^${source}$`).test(path);
}

/** Words, texts (their content only) and marks of TypeScript; comments and regular expressions leave nothing. */
function tokensOf(source) {
  /** @type {Token[]} */
  const tokens = [];
  let at = 0;
  let line = 1;
  /** Depth of braces at which a `${` was opened, so that its `}` goes on with the template. */
  const templates = [];
  let depth = 0;

  const take = (end) => {
    const taken = source.slice(at, end);
    for (const character of taken) if (character === "\n") line++;
    at = end;
    return taken;
  };
  const push = (kind, value, atLine) => tokens.push({ kind, value, line: atLine });
  const template = () => {
    let end = at;
    while (end < source.length && source[end] !== "`" && !source.startsWith("${", end))
      end += source[end] === "\\" ? 2 : 1;
    const atLine = line;
    push("text", take(end), atLine);
    if (source[at] === "`") take(at + 1);
    else if (at < source.length) {
      templates.push(depth);
      take(at + 2);
    }
  };

  while (at < source.length) {
    const rest = source.slice(at, at + 2);
    const character = source[at];
    if (/\s/.test(character)) take(at + 1);
    else if (rest === "//" || (at === 0 && rest === "#!")) take(endOf(source, "\n", at));
    else if (rest === "/*") take(endOf(source, "*/", at + 2) + 2);
    else if (character === '"' || character === "'") {
      let end = at + 1;
      while (end < source.length && source[end] !== character) end += source[end] === "\\" ? 2 : 1;
      const atLine = line;
      push("text", take(end + 1).slice(1, -1), atLine);
    } else if (character === "`") {
      take(at + 1);
      template();
    } else if (/[\p{ID_Start}$_#]/u.test(character)) {
      const [word] = /^[#\p{ID_Continue}$]+/u.exec(source.slice(at)) ?? [character];
      push("word", take(at + word.length), line);
    } else if (/\d/.test(character)) {
      const [number] = /^[\w.]+/.exec(source.slice(at)) ?? [character];
      push("mark", take(at + number.length), line);
    } else if (character === "/" && regexMayBegin(tokens.at(-1))) {
      take(endOfRegex(source, at));
      push("text", "", line);
    } else if (character === "}" && templates.at(-1) === depth) {
      templates.pop();
      take(at + 1);
      template();
    } else {
      if (character === "{") depth++;
      if (character === "}") depth--;
      const mark = rest === "?." || rest === "=>" ? rest : character;
      push("mark", take(at + mark.length), line);
    }
  }
  return tokens;
}

function endOf(source, ending, from) {
  const end = source.indexOf(ending, from);
  return end < 0 ? source.length : end;
}

/** A slash divides after a value and opens a regular expression elsewhere. */
function regexMayBegin(previous) {
  if (previous === undefined) return true;
  if (previous.kind === "text") return false;
  if (previous.kind === "word")
    return ["return", "typeof", "case", "in", "of", "void", "yield"].includes(previous.value);
  return !/^[\d)\]}]/.test(previous.value);
}

function endOfRegex(source, from) {
  let inClass = false;
  let at = from + 1;
  for (; at < source.length && source[at] !== "\n"; at++) {
    if (source[at] === "\\") at++;
    else if (source[at] === "[") inClass = true;
    else if (source[at] === "]") inClass = false;
    else if (source[at] === "/" && !inClass) break;
  }
  return at + 1;
}

function readTree(root) {
  const files = new Map();
  const walk = (folder) => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) walk(path);
      else if (sourceEndings.some((ending) => entry.name.endsWith(ending)))
        files.set(relative(root, path).replaceAll("\\", "/"), readFileSync(path, "utf8"));
    }
  };
  const present = new Set(readdirSync(root));
  for (const folder of sourceFolders) if (present.has(folder)) walk(join(root, folder));
  return files;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = dirname(dirname(fileURLToPath(import.meta.url)));
  const files = readTree(root);
  const violations = checkShape(files, readFileSync(join(root, "package.json"), "utf8"));
  for (const { path, line, rule, what } of violations) console.error(`${path}:${line} ${rule}: ${what}`);
  if (violations.length > 0) {
    console.error(`check-shape: ${violations.length} violations in ${files.size} files`);
    process.exitCode = 1;
  } else console.log(`check-shape: ${files.size} files keep their shape`);
}
