/**
 * What goes wrong in a run, as plain data: `at` this many virtual milliseconds, this kind of fault, with these
 * arguments. A schedule is a JSON array of them, so it can be shrunk, printed, and kept in a file. What each kind does
 * is in `inflict.ts`.
 */
import type { FaultPoint } from "../../runtime/ports/fault-points.ts";
import type { DeliveryFault, RequestFault as WireFault } from "../models/jetstream/connection.ts";
import type { PublishFault, RequestFault } from "../world/bus-model.ts";
import type { DiskFault } from "../world/disk-model.ts";
import type { LinkQuality } from "../world/links.ts";
import type { ServiceFault } from "../world/service-model.ts";
import type { ReadFault, WatchFault, WriteFault } from "../world/store-faults.ts";

export type NatsFault = "restart" | "power" | "leader" | WireFault | DeliveryFault;

/** Arguments by kind. Nodes are named; `store`, `leases` and services are places that links lead to as well. */
export type FaultArguments = {
  /** kill -9. `point`: not at the time itself, but at the `nth` point of this name after it. */
  readonly crash: {
    readonly node: string;
    readonly point?: string;
    readonly nth?: number;
    /** Missing: it stays down until the world heals. */
    readonly restartAfterMs?: number;
    /** It comes back with an empty disk. */
    readonly wiped?: boolean;
  };
  /** `frozen`: its monotonic clock and its timers stand still as well, as in a suspended virtual machine. */
  readonly pause: { readonly node: string; readonly forMs: number; readonly clock: "running" | "frozen" };
  /** Everything that goes in or out takes up to this much longer. */
  readonly slow: { readonly node: string; readonly upToMs: number; readonly forMs: number };
  /** Both directions, or only messages from `from` to `to`. */
  readonly cut: { readonly from: string; readonly to: string; readonly oneWay?: boolean; readonly forMs: number };
  /** Whoever stands in two groups is the bridge between them; who stands in none is not touched. */
  readonly partition: { readonly groups: readonly (readonly string[])[]; readonly forMs: number };
  /** Cut and healed by turns. */
  readonly flap: {
    readonly from: string;
    readonly to: string;
    readonly everyMs: number;
    readonly forMs: number;
  };
  /** Nothing is lost, nothing arrives until it is over. */
  readonly clog: { readonly from: string; readonly to: string; readonly forMs: number };
  readonly link: {
    readonly from: string;
    readonly to: string;
    readonly quality: LinkQuality;
    readonly forMs: number;
  };
  /** The wall clock of one node jumps by this much, and stays there. */
  readonly step: { readonly node: string; readonly byMs: number };
  /** Its clocks run faster (1.01) or slower (0.99), timers with them. */
  readonly drift: { readonly node: string; readonly rate: number; readonly forMs: number };
  /** Its wall clock stands still, then jumps back to where it would have been. */
  readonly stop: { readonly node: string; readonly forMs: number };
  readonly write: { readonly fault: WriteFault; readonly rate: number; readonly forMs: number };
  readonly read: { readonly fault: ReadFault; readonly rate: number; readonly forMs: number };
  readonly watch: { readonly fault: WatchFault; readonly rate: number; readonly forMs: number };
  readonly request: { readonly fault: RequestFault; readonly rate: number; readonly forMs: number };
  readonly publish: { readonly fault: PublishFault; readonly rate: number; readonly forMs: number };
  readonly service: {
    readonly service: string;
    readonly fault: ServiceFault;
    readonly rate: number;
    readonly forMs: number;
  };
  /** The coordinator gives a partition to another node; the old owner may never hear of it. */
  readonly takeover: { readonly partition: number; readonly node: string; readonly told: boolean };
  /** The runtime itself stands still for a while at a point inside, as often as this. */
  readonly hold: { readonly point: FaultPoint; readonly rate: number; readonly forMs: number };
  /** Of a run on the model of NATS: its servers, what clients ask of them, and what they deliver. */
  readonly nats: { readonly fault: NatsFault; readonly rate: number; readonly forMs: number };
  readonly disk: {
    readonly node: string;
    readonly fault: DiskFault;
    readonly rate: number;
    readonly forMs: number;
  };
};

export type FaultKind = keyof FaultArguments;

export type Fault = {
  [Kind in FaultKind]: { readonly at: number; readonly kind: Kind; readonly args: FaultArguments[Kind] };
}[FaultKind];

export type FaultOf<Kind extends FaultKind> = Extract<Fault, { kind: Kind }>;

/** How long it lasts: what is over at once is 0, what nothing ends before the healing is endless. */
export function lastsMs(fault: Fault): number {
  switch (fault.kind) {
    case "crash":
      return fault.args.restartAfterMs ?? Number.POSITIVE_INFINITY;
    case "step":
      return Number.POSITIVE_INFINITY;
    case "takeover":
      return 0;
    default:
      return fault.args.forMs;
  }
}

/** One line for people: what, where, when, for how long. */
export function tellFault({ at, kind, args }: Fault): string {
  const words = Object.entries(args).map(([name, value]) =>
    typeof value === "object" ? `${name} ${JSON.stringify(value)}` : `${name} ${String(value)}`,
  );
  return `at ${at} ms: ${kind}, ${words.join(", ")}`;
}
