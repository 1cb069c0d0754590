#!/usr/bin/env node
/**
 * The same seeds in other versions of Node, which the npm package `node` ships: all must print the same trace hashes.
 * `npm run determinism -- 20 22 24`; it downloads what is not there yet, and so is no part of the tests.
 */
import { execFileSync } from "node:child_process";

const versions = process.argv.slice(2);
const program = "dist/simulations/run/trace-hashes.js";
const run = (command, args) => execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });

const here = run(process.execPath, [program]);
console.log(`${process.version}\n${here}`);
let differing = 0;
for (const version of versions.length > 0 ? versions : ["20", "22", "24"]) {
  const npm = ["exec", "--yes", `--package=node@${version}`, "--", "node"];
  const name = run("npm", [...npm, "--version"]).trim();
  const isSame = run("npm", [...npm, program]) === here;
  if (!isSame) differing++;
  console.log(`${name}: ${isSame ? "the same" : "DIFFERS"}`);
}
if (differing > 0) process.exitCode = 1;
