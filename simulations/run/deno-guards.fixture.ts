/** Run by Deno: prints what an effect of a first run gets that reaches for the world through Deno's own names, or ours. */
import { fromPromise, setup } from "xstate";
import { SystemClock } from "../../runtime/adapters/system-clock.ts";
import { suiteOf } from "./simulate.ts";

declare const Deno: { readTextFile(path: string): Promise<string>; Command: new (name: string) => unknown };

const clock = new SystemClock();
const reaches: readonly (() => unknown)[] = [
  () => Deno.readTextFile("/dev/null"),
  () => new Deno.Command("true"),
  () => clock.now(),
  () => setTimeout(() => {}, 0),
];
const seen: string[] = [];
const work = async () => {
  for (const reach of reaches) {
    try {
      await reach();
      seen.push("went through");
    } catch (error) {
      seen.push((error as Error).name);
    }
  }
};
const thing = setup({ actors: { work: fromPromise(work) } }).createMachine({ invoke: { src: "work" } });
const suite = suiteOf({
  actors: { thing },
  workload: [{ to: "thing/a", create: undefined, key: "make" }],
  faults: [],
});
await suite.run(suite.plan(1));
console.log(seen.join(" "), await Deno.readTextFile("/dev/null").then(({ length }) => length));
