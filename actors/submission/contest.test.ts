/** One life of a host, as the parent sees it, with small scripts in the host's place. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { ContestEndedError, type HostRun, runHost } from "./contest.ts";
import { createProgress } from "./progress.ts";

const folder = mkdtempSync(join(tmpdir(), "holdfast-contest-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let count = 0;
function runScript(script: string, options: { killAt?: number; stop?: AbortController } = {}) {
  const said: string[] = [];
  count += 1;
  const hostModule = join(folder, `host-${count}.mjs`);
  writeFileSync(
    hostModule,
    `const tell = (message) => process.send(message); const stay = () => setInterval(() => {}, 1e6);\n${script}`,
  );
  const progress = createProgress({ write: (text: string) => said.push(text) }, 40, { plain: true });
  const signal = (options.stop ?? new AbortController()).signal;
  const run: Promise<HostRun> = runHost(
    { data: folder, hostModule, python: undefined, progress, signal },
    options.killAt,
  );
  return { run, said };
}

test("a host that finishes says what it found and how far it came", async () => {
  const { run, said } = runScript(`
    tell({ kind: "started", inFlight: ["s-1", "s-2"] });
    tell({ kind: "progress", judged: 40, inFlight: 0 });
    tell({ kind: "finished" });
    process.disconnect();
  `);
  expect(await run).toEqual({ judged: 40, inFlight: ["s-1", "s-2"] });
  expect(said.join("")).toBe("found 2 submissions in flight; going on\n40/40 judged, 0 in flight\n");
});

test("a host is killed as soon as it has come far enough", async () => {
  const script = `stay(); for (let judged = 1; judged <= 30; judged += 1) tell({ kind: "progress", judged, inFlight: 3 });`;
  expect(await runScript(script, { killAt: 16 }).run).toEqual({ judged: 16, inFlight: [] });
});

const failures: { it: string; script: string; killAt?: number; says: RegExp }[] = [
  { it: "throws", script: `throw new Error("no such store");`, says: /exit 1[\s\S]*no such store/ },
  { it: "ends well without having finished", script: `process.disconnect();`, says: /ended by itself \(exit 0\)/ },
  { it: "is killed by somebody else", script: `process.kill(process.pid, "SIGKILL"); stay();`, says: /SIGKILL/ },
  {
    it: "finishes before it could be killed and fails",
    script: `tell({ kind: "finished" }); process.exitCode = 3; process.disconnect();`,
    killAt: 1,
    says: /exit 3/,
  },
];
for (const { it, script, killAt, says } of failures) {
  test(`a host that ${it} ends the contest, with what it said`, async () => {
    const { run } = runScript(script, killAt === undefined ? {} : { killAt });
    await expect(run).rejects.toBeInstanceOf(ContestEndedError);
    await expect(run).rejects.toThrow(says);
  });
}

test("an interrupted contest kills its host and says why", async () => {
  const stop = new AbortController();
  const { run } = runScript("stay();", { stop });
  stop.abort(new ContestEndedError("stopped by SIGINT"));
  await expect(run).rejects.toThrow("stopped by SIGINT");
});
