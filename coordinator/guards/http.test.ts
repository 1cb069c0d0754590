import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import type { Claim } from "../../runtime/ports/fenced-register.ts";
import { FenceUnknown } from "../lease/errors.ts";
import { fencedFetch, formatClaim, HttpGuard, parseClaim, tokenHeader } from "./http.ts";
import { MemoryFence } from "./memory-fence.ts";

const claim = (index: number, holder = `n${index}`): Claim => ({ token: [1, index], holder });
const nameOf = (_: string, path: string) => (path.startsWith("/open") ? undefined : path);
const ask = (path: string, by?: Claim | string) =>
  new Request(`http://service${path}`, {
    headers: by === undefined ? {} : { [tokenHeader]: typeof by === "string" ? by : formatClaim(by) },
  });

describe("the header", () => {
  test("carries a claim there and back", () => {
    for (const one of [claim(41), claim(0, "ä b;=,"), claim(Number.MAX_SAFE_INTEGER, "x".repeat(200))])
      expect(parseClaim(formatClaim(one))).toEqual(one);
  });

  test("that is none is none", () => {
    const wrong = [
      "",
      "3",
      "3.41",
      "3.41;holder=",
      "-1.2;holder=n",
      "1.2;holder=a b",
      "1.2;holder=%",
      "1.99999999999999999;holder=n",
      "1.2;holder=n,1.3;holder=n",
    ];
    for (const text of wrong) expect(parseClaim(text), text).toBeUndefined();
    expect(() => formatClaim(claim(-1))).toThrow(/a token is two whole numbers/);
  });
});

describe("a handler in the way of fetch", () => {
  test("C5, C6 lets in the newest claim and refuses earlier ones, reading or writing", async () => {
    const done: string[] = [];
    const guard = new HttpGuard({ fence: new MemoryFence(), nameOf });
    const handle = guard.handler((request) => {
      done.push(new URL(request.url).pathname);
      return new Response("done");
    });
    expect((await handle(ask("/a", claim(1)))).status).toBe(200);
    expect((await handle(ask("/a", claim(2)))).status).toBe(200);
    const late = await handle(ask("/a", claim(1)));
    expect(late.status).toBe(412);
    expect(parseClaim(late.headers.get(tokenHeader) ?? "")).toEqual(claim(2));
    expect(await late.json()).toMatchObject({ code: "Fenced" });
    expect((await handle(ask("/a", claim(2, "another")))).status).toBe(412);
    expect((await handle(ask("/b", claim(1)))).status).toBe(200);
    expect(done).toEqual(["/a", "/a", "/b"]);
  });

  test("wants a token where it must have one, and none elsewhere", async () => {
    const guard = new HttpGuard({ fence: new MemoryFence(), nameOf });
    const handle = guard.handler(() => new Response("done"));
    expect((await handle(ask("/a"))).status).toBe(428);
    expect((await handle(ask("/a", "1.2"))).status).toBe(400);
    expect((await handle(ask("/open"))).status).toBe(200);
  });

  test("lets a later claim in only when nothing of an earlier one is at work, or not at all", async () => {
    const guard = new HttpGuard({ fence: new MemoryFence(), nameOf, waitMs: 50 });
    const said: string[] = [];
    let finish = () => {};
    const slow = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const handle = guard.handler(async (request) => {
      const by = parseClaim(request.headers.get(tokenHeader) ?? "")?.holder;
      said.push(`${by} begins`);
      if (by === "n1") await slow;
      said.push(`${by} ends`);
      return new Response("done");
    });
    const first = handle(ask("/a", claim(1)));
    expect((await handle(ask("/a", claim(2)))).status).toBe(503);
    const second = handle(ask("/a", claim(2)));
    // Also behind the one who gave up.
    for (let turn = 0; turn < 20; turn++) await Promise.resolve();
    expect(said).toEqual(["n1 begins"]);
    finish();
    expect((await first).status).toBe(200);
    expect((await second).status).toBe(200);
    expect(said).toEqual(["n1 begins", "n1 ends", "n2 begins", "n2 ends"]);
  });

  test("a handler that throws, and a fence that does not answer, leave the way free", async () => {
    let answers: (() => void)[] = [];
    const fence = new MemoryFence();
    const guard = new HttpGuard({
      fence: {
        admit: async (name, by) => {
          answers.shift()?.();
          await fence.admit(name, by);
        },
      },
      nameOf,
    });
    const failing = guard.handler(() => Promise.reject(new Error("mine")));
    await expect(failing(ask("/a", claim(1)))).rejects.toThrow("mine");
    answers = [
      () => {
        throw new FenceUnknown("no answer");
      },
    ];
    const handle = guard.handler(() => new Response("done"));
    expect((await handle(ask("/a", claim(1)))).status).toBe(503);
    expect((await handle(ask("/a", claim(1)))).status).toBe(200);
  });
});

describe("middleware for node:http, and fetch under a claim", () => {
  let server: Server | undefined;
  afterEach(() => new Promise((resolve) => (server ? server.close(resolve) : resolve(undefined))));

  test("refuse and throw", async () => {
    const guard = new HttpGuard({ fence: new MemoryFence(), nameOf });
    server = createServer((request, response) => {
      guard.middleware(request, response, (error) => {
        response.writeHead(error === undefined ? 200 : 500).end(request.method);
      });
    });
    await new Promise<void>((resolve) => server?.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/a`;
    expect(await (await fencedFetch(claim(1))(url)).text()).toBe("GET");
    expect(await (await fencedFetch(claim(2))(url, { method: "PUT", body: "x" })).text()).toBe("PUT");
    const late = fencedFetch(claim(1))(url, { method: "PUT", body: "x" });
    await expect(late).rejects.toMatchObject({ code: "Fenced", newest: claim(2) });
    expect((await fetch(url)).status).toBe(428);
    expect((await fetch(`${url.slice(0, -2)}/open`)).status).toBe(200);
    const own = new Request(url, { headers: { "X-Own": "kept" } });
    expect((await fencedFetch(claim(2))(own)).status).toBe(200);
  });
});
