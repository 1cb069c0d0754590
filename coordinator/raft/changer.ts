/**
 * Computes the next membership from the present one and a change, and refuses what is not safe: more than one voter at a
 * time outside a joint configuration, two joint configurations at once, a cluster without voters. The present membership
 * is never touched; the result is a value or the text that says why not.
 */
import { mannerOf } from "./conf-change.ts";
import type { ConfChangeSingle, ConfChangeV2, ConfState, NodeId } from "./messages.ts";
import type { Majority } from "./quorum.ts";
import { Progress } from "./tracker/progress.ts";
import type { ProgressMap, ProgressTracker, TrackedConfig } from "./tracker/tracker.ts";

export type Membership = { readonly config: TrackedConfig; readonly progress: ProgressMap };
export type Changed = ({ readonly kind: "changed" } & Membership) | { readonly kind: "refused"; readonly why: string };

/** The membership while it is being changed. */
type Draft = {
  incoming: Set<NodeId>;
  outgoing: Set<NodeId>;
  learners: Set<NodeId>;
  learnersNext: Set<NodeId>;
  autoLeave: boolean;
  progress: Map<NodeId, Progress>;
};

export class Changer {
  readonly #tracker: ProgressTracker;
  readonly #lastIndex: number;

  /** `lastIndex` is that of the log: new members are probed from there. */
  constructor(tracker: ProgressTracker, lastIndex: number) {
    this.#tracker = tracker;
    this.#lastIndex = lastIndex;
  }

  change(change: ConfChangeV2): Changed {
    const manner = mannerOf(change);
    if (manner.kind === "leaveJoint") return this.leaveJoint();
    if (manner.kind === "enterJoint") return this.enterJoint(manner.autoLeave, change.changes);
    return this.simple(change.changes);
  }

  /** From (1 2 3) to (1 2 3)&&(1 2 3), with the changes made to the left half. */
  enterJoint(autoLeave: boolean, changes: readonly ConfChangeSingle[]): Changed {
    return this.#change((draft) => {
      if (draft.outgoing.size > 0) return "config is already joint";
      if (draft.incoming.size === 0) return "can't make a zero-voter config joint";
      draft.outgoing = new Set(draft.incoming);
      const refused = this.#apply(draft, changes);
      draft.autoLeave = autoLeave;
      return refused;
    });
  }

  /** From (1 2)&&(2 3) to (1 2); learners that waited become learners. */
  leaveJoint(): Changed {
    return this.#change((draft) => {
      if (draft.outgoing.size === 0) return "can't leave a non-joint config";
      for (const id of draft.learnersNext) {
        draft.learners.add(id);
        draft.progress.get(id)!.isLearner = true;
      }
      draft.learnersNext.clear();
      for (const id of draft.outgoing)
        if (!draft.incoming.has(id) && !draft.learners.has(id)) draft.progress.delete(id);
      draft.outgoing.clear();
      draft.autoLeave = false;
      return undefined;
    });
  }

  /** Changes at most one voter. */
  simple(changes: readonly ConfChangeSingle[]): Changed {
    return this.#change((draft) => {
      if (draft.outgoing.size > 0) return "can't apply simple config change in joint config";
      const before = new Set(draft.incoming);
      const refused = this.#apply(draft, changes);
      if (refused !== undefined) return refused;
      if (differences(before, draft.incoming) > 1) return "more than one voter changed without entering joint config";
      return undefined;
    });
  }

  #change(edit: (draft: Draft) => string | undefined): Changed {
    const draft = draftOf(this.#tracker);
    const why = broken(draft) ?? edit(draft) ?? broken(draft);
    if (why !== undefined) return { kind: "refused", why };
    const { incoming, outgoing, learners, learnersNext, autoLeave, progress } = draft;
    return { kind: "changed", config: { voters: { incoming, outgoing }, learners, learnersNext, autoLeave }, progress };
  }

  #apply(draft: Draft, changes: readonly ConfChangeSingle[]): string | undefined {
    for (const { type, nodeId } of changes) {
      // A node 0 is how an application takes a change back that it has already logged.
      if (nodeId === 0) continue;
      if (type === "ConfChangeAddNode") this.#makeVoter(draft, nodeId);
      else if (type === "ConfChangeAddLearnerNode") this.#makeLearner(draft, nodeId);
      else if (type === "ConfChangeRemoveNode") remove(draft, nodeId);
    }
    return draft.incoming.size === 0 ? "removed all voters" : undefined;
  }

  #makeVoter(draft: Draft, id: NodeId): void {
    const progress = draft.progress.get(id);
    if (progress === undefined) draft.progress.set(id, this.#newProgress(false));
    else progress.isLearner = false;
    draft.learners.delete(id);
    draft.learnersNext.delete(id);
    draft.incoming.add(id);
  }

  #makeLearner(draft: Draft, id: NodeId): void {
    const progress = draft.progress.get(id);
    if (progress === undefined) {
      draft.learners.add(id);
      draft.progress.set(id, this.#newProgress(true));
      return;
    }
    if (progress.isLearner) return;
    remove(draft, id);
    draft.progress.set(id, progress);
    // Nobody is voter and learner at once: an outgoing voter becomes a learner when the joint configuration is left.
    if (draft.outgoing.has(id)) draft.learnersNext.add(id);
    else {
      progress.isLearner = true;
      draft.learners.add(id);
    }
  }

  #newProgress(isLearner: boolean): Progress {
    const progress = new Progress({
      match: 0,
      next: Math.max(this.#lastIndex, 1),
      isLearner,
      inflights: this.#tracker.newInflights(),
    });
    // Else a check of the quorum could make the leader step down before the new member had a chance to answer.
    progress.recentActive = true;
    return progress;
  }
}

