import { type KV, Kvm } from "@nats-io/kv";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { afterAll, beforeAll, expect, test } from "vitest";
import { SystemClock } from "../../runtime/adapters/system-clock.ts";
import { registerContract } from "../../runtime/ports/fenced-register.contract.ts";
import type { Claim } from "../../runtime/ports/fenced-register.ts";
import { describeWithNats, natsVersions } from "../../runtime/testing/nats.fixture.ts";
import { type NatsServer, startNatsServer } from "../../runtime/testing/nats-server.ts";
import { kvRegister } from "../index.ts";
import { FencedError } from "../lease/errors.ts";
import { Guard } from "./guard.ts";
import { KvRegister } from "./kv-register.ts";

const clock = new SystemClock();
const claim = (index: number): Claim => ({ token: [1, index], holder: `n${index}` });

for (const binary of natsVersions) {
  describeWithNats(`a register in JetStream KV, nats-server ${binary.version}`, () => {
    let server: NatsServer;
    let connection: NatsConnection;
    let kvm: Kvm;
    let buckets = 0;
    const bucket = (): Promise<KV> => kvm.create(`fenced-${++buckets}`, { history: 5 });
    beforeAll(async () => {
      server = await startNatsServer({ binary });
      connection = await connect({ servers: server.url });
      kvm = new Kvm(connection);
    });
    afterAll(async () => {
      await connection?.close();
      await server?.stop();
    });

    test.each(registerContract)("$name", ({ run }) =>
      run(async () => {
        const register = new KvRegister(await bucket(), clock);
        return { register, close: async () => {} };
      }),
    );

    test("a guard over it throws what is refused", async () => {
      const guard = new Guard(kvRegister(await bucket()));
      expect(await guard.install("k", claim(1))).toBeUndefined();
      expect(await guard.write("k", claim(1), "v", "e")).toBe(true);
      expect(await guard.write("k", claim(1), "v", "e")).toBe(false);
      expect(await guard.install("k", claim(2))).toBe("v");
      await expect(guard.write("k", claim(1), "late", "f")).rejects.toThrow(/k: FENCED\(1.2\) by n2/);
      await expect(guard.admit("k", claim(1))).rejects.toBeInstanceOf(FencedError);
    });

    test("what stands there reads well, a deleted key begins anew, and a foreign entry is left alone", async () => {
      const kv = await bucket();
      const register = new KvRegister(kv, clock);
      await register.write({ key: "a b", claim: claim(3), value: "v", effect: "e" });
      const text = (await kv.get("a=20b"))?.string();
      expect(text).toBe('{"token":[1,3],"holder":"n3","value":"v","effect":"e"}');
      await kv.delete("a=20b");
      expect(await register.read("a b")).toBeUndefined();
      expect(await register.install("a b", claim(1))).toMatchObject({ kind: "installed", value: undefined });
      await kv.put("foreign", "text");
      await expect(register.install("foreign", claim(1))).rejects.toThrow(/was not written through a register/);
      expect((await kv.get("foreign"))?.string()).toBe("text");
    });

    /** The bucket, with what becomes of its next writes; then all is well. */
    const troubled = (kv: KV, fates: ("unsent" | "unheard")[]): KV =>
      new Proxy(kv, {
        get: (target, name) => {
          if (name !== "put") return (target[name as keyof KV] as (...values: unknown[]) => unknown).bind(target);
          return async (...values: Parameters<KV["put"]>) => {
            const fate = fates.shift();
            const revision = fate === "unsent" ? 0 : await target.put(...values);
            if (fate !== undefined) throw new Error("no answer in time");
            return revision;
          };
        },
      });

    test("an answer that is lost: the same again settles it; none at all: unknown, and safe to repeat", async () => {
      const kv = await bucket();
      const write = { key: "k", claim: claim(1), value: "v", effect: "e" };
      const once = new KvRegister(troubled(kv, ["unsent", "unheard"]), clock);
      expect(await once.write(write)).toEqual({ kind: "repeated" });
      expect(await new KvRegister(kv, clock).read("k")).toEqual({ claim: claim(1), value: "v", effect: "e" });
      const forever = (fate: "unsent" | "unheard") => Array.from({ length: 10_000 }, () => fate);
      const next = { ...write, claim: claim(2), value: "w", effect: "f" };
      const deaf = new Guard(new KvRegister(troubled(kv, forever("unsent")), clock, { timeoutMs: 100 }));
      await expect(deaf.write("k", claim(2), "w", "f")).rejects.toMatchObject({ code: "FenceUnknown" });
      expect(await new KvRegister(kv, clock).write(next)).toEqual({ kind: "applied" });
      const unheard = new KvRegister(troubled(kv, forever("unheard")), clock, { timeoutMs: 100 });
      expect(await unheard.write({ ...next, effect: "g" })).toMatchObject({ kind: "unknown" });
      expect(await new KvRegister(kv, clock).write({ ...next, effect: "g" })).toEqual({ kind: "repeated" });
    });
  });
}
