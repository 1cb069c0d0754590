/** A model of NATS in a simulated world: one server (or three as one), and connections to it. */
import { type KeysOf, refuseUnknown } from "../../../runtime/options.ts";
import type { Gate } from "../../world/gate.ts";
import type { Laws } from "../../world/laws.ts";
import { ConnectionFaults, ConnectionModel, type ConnectionSettings } from "./connection.ts";
import { ServerModel, type ServerSettings } from "./server.ts";

export type NatsSettings = {
  readonly server?: ServerSettings;
  readonly connection?: ConnectionSettings;
  /** What a correct wall clock shows when the world begins. Default 2026-01-01. */
  readonly epochMs?: number;
};

const natsSettings: KeysOf<NatsSettings> = { server: true, connection: true, epochMs: true };

export class NatsModel {
  readonly server: ServerModel;
  readonly faults: ConnectionFaults;
  readonly #laws: Laws;
  readonly #settings: NatsSettings;

  constructor(laws: Laws, settings: NatsSettings = {}) {
    refuseUnknown("settings of NatsModel", settings, natsSettings, RangeError);
    const epochMs = settings.epochMs ?? Date.UTC(2026, 0, 1);
    this.#laws = laws;
    this.#settings = settings;
    this.faults = new ConnectionFaults(laws);
    this.server = new ServerModel(settings.server ?? { version: "2.15.1" }, {
      nowMs: () => epochMs + laws.loop.nowMs,
      after: (delayMs, label, run, background) => laws.loop.after(delayMs, label, run, { background }),
      dice: laws.dice,
      note: (text) => laws.loop.note(text),
    });
  }

  /** `gate`: of the incarnation of a node that speaks; without one, somebody outside of every node. */
  connect(node: string, gate?: Gate): ConnectionModel {
    return new ConnectionModel(node, this.server, this.#laws, this.faults, this.#settings.connection, gate);
  }
}