/** Sets an empty tracker up as a ConfState says, by the changes that would have led there. */
export function restoreConfState(tracker: ProgressTracker, lastIndex: number, state: ConfState): Changed {
  const add = (nodeId: NodeId): ConfChangeSingle => ({ type: "ConfChangeAddNode", nodeId });
  const addLearner = (nodeId: NodeId): ConfChangeSingle => ({ type: "ConfChangeAddLearnerNode", nodeId });
  const drop = (nodeId: NodeId): ConfChangeSingle => ({ type: "ConfChangeRemoveNode", nodeId });
  const incoming = [
    ...state.votersOutgoing.map(drop),
    ...state.voters.map(add),
    ...[...state.learners, ...state.learnersNext].map(addLearner),
  ];
  const isJoint = state.votersOutgoing.length > 0;
  let result: Changed = { kind: "changed", config: tracker.config, progress: tracker.progress };
  const run = (change: (changer: Changer) => Changed) => {
    if (result.kind === "refused") return;
    result = change(new Changer(tracker, lastIndex));
    if (result.kind === "changed") [tracker.config, tracker.progress] = [result.config, result.progress];
  };
  for (const change of isJoint ? state.votersOutgoing.map(add) : incoming) run((changer) => changer.simple([change]));
  if (isJoint) run((changer) => changer.enterJoint(state.autoLeave, incoming));
  return result;
}

function remove(draft: Draft, id: NodeId): void {
  if (!draft.progress.has(id)) return;
  draft.incoming.delete(id);
  draft.learners.delete(id);
  draft.learnersNext.delete(id);
  if (!draft.outgoing.has(id)) draft.progress.delete(id);
}

function draftOf({ config, progress }: ProgressTracker): Draft {
  return {
    incoming: new Set(config.voters.incoming),
    outgoing: new Set(config.voters.outgoing),
    learners: new Set(config.learners),
    learnersNext: new Set(config.learnersNext),
    autoLeave: config.autoLeave,
    progress: new Map([...progress].map(([id, each]) => [id, each.clone()])),
  };
}

/** What is inconsistent in it, if anything. An empty membership is consistent: it is how everything begins. */
function broken(draft: Draft): string | undefined {
  const { incoming, outgoing, learners, learnersNext, progress } = draft;
  for (const id of [...incoming, ...outgoing, ...learners, ...learnersNext])
    if (!progress.has(id)) return `no progress for ${id}`;
  for (const id of learnersNext) {
    if (!outgoing.has(id)) return `${id} is in LearnersNext, but not Voters[1]`;
    if (progress.get(id)!.isLearner) return `${id} is in LearnersNext, but is already marked as learner`;
  }
  for (const id of learners) {
    if (outgoing.has(id)) return `${id} is in Learners and Voters[1]`;
    if (incoming.has(id)) return `${id} is in Learners and Voters[0]`;
    if (!progress.get(id)!.isLearner) return `${id} is in Learners, but is not marked as learner`;
  }
  if (outgoing.size > 0) return undefined;
  if (learnersNext.size > 0) return "LearnersNext must be empty when not joint";
  return draft.autoLeave ? "AutoLeave must be false when not joint" : undefined;
}

function differences(left: Majority, right: Majority): number {
  const missing = (from: Majority, ids: Majority) => [...ids].filter((id) => !from.has(id)).length;
  return missing(left, right) + missing(right, left);
}
