/** How another membership comes into force: by a change that is applied, or with a snapshot. */
import { type Changed, restoreConfState } from "./changer.ts";
import { describeConfState, describeNode as hex, sameConfState } from "./describe.ts";
import { assertRaft, RaftInvariantError } from "./invariant.ts";
import type { ConfState, NodeId } from "./messages.ts";
import type { Workings } from "./role.ts";
import { describeConfig } from "./tracker/tracker.ts";

export function switchTo({ config, tracker }: Workings, changed: Changed & { kind: "changed" }): ConfState {
  tracker.config = changed.config;
  tracker.progress = changed.progress;
  config.logger("INFO", `${hex(config.id)} switched to configuration ${describeConfig(changed.config)}`);
  return tracker.confState();
}

/** In place of no membership at all. */
export function restoreMembership(workings: Workings, confState: ConfState): void {
  const restored = restoreConfState(workings.tracker, workings.log.lastIndex(), confState);
  if (restored.kind === "refused")
    throw new RaftInvariantError(`unable to restore config ${describeConfState(confState)}: ${restored.why}`);
  const now = switchTo(workings, restored);
  assertRaft(
    sameConfState(confState, now),
    () => `ConfStates not equivalent: ${describeConfState(confState)} and ${describeConfState(now)}`,
  );
}

/** Whoever is to become a learner is an outgoing voter until then. */
export function isMember({ voters, learners, votersOutgoing }: ConfState, id: NodeId): boolean {
  return voters.includes(id) || learners.includes(id) || votersOutgoing.includes(id);
}
