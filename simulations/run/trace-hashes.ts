/** Prints the trace hash of a few seeds of every suite: run in processes of many kinds, which must all print the same. */

import { suites } from "../suites/index.ts";
import { explore } from "./explore.ts";

const lines: string[] = [];
for (const suite of suites) {
  const { hashes, failures } = await explore(suite, { seeds: [1, 2], maxFailures: 3 });
  for (const [seed, hash] of hashes) lines.push(`${suite.name} ${seed} ${hash}${failures.length > 0 ? " FAILED" : ""}`);
}
console.log(lines.join("\n"));
