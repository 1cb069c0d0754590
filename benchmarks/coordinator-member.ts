/** One member of our Raft with its log on the disk, in a process of its own, that does what `coordinator.ts`, which forks it, orders. */
import { readFileSync } from "node:fs";
import { raftLeases } from "../coordinator/raft-leases.ts";
import { grantLoop } from "./coordinator-loop.ts";

export type MemberOrder =
  | { readonly kind: "status" }
  | { readonly kind: "load"; readonly callers: number; readonly forMs: number }
  | { readonly kind: "hold"; readonly sessions: number; readonly leasesEach: number }
  | { readonly kind: "usage" };

/** Since the process began. Bytes: to sockets and files together. */
export type Usage = { readonly cpuMs: number; readonly writtenBytes: number | undefined };

const [self = "1", ports = "", directory = ""] = process.argv.slice(2);
const members = Object.fromEntries(
  ports.split(",").map((port, index) => [index + 1, { host: "127.0.0.1", port: Number(port) }]),
);
const raft = await raftLeases({ cluster: "bench", directory, self: Number(self), members });

process.on("message", (order: MemberOrder) => {
  obey(order).then(
    (answer) => process.send?.(answer),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});
process.once("disconnect", () => process.exit(0));
process.send?.("ready");

async function obey(order: MemberOrder): Promise<unknown> {
  switch (order.kind) {
    case "status":
      return raft.member.status().role;
    case "load":
      return grantLoop(raft.service, order.callers, order.forMs);
    case "hold":
      for (let session = 0; session < order.sessions; session++) {
        const one = await raft.service.openSession({ node: `rest-${self}-${session}`, ttlMs: 10_000 });
        const keys = Array.from({ length: order.leasesEach }, (_, index) => `rest/${self}/${session}/${index}`);
        while (keys.length > 0) await Promise.all(keys.splice(0, 100).map((key) => one.acquire(key)));
      }
      return "held";
    case "usage":
      return usage();
  }
}

function usage(): Usage {
  const { user, system } = process.cpuUsage();
  return { cpuMs: (user + system) / 1_000, writtenBytes: writtenBytes() };
}

/** Only Linux tells. */
function writtenBytes(): number | undefined {
  try {
    const found = /^wchar: (\d+)$/m.exec(readFileSync("/proc/self/io", "utf8"));
    return found === null ? undefined : Number(found[1]);
  } catch {
    return undefined;
  }
}
