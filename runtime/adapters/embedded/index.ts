/** The store provider for one machine: `createRuntime({ store: embedded("./data") })`. Needs the package lmdb. */
import { type KeysOf, refuseUnknown } from "../../options.ts";
import type { OpenStore, StoreProvider } from "../../ports/store-provider.ts";
import { SingleNodeLeases } from "../single-node-leases.ts";
import { EmbeddedStore, type EmbeddedStoreOptions } from "./embedded-store.ts";

export { EmbeddedStore, type EmbeddedStoreOptions } from "./embedded-store.ts";
export {
  DiskFull,
  ForeignDirectory,
  LmdbMissing,
  StoreDamaged,
  StoreInUse,
  StoreNotFound,
  StoreTooNew,
} from "./errors.ts";
export { holdsStore } from "./lmdb-open.ts";

export type EmbeddedProvider = StoreProvider & {
  readonly kind: "embedded";
  readonly directory: string;
  /** Needs no logger and no clock. Rejects with `StoreInUse` while another opening hosts the directory. */
  open(): Promise<OpenStore & { readonly store: EmbeddedStore; readonly directory: string }>;
};

export type EmbeddedOptions = Omit<EmbeddedStoreOptions, "readOnly">;

const embeddedOptions: KeysOf<EmbeddedOptions> = { maxValueBytes: true, historyDepth: true };

/** Keeps all actors in a directory, which is made if missing. One process at a time hosts it. */
export function embedded(directory: string, options: EmbeddedOptions = {}): EmbeddedProvider {
  refuseUnknown("options of embedded", options, embeddedOptions, RangeError);
  return {
    kind: "embedded",
    directory,
    async open() {
      const store = await EmbeddedStore.open(directory, options);
      const leases = new SingleNodeLeases(store.epoch);
      return {
        store,
        leases,
        directory,
        async close() {
          await leases.release();
          await store.close();
        },
      };
    },
  };
}
