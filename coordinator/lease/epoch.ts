/**
 * The epoch: the upper part of every token, kept among the actors beside the identity of the back end that grants the
 * lower one. Recorded at the first attachment, unchanged by restarts; another back end is refused until somebody
 * declares that it takes over, which raises the epoch, so that its tokens outrank all of before.
 */
import { hashText } from "../../runtime/hash.ts";
import type { Clock } from "../../runtime/ports/clock.ts";
import type { Random } from "../../runtime/ports/random.ts";
import type { ActorStore, Revision } from "../../runtime/ports/store.ts";
import { LeaseBackendChanged } from "./errors.ts";

export const epochKey = "_epoch";

type EpochRecord = { readonly epoch: number; readonly backend: string };

export type EpochPorts = { readonly store: ActorStore; readonly clock: Clock; readonly random: Random };

/** The epoch for tokens of this back end; recorded if it is the first. Rejects with LeaseBackendChanged. */
export async function attachBackend(ports: EpochPorts, backend: string): Promise<number> {
  for (;;) {
    const { record, revision } = await readRecord(ports.store);
    if (record?.backend === backend) return record.epoch;
    if (record !== undefined) {
      const command = `holdfast leases adopt${backend.startsWith("raft:") ? " --raft <folder of a member>" : ""}`;
      throw new LeaseBackendChanged(
        `the actors were run under leases of ${record.backend}, and these are ${backend}: if they take over for good, stop every runtime and run \`${command}\``,
      );
    }
    if (await write(ports, { epoch: 1, backend }, revision)) return 1;
  }
}

/** Declares that this back end grants from now on. Answers the epoch, which is above all of before. */
export async function adoptBackend(ports: EpochPorts, backend: string): Promise<number> {
  for (;;) {
    const { record, revision } = await readRecord(ports.store);
    const epoch = (record?.epoch ?? 0) + 1;
    if (await write(ports, { epoch, backend }, revision)) return epoch;
  }
}

async function readRecord(store: ActorStore): Promise<{ record: EpochRecord | undefined; revision: Revision }> {
  const entry = await store.read(epochKey);
  if (entry === undefined) return { record: undefined, revision: 0 };
  try {
    const { epoch, backend } = JSON.parse(entry.value) as Partial<EpochRecord>;
    if (Number.isSafeInteger(epoch) && typeof backend === "string")
      return { record: { epoch: epoch as number, backend }, revision: entry.revision };
  } catch {
    // Told below.
  }
  throw new LeaseBackendChanged(
    `the entry ${epochKey} cannot be read: put back what stood there (\`nats kv history\` shows it), or run \`holdfast leases adopt\` with a higher epoch`,
  );
}

/** False: somebody else was first, or it is not known; either way what stands there is read again. */
async function write({ store, clock, random }: EpochPorts, record: EpochRecord, expect: Revision): Promise<boolean> {
  const value = JSON.stringify(record);
  const header = { commit: random.id(), hash: hashText(value) };
  const outcome = await store.write({ key: epochKey, value, header, expect, token: [record.epoch, 0] });
  if (outcome.kind === "refused") throw new Error(`the epoch could not be recorded: ${outcome.detail}`);
  if (outcome.kind === "unknown") await new Promise<void>((resolve) => void clock.after(50, resolve));
  return outcome.kind === "written";
}
