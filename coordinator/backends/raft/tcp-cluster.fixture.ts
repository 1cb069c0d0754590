/** Three members in this process that talk over real sockets and keep their logs in real folders. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SystemClock } from "../../../runtime/adapters/system-clock.ts";
import { SystemRandom } from "../../../runtime/adapters/system-random.ts";
import type { MemberId, Peers } from "../../ports/peers.ts";
import { Files } from "./files.ts";
import { RaftLeases } from "./leases.ts";
import { Member } from "./member.ts";
import { TcpPeers } from "./tcp-peers.ts";

const silent = { debug() {}, info() {}, warn() {}, error() {} };
const clock = new SystemClock();
const random = new SystemRandom();
const ids: readonly MemberId[] = [1, 2, 3];

export type RunningMember = {
  readonly member: Member;
  readonly leases: RaftLeases;
  readonly stop: () => Promise<void>;
};

export class TcpCluster {
  readonly #folder: string;
  /** Filled in as members listen: a port that is chosen before somebody listens on it may be taken meanwhile. */
  readonly #places = new Map(ids.map((id) => [id, { host: "127.0.0.1", port: 0 }]));
  readonly #isolated = new Set<MemberId>();
  readonly running = new Map<MemberId, RunningMember>();

  static async start(): Promise<TcpCluster> {
    const cluster = new TcpCluster();
    await Promise.all(ids.map((id) => cluster.startMember(id)));
    return cluster;
  }

  private constructor() {
    this.#folder = mkdtempSync(join(tmpdir(), "holdfast-cluster-"));
  }

  folderOf(id: MemberId): string {
    return join(this.#folder, `${id}`);
  }

  async startMember(id: MemberId): Promise<RunningMember> {
    const disk = await Files.open(this.folderOf(id));
    const others = new Map([...this.#places].filter(([other]) => other !== id));
    const listen = { host: "127.0.0.1", port: 0 };
    const peers = await TcpPeers.start({
      cluster: "test",
      epoch: () => 1,
      self: id,
      listen,
      members: others,
      clock,
      logger: silent,
    });
    this.#places.get(id)!.port = peers.port;
    const member = await Member.open({
      cluster: "test",
      voters: ids,
      disk,
      peers: this.#gated(peers),
      clock,
      random,
      logger: silent,
      tickMs: 20,
      snapshotEvery: 50,
    });
    const running: RunningMember = {
      member,
      leases: new RaftLeases({ member, clock, random }),
      stop: async () => {
        this.running.delete(id);
        await member.handOver();
        await member.close();
        await peers.close();
        await disk.close();
      },
    };
    this.running.set(id, running);
    return running;
  }

  isolate(id: MemberId): void {
    this.#isolated.add(id);
  }

  heal(): void {
    this.#isolated.clear();
  }

  async leader(): Promise<RunningMember> {
    for (;;) {
      for (const running of this.running.values()) if (running.member.status().role === "leader") return running;
      await new Promise<void>((resolve) => void clock.after(10, resolve));
    }
  }

  async stop(): Promise<void> {
    await Promise.all([...this.running.values()].map(({ leases }) => leases.close()));
    for (const { stop } of [...this.running.values()]) await stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #gated(peers: Peers): Peers {
    const isCut = (other: MemberId) => this.#isolated.has(peers.self) || this.#isolated.has(other);
    return {
      self: peers.self,
      send: (to, frame) => {
        if (!isCut(to)) peers.send(to, frame);
      },
      receive: (handler) => peers.receive((from, frame) => !isCut(from) && handler(from, frame)),
    };
  }
}
