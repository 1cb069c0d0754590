/**
 * From a stored document to a tree of the present machine: accepted when the structure is the same or the stored state
 * still fits, brought over by the user's `migrate`, or refused before anything is touched.
 */
import type { ActorDefinition, MigratedState } from "./definition.ts";
import { type Document, NewerDocumentError } from "./document.ts";
import { hashText } from "./hash.ts";
import type { Json } from "./machine/codec.ts";
import type { Event } from "./machine/internals.ts";
import { type Reconciliation, reconcile } from "./machine/reconcile.ts";
import { type ActorRecord, rootSid, type StoredTree, Tree, type TreeOptions } from "./machine/tree.ts";
import { incompatibilities } from "./machine/tree-check.ts";

/** The stored state does not fit the machine, and nothing brings it over. The document stays as it is. */
export class IncompatibleDocumentError extends Error {
  override readonly name = "IncompatibleDocumentError";
}

/** What of a release decides whether a stored state fits, as far as code can be told apart. Plain data, for people too. */
export type MachineIdentity = {
  readonly version: number;
  /** Of the machine's shape. */
  readonly hash: string;
  /** Of the text of `migrate`; missing: it has none. What that function calls does not show. */
  readonly migrate?: string;
};

export function identityOf({ version, hash, migrate }: ActorDefinition): MachineIdentity {
  return { version, hash, ...(migrate !== undefined && { migrate: hashText(String(migrate)) }) };
}

export function isSameMachine(a: MachineIdentity, b: MachineIdentity): boolean {
  return a.version === b.version && a.hash === b.hash && a.migrate === b.migrate;
}

/** What the first step does before anything else, to an actor whose machine has changed. */
export type Adaptation = Reconciliation & {
  /** What `migrate` asked for. */
  readonly event: Event | undefined;
  /** Whether there is something to do, which must not wait for an event. */
  readonly isPending: boolean;
};

/** `adaptation` is undefined where the machine is the one that wrote the document. */
export type RestoredTree = { readonly tree: Tree; readonly adaptation: Adaptation | undefined };

/** `handle`: a tree whose references somebody holds; it is rebuilt in place instead of made anew. */
export function restoreTree(
  document: Document,
  definition: ActorDefinition,
  options: TreeOptions,
  handle?: Tree,
): RestoredTree {
  const { version, hash } = document.machine;
  if (version > definition.version) {
    throw new NewerDocumentError(
      `it was written by version ${version} of the machine; this node has version ${definition.version}`,
    );
  }
  if (version === definition.version && hash === definition.hash) {
    if (handle !== undefined) {
      handle.rebuild(document);
      return { tree: handle, adaptation: undefined };
    }
    return { tree: Tree.restore(definition.logic, options, document), adaptation: undefined };
  }
  const migrated = migrate(document, definition, options);
  const brought = migrated === undefined ? document : withRoot(document, migrated, options);
  const reconciled = document.status === "active" ? reconcile(definition.logic, document, brought) : undefined;
  const stored = reconciled?.stored ?? brought;
  const problems = incompatibilities(definition.logic, stored);
  if (problems.length > 0) {
    const advice =
      definition.migrate !== undefined
        ? "`migrate` must return a state that fits"
        : version === definition.version
          ? "the machine changed under the same version: raise `version` and supply `migrate`"
          : "supply `migrate`";
    throw new IncompatibleDocumentError(
      `version ${version} of the machine left a state that version ${definition.version} does not know: ${problems.join("; ")}; ${advice}, or run the older machine`,
    );
  }
  const tree = Tree.restore(definition.logic, options, stored);
  if (reconciled === undefined) return { tree, adaptation: undefined };
  const event = migrated?.event as Event | undefined;
  const isPending = event !== undefined || reconciled.notes.length + reconciled.losses.length > 0;
  return { tree, adaptation: { ...reconciled, event, isPending } };
}

function migrate(document: Document, definition: ActorDefinition, options: TreeOptions): MigratedState | undefined {
  if (definition.migrate === undefined) return undefined;
  const snap = document.actors[rootSid]?.snap as Record<string, Json>;
  const reader = Tree.codec(options);
  return definition.migrate({
    version: document.machine.version,
    value: snap.value,
    context: reader.decodeValue(snap.context ?? {}) as Record<string, unknown>,
  });
}

function withRoot(document: Document, migrated: MigratedState, options: TreeOptions): StoredTree {
  const root = document.actors[rootSid] as ActorRecord;
  const snap = {
    ...(root.snap as Record<string, Json>),
    value: migrated.value as Json,
    context: Tree.codec(options).encodeValue(migrated.context, "migrate().context"),
  };
  return { ...document, actors: { ...document.actors, [rootSid]: { ...root, snap } } };
}
