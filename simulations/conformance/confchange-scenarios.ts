/** Runs one scenario file of etcd's package confchange: a membership that is changed directly, or by joint consensus. */
import { Changer } from "../../coordinator/raft/changer.ts";
import { parseChanges } from "../../coordinator/raft/conf-change.ts";
import { describeProgress } from "../../coordinator/raft/tracker/progress.ts";
import { describeConfig, ProgressTracker } from "../../coordinator/raft/tracker/tracker.ts";
import type { Directive } from "./datadriven.ts";

/** One per file: each directive begins where the one before ended. */
export function confChangeScenario(): (directive: Directive) => string {
  const tracker = new ProgressTracker(10, Number.POSITIVE_INFINITY);
  let lastIndex = 0;
  return ({ command, arguments: args, input }) => {
    const changes = parseChanges(input);
    if (typeof changes === "string") return changes;
    const changer = new Changer(tracker, lastIndex++);
    const autoLeave = args.find(({ key }) => key === "autoleave")?.values[0] === "true";
    if (command === "leave-joint" && changes.length > 0) return "this command takes no input\n";
    const run = {
      simple: () => changer.simple(changes),
      "enter-joint": () => changer.enterJoint(autoLeave, changes),
      "leave-joint": () => changer.leaveJoint(),
    }[command];
    if (run === undefined) return "unknown command";
    const changed = run();
    if (changed.kind === "refused") return `${changed.why}\n`;
    [tracker.config, tracker.progress] = [changed.config, changed.progress];
    return `${describeConfig(tracker.config)}\n${describeProgress(tracker.progress)}`;
  };
}
