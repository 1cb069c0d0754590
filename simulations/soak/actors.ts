/** The types of the soak, as hosts and clients define them. */
import { defineActor } from "../../runtime/index.ts";
import type { FleetOptions } from "./fleet.ts";
import { accountMachine, ledgerMachine, type Recording, recordPolicy } from "./machine.ts";

export function soakActors(record: Recording) {
  return {
    account: defineActor(accountMachine(record), { version: 1, effects: { record: recordPolicy } }),
    ledger: defineActor(ledgerMachine, { version: 1 }),
  };
}

export const soakBucket = "soak";
export const soakLeaseTtlMs = 2_000;

/** Hosts of these types, which tell the recorder on that port; and of so many jobs every second, if any. */
export function soakFleet(hosts: number, recorderPort: number, folder: string, jobs = 0): FleetOptions {
  return {
    hosts,
    folder,
    program: new URL("./host.js", import.meta.url),
    argumentsOf: (servers, name) => [servers.join(","), name, String(recorderPort), String(jobs)],
  };
}
