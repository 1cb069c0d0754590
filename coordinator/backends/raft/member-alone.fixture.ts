/** The only member of its cluster, in memory: leases on Raft that need no network. */
import { SystemRandom } from "../../../runtime/adapters/system-random.ts";
import type { Clock } from "../../../runtime/ports/clock.ts";
import { usualLimits } from "../../lease/table.ts";
import { Member } from "./member.ts";
import { MemoryDisk } from "./memory-disk.ts";

/** `limits`: of its table, where they are not the usual ones. */
export function memberAlone(
  clock: Clock,
  { limits = {}, disk = new MemoryDisk() }: { limits?: Partial<typeof usualLimits>; disk?: MemoryDisk } = {},
): Promise<Member> {
  return Member.open({
    cluster: "c",
    voters: [1],
    disk,
    peers: { self: 1, send() {}, receive: () => () => {} },
    clock,
    random: new SystemRandom(),
    logger: { debug() {}, info() {}, warn() {}, error() {} },
    limits: { ...usualLimits, ...limits },
  });
}
