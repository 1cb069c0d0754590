/**
 * Compiles and runs small programs in child processes, one process per test case. It keeps honest programs within
 * their limits; it is no security sandbox: a program may read files, open sockets, and signal other processes.
 */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Ended, type Finished, type Limits, runLimited, SandboxError } from "./process.ts";
import { createSemaphore } from "./semaphore.ts";

export type Language = "javascript" | "python";
export type Program = { readonly language: Language; readonly source: string };
export type TestCase = { readonly input: string; readonly output: string };

export type Compiled = { readonly ok: boolean; readonly message: string };

/** `passed` counts the test cases before the first that failed; the others did not run. */
export type Report = {
  readonly outcome: "passed" | "wrong" | "crashed" | "timedOut";
  readonly passed: number;
  readonly total: number;
  readonly message: string;
};

/** Rejections mean that the world failed (SandboxError) or that the signal was aborted; all else is a result. */
export interface Sandbox {
  compile(program: Program, signal: AbortSignal): Promise<Compiled>;
  run(program: Program, tests: readonly TestCase[], signal: AbortSignal): Promise<Report>;
}

export type SandboxSettings = {
  /** How many child processes may run at once. */
  readonly concurrency: number;
  /** Where each step makes, and removes, its own directory. */
  readonly scratch: string;
  /** Absolute paths. A language without one is refused as a compile error. */
  readonly interpreters: { readonly javascript: string; readonly python?: string };
  readonly limits?: Partial<Limits>;
  readonly maxSourceBytes?: number;
};

const mebibyte = 1024 * 1024;
const defaultLimits: Limits = { cpuSeconds: 1, wallMs: 10_000, memoryBytes: 128 * mebibyte, outputBytes: 64 * 1024 };
const maxMessageCharacters = 300;
// What Node maps for itself, its threads' stacks above all, before the first line of a program runs.
const nodeOwnBytes = 192 * mebibyte;

// Without `site` (-S) Python starts several times faster, and programs see the standard library alone. What else `site`
// does is give them exit() and quit(), which beginners do call.
const pythonPrelude = `
import builtins, _sitebuiltins
builtins.exit = builtins.quit = _sitebuiltins.Quitter('exit', 'Ctrl-D')
exec(compile(open('main.py', 'rb').read(), 'main.py', 'exec'), {'__name__': '__main__', '__file__': 'main.py'})
`;

type Toolchain = {
  readonly file: string;
  readonly check: readonly string[];
  readonly run: readonly string[];
  /** What the interpreter itself needs beside the program's memory. */
  readonly ownBytes: number;
};

function toolchains(settings: SandboxSettings, limits: Limits): Map<string, Toolchain> {
  const { javascript, python } = settings.interpreters;
  const heap = `--max-old-space-size=${Math.max(16, Math.floor(limits.memoryBytes / mebibyte))}`;
  const found = new Map<string, Toolchain>();
  found.set("javascript", {
    file: "main.cjs",
    check: [javascript, "--check", "main.cjs"],
    run: [javascript, heap, "main.cjs"],
    ownBytes: nodeOwnBytes,
  });
  if (python !== undefined) {
    const compile = "import sys; compile(open('main.py', 'rb').read(), 'main.py', 'exec')";
    found.set("python", {
      file: "main.py",
      check: [python, "-I", "-S", "-c", compile],
      run: [python, "-I", "-S", "-c", pythonPrelude],
      ownBytes: 16 * mebibyte,
    });
  }
  return found;
}

const known = {
  settings: ["concurrency", "scratch", "interpreters", "limits", "maxSourceBytes"],
  interpreters: ["javascript", "python"],
  limits: Object.keys(defaultLimits),
};

/** A misspelt limit would be none. */
function refuseUnknown(what: keyof typeof known, given: object = {}): void {
  const unknown = Object.keys(given).filter((name) => !known[what].includes(name));
  if (unknown.length > 0)
    throw new TypeError(
      `${what} of the sandbox: there is no ${unknown.join(", ")}; there are ${known[what].join(", ")}`,
    );
}

