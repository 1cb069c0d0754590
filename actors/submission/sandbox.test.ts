/** The sandbox against real child processes: every verdict, every limit, and what is left behind. */
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, describe, expect, test } from "vitest";
import { runLimited, SandboxError, underLimits } from "./process.ts";
import { createSandbox, findPython, type Program, type Report, type TestCase } from "./sandbox.ts";
import { createSemaphore } from "./semaphore.ts";

const scratch = mkdtempSync(join(tmpdir(), "holdfast-sandbox-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const python = await findPython();
const sandbox = createSandbox({
  concurrency: 2,
  scratch,
  interpreters: { javascript: process.execPath, ...(python === undefined ? {} : { python }) },
  limits: { wallMs: 3_000 },
});
const never = new AbortController().signal;
const echo: TestCase = { input: "hello\n", output: "hello\n" };

const js = (source: string): Program => ({ language: "javascript", source });
const py = (source: string): Program => ({ language: "python", source });

const compileCases: { it: string; program: Program; ok: boolean; message?: RegExp }[] = [
  { it: "accepts JavaScript", program: js("console.log(1)"), ok: true },
  { it: "refuses a missing parenthesis", program: js("console.log(1"), ok: false, message: /SyntaxError/ },
  { it: "does not run what it compiles", program: js("process.exit(3)"), ok: true },
  { it: "refuses too large a source", program: js(`/*${"x".repeat(70_000)}*/`), ok: false, message: /70004 bytes/ },
  { it: "accepts Python", program: py("print(1)"), ok: true },
  { it: "refuses bad indentation", program: py("if True:\nprint(1)"), ok: false, message: /IndentationError/ },
];

describe("compile", () => {
  for (const { it, program, ok, message } of compileCases) {
    test.skipIf(program.language === "python" && python === undefined)(it, async () => {
      const compiled = await sandbox.compile(program, never);
      expect(compiled.ok).toBe(ok);
      expect(compiled.message).toMatch(message ?? /^$/);
    });
  }

  test("refuses a language that this machine does not speak", async () => {
    const bare = createSandbox({ concurrency: 1, scratch, interpreters: { javascript: process.execPath } });
    expect(await bare.compile(py("print(1)"), never)).toMatchObject({ ok: false });
  });

  test("gives no verdict when the compiler itself is missing", async () => {
    const broken = createSandbox({ concurrency: 1, scratch, interpreters: { javascript: "/nowhere/node" } });
    await expect(broken.compile(js("1"), never)).rejects.toBeInstanceOf(SandboxError);
  });
});

const runCases: { it: string; program: Program; tests?: TestCase[]; report: Partial<Report>; message?: RegExp }[] = [
  {
    it: "passes JavaScript that reads descriptor 0",
    program: js('console.log(require("fs").readFileSync(0, "utf8").trim())'),
    report: { outcome: "passed", passed: 1, total: 1 },
  },
  {
    it: "passes JavaScript that opens /dev/stdin",
    program: js('console.log(require("fs").readFileSync("/dev/stdin", "utf8").trim())'),
    report: { outcome: "passed" },
  },
  { it: "passes Python", program: py("print(input())"), report: { outcome: "passed" } },
  { it: "knows exit() in Python", program: py("print('hello')\nexit()"), report: { outcome: "passed" } },
  {
    it: "runs Python as a main module",
    program: py("if __name__ == '__main__': print('hello')"),
    report: { outcome: "passed" },
  },
  {
    it: "does not look at white space at the ends",
    program: js('console.log("hello  \\n\\n")'),
    report: { outcome: "passed" },
  },
  {
    it: "finds a wrong answer",
    program: js('console.log("hullo")'),
    report: { outcome: "wrong" },
    message: /test 1 of 1/,
  },
  {
    it: "stops at the first test that fails",
    program: js('console.log("hello")'),
    tests: [echo, { input: "", output: "other" }, echo],
    report: { outcome: "wrong", passed: 1, total: 3 },
    message: /test 2 of 3/,
  },
  {
    it: "gives each test a process of its own",
    program: js('globalThis.n = (globalThis.n ?? 0) + 1; console.log(globalThis.n, require("fs").existsSync("left"))'),
    tests: [
      { input: "", output: "1 false" },
      { input: "", output: "1 false" },
    ],
    report: { outcome: "passed" },
  },
  {
    it: "reports an exception",
    program: js('throw new Error("boom")'),
    report: { outcome: "crashed" },
    message: /boom/,
  },
  {
    it: "reports a Python exception",
    program: py("1 / 0"),
    report: { outcome: "crashed" },
    message: /ZeroDivisionError/,
  },
  {
    it: "takes a bad exit code for a crash",
    program: js('console.log("hello"); process.exitCode = 1'),
    report: { outcome: "crashed" },
  },
  { it: "ends an endless loop", program: js("for (;;);"), report: { outcome: "timedOut" }, message: /over 1 s/ },
  { it: "ends an endless loop in Python", program: py("while True: pass"), report: { outcome: "timedOut" } },
  { it: "ends a program that sleeps", program: js("setTimeout(() => {}, 60_000)"), report: { outcome: "timedOut" } },
  {
    it: "ends a loop that ignores the warning",
    program: py("import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass"),
    report: { outcome: "timedOut" },
  },
  {
    it: "limits the heap",
    program: js("const a = []; for (;;) a.push(new Array(1000).fill(0.5));"),
    report: { outcome: "crashed" },
  },
  {
    it: "limits memory outside the heap",
    program: js("const a = []; for (let i = 0; i < 50; i += 1) a.push(Buffer.alloc(20_000_000, 1));"),
    report: { outcome: "crashed" },
  },
  {
    it: "limits Python's memory",
    program: py("x = bytearray(500_000_000)"),
    report: { outcome: "crashed" },
    message: /MemoryError/,
  },
  {
    it: "stops a flood",
    program: js('for (;;) console.log("x".repeat(1000))'),
    report: { outcome: "crashed" },
    message: /more output/,
  },
  {
    it: "stops a flood of errors",
    program: js('for (;;) console.error("x".repeat(1000))'),
    report: { outcome: "crashed" },
  },
  {
    it: "does not wait for what a program leaves running",
    program: js('require("child_process").spawn("sleep", ["60"], { stdio: "inherit" }).unref(); console.log("hello")'),
    report: { outcome: "passed" },
  },
  {
    it: "shows a program nothing of its own environment",
    program: js(
      'console.log(Object.keys(process.env).filter((k) => !["LANG", "PATH", "HOME", "PWD", "OLDPWD", "SHLVL", "_"].includes(k)).join() || "hello")',
    ),
    report: { outcome: "passed" },
  },
];

describe.concurrent("run", () => {
  for (const { it, program, tests, report, message } of runCases) {
    // On systems whose kernel does not enforce the data limit, only the heap is limited.
    const needsKernel = /outside the heap|Python's memory/.test(it) && process.platform !== "linux";
    test.skipIf(needsKernel || (program.language === "python" && python === undefined))(it, async () => {
      const actual = await sandbox.run(program, tests ?? [echo], never);
      expect(actual).toMatchObject(report);
      if (message !== undefined) expect(actual.message).toMatch(message);
    });
  }
});

test("without test cases there is no verdict", async () => {
  await expect(sandbox.run(js(""), [], never)).rejects.toBeInstanceOf(SandboxError);
});

test("an abort kills the program and rejects with the signal's reason", async () => {
  const controller = new AbortController();
  const reason = new Error("lease lost");
  const job = {
    command: [process.execPath, "-e", "process.stdout.write('.'); setTimeout(() => {}, 60_000)"],
    directory: scratch,
    stdin: "ignore",
    limits: { cpuSeconds: 5, wallMs: 20_000, memoryBytes: 512 * 1024 * 1024, outputBytes: 1000 },
  } as const;
  const running = runLimited(job, controller.signal);
  controller.abort(reason);
  await expect(running).rejects.toBe(reason);
  await expect(runLimited(job, controller.signal)).rejects.toBe(reason);
});

test("a program dies with the process that started it", async () => {
  const limits = { cpuSeconds: 5, wallMs: 60_000, memoryBytes: 512 * 1024 * 1024, outputBytes: 1000 };
  const sleeper = "console.log('started'); setTimeout(() => {}, 60_000)";
  const command = underLimits([process.execPath, "-e", sleeper], limits);
  const judge = `
    const [executable, ...args] = ${JSON.stringify(command)};
    const stdio = ["ignore", "inherit", "ignore", "pipe"];
    require("child_process").spawn(executable, args, { detached: true, stdio });
  `;
  const parent = spawn(process.execPath, ["-e", judge], { stdio: ["ignore", "pipe", "inherit"] });
  const gone = new Promise<NodeJS.Signals | null>((resolve) => parent.once("exit", (_, signal) => resolve(signal)));
  const said: string[] = [];
  // Both hold the pipe open: it ends when the sleeper, too, is gone.
  for await (const line of createInterface({ input: parent.stdout })) {
    said.push(line);
    parent.kill("SIGKILL");
  }
  expect(said).toEqual(["started"]);
  // The pipe may end before the news of the exit is in.
  expect(await gone).toBe("SIGKILL");
}, 20_000);

test("nothing is left in the scratch directory", () => {
  expect(readdirSync(scratch)).toEqual([]);
});

test("the semaphore lets in as many as it has permits, in order, and forgets who gave up", async () => {
  const turns = createSemaphore(1);
  const first = await turns.acquire(never);
  const quitter = new AbortController();
  const order: string[] = [];
  const second = turns.acquire(quitter.signal).catch(() => order.push("gave up"));
  const third = turns.acquire(never).then((giveBack) => {
    order.push("third");
    giveBack();
  });
  quitter.abort();
  await second;
  first();
  first();
  await third;
  expect(order).toEqual(["gave up", "third"]);
  const again = await turns.acquire(never);
  again();
});
