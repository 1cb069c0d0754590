/**
 * One child process under limits: processor time, wall time, memory, output. It must never outlive its limits, an
 * abort, or the death of the process that started it; start reading at `runLimited`. POSIX only.
 */
import { spawn } from "node:child_process";
import { constants } from "node:os";

export type Limits = {
  /** Processor time in whole seconds, the kernel's unit: unlike wall time it is fair on a busy machine. */
  readonly cpuSeconds: number;
  /** For programs that sleep or wait instead of computing. */
  readonly wallMs: number;
  /** Writable memory of the process (RLIMIT_DATA). Enforced on Linux; elsewhere only where the kernel does. */
  readonly memoryBytes: number;
  /** Standard output and standard error together. */
  readonly outputBytes: number;
};

export type Ended =
  | { readonly kind: "exited"; readonly code: number }
  | { readonly kind: "killed"; readonly signal: NodeJS.Signals }
  | { readonly kind: "timedOut" }
  | { readonly kind: "flooded" };

export type Finished = { readonly ended: Ended; readonly stdout: string; readonly stderr: string };

export type Job = {
  /** Executable (absolute) and arguments. */
  readonly command: readonly string[];
  readonly directory: string;
  /** A file descriptor open for reading, or nothing to read. A file, because programs like to open /dev/stdin. */
  readonly stdin: number | "ignore";
  readonly limits: Limits;
};

/** The world failed, not the program: no verdict follows from it. Trying again may help. */
export class SandboxError extends Error {
  override readonly name = "SandboxError";
}

// The shell sets the limits and leaves a watcher behind, then becomes the program. The watcher blocks on descriptor 3,
// whose other end only the judge holds: when the judge dies, also by SIGKILL, it reads end of file and kills the group.
const wrapper = `
ulimit -c 0
ulimit -S -t "$1"
ulimit -H -t "$2"
ulimit -d "$3" 2>/dev/null
( read -r gone; kill -9 0 ) <&3 >/dev/null 2>&1 3<&- &
shift 3
exec "$@" 3<&-
`;

/** The command that runs `command` under these limits. Needs its own process group, and the lifeline as descriptor 3. */
export function underLimits(command: readonly string[], limits: Limits): readonly [string, ...string[]] {
  const cpu = String(limits.cpuSeconds);
  // The hard limit ends programs that catch the warning.
  const hardCpu = String(limits.cpuSeconds + 1);
  const memoryKiB = String(Math.ceil(limits.memoryBytes / 1024));
  return ["/bin/sh", "-c", wrapper, "sh", cpu, hardCpu, memoryKiB, ...command];
}

/** Rejects with the signal's reason when aborted, with SandboxError when the process could not be started. */
export function runLimited(job: Job, signal: AbortSignal): Promise<Finished> {
  const { limits } = job;
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    const [executable, ...args] = underLimits(job.command, limits);
    const child = spawn(executable, args, {
      cwd: job.directory,
      // Nothing of the judge's own environment: it holds secrets, and slows some interpreters down.
      env: { LANG: "C.UTF-8", PATH: "/usr/local/bin:/usr/bin:/bin", HOME: job.directory },
      // Its own process group, so that whatever it starts dies with it.
      detached: true,
      stdio: [job.stdin, "pipe", "pipe", "pipe"],
    });

    const startedMs = performance.now();
    let stopped: "timedOut" | "flooded" | "aborted" | undefined;
    let bytes = 0;
    const output = { stdout: [] as Buffer[], stderr: [] as Buffer[] };

    function killGroup(): void {
      if (child.pid === undefined) return;
      try {
        process.kill(-child.pid, "SIGKILL");
      } catch (error) {
        // Nobody left in the group: what we wanted. (macOS says EPERM when only the dead are left.)
        if (!(error instanceof Error && "code" in error && (error.code === "ESRCH" || error.code === "EPERM")))
          throw error;
      }
    }
    function stop(why: "timedOut" | "flooded" | "aborted"): void {
      stopped ??= why;
      killGroup();
      // A descendant that left the group may hold the pipes open; we do not wait for it.
      for (const stream of child.stdio) stream?.destroy();
    }
    function collect(stream: "stdout" | "stderr", chunk: Buffer): void {
      bytes += chunk.length;
      if (bytes > limits.outputBytes) stop("flooded");
      else output[stream].push(chunk);
    }
    const onAbort = () => stop("aborted");
    const timer = setTimeout(() => stop("timedOut"), limits.wallMs);
    signal.addEventListener("abort", onAbort, { once: true });
    child.stdout?.on("data", (chunk: Buffer) => collect("stdout", chunk));
    child.stderr?.on("data", (chunk: Buffer) => collect("stderr", chunk));
    // The lifeline only ever closes; the way it closes is of no interest.
    child.stdio[3]?.on("error", () => undefined);

    function settle(): void {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
    }
    child.once("error", (error) => {
      settle();
      reject(new SandboxError(`cannot start ${job.command[0]}: ${error.message}`, { cause: error }));
    });
    // The program is gone: take the watcher, and whatever it left running, along.
    child.once("exit", killGroup);
    child.once("close", (code, killedBy) => {
      settle();
      if (stopped === "aborted") {
        reject(signal.reason);
        return;
      }
      const stdout = Buffer.concat(output.stdout).toString("utf8");
      const stderr = Buffer.concat(output.stderr).toString("utf8");
      const elapsedMs = performance.now() - startedMs;
      const ended: Ended = stopped !== undefined ? { kind: stopped } : endedBy(code, killedBy, elapsedMs, limits);
      resolve({ ended, stdout, stderr });
    });
  });
}

function endedBy(code: number | null, signal: NodeJS.Signals | null, elapsedMs: number, limits: Limits): Ended {
  // A shell in between reports a signal as 128 + its number.
  if (signal === "SIGXCPU" || code === 128 + constants.signals.SIGXCPU) return { kind: "timedOut" };
  // Not our kill: the kernel's, for a program that ignored SIGXCPU, or for want of memory.
  if (signal === "SIGKILL" && elapsedMs >= limits.cpuSeconds * 1000) return { kind: "timedOut" };
  if (signal !== null) return { kind: "killed", signal };
  return { kind: "exited", code: code ?? -1 };
}
