/** The store provider for tests and first steps: nothing survives the process, everything survives a restarted host. */
import { refuseUnknown } from "../../options.ts";
import type { OpenStore, StoreProvider } from "../../ports/store-provider.ts";
import { SingleNodeLeases } from "../single-node-leases.ts";
import { MemoryStore, type MemoryStoreOptions, memoryStoreOptions } from "./memory-store.ts";

export { SingleNodeLeases } from "../single-node-leases.ts";
export { MemoryStore, type MemoryStoreOptions } from "./memory-store.ts";

export type MemoryProvider = StoreProvider & {
  readonly kind: "memory";
  /** Needs no logger and no clock. Every opening sees the same data and fences the openings before it. */
  open(): Promise<OpenStore & { readonly store: MemoryStore }>;
};

export function memory(options: MemoryStoreOptions = {}): MemoryProvider {
  refuseUnknown("options of memory", options, memoryStoreOptions, RangeError);
  const contents = new MemoryStore(options);
  return {
    kind: "memory",
    async open() {
      const store = contents.reopen();
      const leases = new SingleNodeLeases(store.raiseEpoch());
      return {
        store,
        leases,
        async close() {
          await leases.release();
          await store.close();
        },
      };
    },
  };
}