export function createSandbox(settings: SandboxSettings): Sandbox {
  refuseUnknown("settings", settings);
  refuseUnknown("interpreters", settings.interpreters);
  refuseUnknown("limits", settings.limits);
  const limits: Limits = { ...defaultLimits, ...settings.limits };
  const maxSourceBytes = settings.maxSourceBytes ?? 64 * 1024;
  const languages = toolchains(settings, limits);
  const slow = `over ${limits.cpuSeconds} s of processor time, or ${limits.wallMs / 1000} s in all`;
  const turns = createSemaphore(settings.concurrency);

  async function inOwnDirectory<T>(program: Program, tools: Toolchain, work: (directory: string) => Promise<T>) {
    await mkdir(settings.scratch, { recursive: true });
    const directory = await mkdtemp(join(settings.scratch, "judge-"));
    try {
      await writeFile(join(directory, tools.file), program.source);
      return await work(directory);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  }

  async function inTurn<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const giveBack = await turns.acquire(signal);
    try {
      return await work();
    } finally {
      giveBack();
    }
  }

  async function runTest(directory: string, tools: Toolchain, input: string, signal: AbortSignal): Promise<Finished> {
    const path = join(directory, "input.txt");
    await writeFile(path, input);
    const stdin = await open(path);
    try {
      const withOwn = { ...limits, memoryBytes: limits.memoryBytes + tools.ownBytes };
      return await runLimited({ command: tools.run, directory, stdin: stdin.fd, limits: withOwn }, signal);
    } finally {
      await stdin.close();
    }
  }

  return {
    async compile(program, signal) {
      const tools = languages.get(program.language);
      if (tools === undefined) return { ok: false, message: `no compiler for ${program.language} on this machine` };
      const sizeBytes = Buffer.byteLength(program.source);
      if (sizeBytes > maxSourceBytes) {
        return { ok: false, message: `the source has ${sizeBytes} bytes, more than ${maxSourceBytes}` };
      }
      return inOwnDirectory(program, tools, async (directory) => {
        // A compiler gets more than the program: its needs are not the author's doing.
        const roomy = { cpuSeconds: 10, wallMs: 20_000, memoryBytes: 512 * mebibyte, outputBytes: mebibyte };
        const job = { command: tools.check, directory, stdin: "ignore", limits: roomy } as const;
        const { ended, stderr } = await inTurn(signal, () => runLimited(job, signal));
        if (ended.kind === "exited" && ended.code === 0) return { ok: true, message: "" };
        if (ended.kind === "exited" && ended.code === 1) return { ok: false, message: readable(stderr, directory) };
        if (ended.kind === "timedOut") return { ok: false, message: "compiling took too long" };
        throw new SandboxError(`the ${program.language} compiler ${describe(ended)}: ${readable(stderr, directory)}`);
      });
    },

    async run(program, tests, signal) {
      const tools = languages.get(program.language);
      if (tools === undefined) throw new SandboxError(`no interpreter for ${program.language} on this machine`);
      if (tests.length === 0) throw new SandboxError("no test cases: nothing could be judged");
      const total = tests.length;
      return inOwnDirectory(program, tools, async (directory) => {
        for (const [passed, test] of tests.entries()) {
          const { ended, stdout, stderr } = await inTurn(signal, () => runTest(directory, tools, test.input, signal));
          const where = `test ${passed + 1} of ${total}`;
          if (ended.kind === "timedOut") {
            return { outcome: "timedOut", passed, total, message: `${where}: ${slow}` };
          }
          if (ended.kind !== "exited" || ended.code !== 0) {
            const why = `${where}: ${describe(ended)} ${readable(stderr, directory)}`;
            return { outcome: "crashed", passed, total, message: why.trim().slice(0, maxMessageCharacters) };
          }
          if (lines(stdout) !== lines(test.output)) return { outcome: "wrong", passed, total, message: where };
        }
        return { outcome: "passed", passed: total, total, message: "" };
      });
    },
  };
}

/** Where Python 3 is, resolved through any launcher script, which would cost more than the interpreter's own start. */
export async function findPython(): Promise<string | undefined> {
  try {
    const print = "import sys; assert sys.version_info >= (3, 6); print(sys.executable)";
    const { stdout } = await promisify(execFile)("python3", ["-I", "-S", "-c", print], { timeout: 10_000 });
    return stdout.trim() || undefined;
  } catch {
    // Absent, too old or broken is one answer here: do without it.
    return undefined;
  }
}

function describe(ended: Ended): string {
  switch (ended.kind) {
    case "exited":
      return `exited with ${ended.code}`;
    case "killed":
      return `was killed by ${ended.signal}`;
    case "flooded":
      return "wrote more output than allowed";
    case "timedOut":
      return "took too long";
  }
}

/** The line that names the error, else the end of what was written, without the scratch directory, which says nothing. */
function readable(stderr: string, directory: string): string {
  const text = stderr.replaceAll(`${directory}/`, "").trim();
  const named = /^(?:FATAL ERROR|[\w.]*(?:Error|Exception))\b.*$/m.exec(text);
  return named === null ? text.slice(-maxMessageCharacters) : named[0].slice(0, maxMessageCharacters);
}

/** White space at line ends and blank lines at the end are not what an author is judged by. */
function lines(text: string): string {
  return text.replace(/[ \t\r]+$/gm, "").trimEnd();
}
