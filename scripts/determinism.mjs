#!/usr/bin/env node
/**
 * The same seeds in processes of many kinds: other versions of Node, which the npm package `node` ships, Deno from source, other
 * hash and random seeds, time zones and languages, garbage collected all the time. All must print the same trace hashes.
 * `npm run determinism -- 20 22 24`; it downloads what is not there yet, and so is no part of the tests.
 */
import { spawnSync } from "node:child_process";

const versions = process.argv.slice(2);
const program = "dist/simulations/run/trace-hashes.js";
const source = "simulations/run/trace-hashes.ts";

const ofNode = (version) => ["npm", ["exec", "--yes", `--package=node@${version}`, "--", "node"]];
const here = [process.execPath, []];
const kinds = [
  ...(versions.length > 0 ? versions : ["20", "22", "24"]).map((version) => ({
    name: `Node ${version}`,
    command: ofNode(version),
  })),
  { name: "Deno", command: ["node_modules/.bin/deno", ["run", "-A", "--quiet"]], program: source },
  { name: "other hash and random seeds", command: here, args: ["--hash-seed=17", "--random-seed=99"] },
  { name: "garbage collected all the time", command: here, args: ["--expose-gc", "--gc-interval=500"] },
  { name: "a small young generation", command: here, args: ["--max-semi-space-size=1", "--stress-compaction"] },
  ...["Asia/Tokyo", "America/St_Johns", "Pacific/Apia"].map((zone) => ({
    name: `in ${zone}`,
    command: here,
    env: { TZ: zone, LANG: "de_DE.UTF-8", LC_ALL: "de_DE.UTF-8" },
  })),
];

function run([command, before], args, env = {}) {
  const ran = spawnSync(command, [...before, ...args], { encoding: "utf8", env: { ...process.env, ...env } });
  if (ran.status === 0) return { text: ran.stdout.trim() };
  return { text: "", problem: (ran.error?.message ?? ran.stderr ?? "").trim().slice(-500) };
}

const plain = run(here, [program]);
console.log(`${process.version}\n${plain.text}`);
let isWrong = plain.problem !== undefined || plain.text.includes("FAILED");
if (isWrong) console.log(plain.problem ?? "a suite failed: its hash says nothing");

for (const { name, command, args = [], env = {}, program: own = program } of kinds) {
  const version = run(command[0] === "npm" ? command : [command[0], []], ["--version"]).text.split("\n")[0];
  const { text, problem } = run(command, [...args, own], env);
  const isSame = problem === undefined && text === plain.text;
  if (!isSame) isWrong = true;
  console.log(`${name} (${version}): ${isSame ? "the same" : (problem ?? `DIFFERS\n${differences(text)}`)}`);
}
if (isWrong) process.exitCode = 1;

function differences(text) {
  const expected = new Set(plain.text.split("\n"));
  return text
    .split("\n")
    .filter((line) => !expected.has(line))
    .slice(0, 10)
    .join("\n");
}
