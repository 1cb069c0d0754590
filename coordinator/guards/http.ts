/**
 * Fencing over HTTP: the client sends its claim in the header `Holdfast-Token`, also with what it only reads; the server keeps
 * the newest one and refuses earlier ones with 412. Requests for one name are served one after the other, so that none of an
 * earlier holder is still at work when a later one is let in (C5, C6).
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { type KeysOf, refuseUnknown } from "../../runtime/options.ts";
import { type Claim, claimProblem } from "../../runtime/ports/fenced-register.ts";
import { FencedError, FenceUnknown, LeaseInvalidOption } from "../lease/errors.ts";
import type { Fence } from "./guard.ts";

export const tokenHeader = "Holdfast-Token";

/** `3.41;holder=n1`: the token, and whose it is. */
export function formatClaim(claim: Claim): string {
  const problem = claimProblem(claim);
  if (problem !== undefined) throw new LeaseInvalidOption(problem);
  return `${claim.token.join(".")};holder=${encodeURIComponent(claim.holder)}`;
}

/** Undefined: it is none. */
export function parseClaim(text: string): Claim | undefined {
  const [, epoch, index, holder] = /^(\d{1,16})\.(\d{1,16});holder=([^;,\s]+)$/.exec(text.trim()) ?? [];
  if (holder === undefined) return undefined;
  try {
    const claim: Claim = { token: [Number(epoch), Number(index)], holder: decodeURIComponent(holder) };
    return claimProblem(claim) === undefined ? claim : undefined;
  } catch {
    return undefined;
  }
}

/** `fetch` under a claim: sends the header, and rejects with FencedError where the server refuses it. */
export function fencedFetch(claim: Claim, fetch: typeof globalThis.fetch = globalThis.fetch): typeof globalThis.fetch {
  const header = formatClaim(claim);
  return async (input, init) => {
    const headers = new Headers(init?.headers ?? (input instanceof Request ? input.headers : undefined));
    headers.set(tokenHeader, header);
    const response = await fetch(input, { ...init, headers });
    const newest = response.status === 412 ? parseClaim(response.headers.get(tokenHeader) ?? "") : undefined;
    if (newest === undefined) return response;
    await response.body?.cancel();
    throw new FencedError(input instanceof Request ? input.url : String(input), newest);
  };
}

export type HttpGuardOptions = {
  /** Keeps the newest claims: `MemoryFence`, a `Guard` over a register, `SqlGuard.fence`. */
  readonly fence: Fence;
  /** What a request is about, by its method and path: tokens are compared within it. Undefined: it needs no token. */
  readonly nameOf: (method: string, path: string) => string | undefined;
  /** How long a request may wait for those before it, in milliseconds; then it gets 503. Default: 10,000. */
  readonly waitMs?: number;
};

const guardOptions: KeysOf<HttpGuardOptions> = { fence: true, nameOf: true, waitMs: true };

type Refusal = { readonly status: number; readonly headers: Record<string, string>; readonly body: string };

export class HttpGuard {
  readonly #options: HttpGuardOptions;
  /** By name: the end of the last request that was let in or waits. */
  readonly #tails = new Map<string, Promise<void>>();

  constructor(options: HttpGuardOptions) {
    refuseUnknown("options of HttpGuard", options, guardOptions, LeaseInvalidOption);
    this.#options = options;
  }

  /** For handlers in the way of fetch (Deno, Hono, …): the request is over when the promise of `handle` is. */
  handler(handle: (request: Request) => Response | Promise<Response>): (request: Request) => Promise<Response> {
    return async (request) => {
      const { pathname } = new URL(request.url);
      const entry = await this.#enter(request.method, pathname, request.headers.get(tokenHeader));
      if ("refusal" in entry) {
        const { status, headers, body } = entry.refusal;
        return new Response(body, { status, headers });
      }
      try {
        return await handle(request);
      } finally {
        entry.leave();
      }
    };
  }

  /** For node:http and what is built on it: the request is over when its response is. */
  readonly middleware = (request: IncomingMessage, response: ServerResponse, next: (error?: unknown) => void): void => {
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    const header = request.headers[tokenHeader.toLowerCase()];
    void this.#enter(request.method ?? "GET", pathname, typeof header === "string" ? header : null).then(
      (entry) => {
        if ("refusal" in entry) {
          const { status, headers, body } = entry.refusal;
          response.writeHead(status, headers).end(body);
          return;
        }
        response.once("close", entry.leave);
        // Gone while it waited: nothing is done for it.
        if (response.destroyed) entry.leave();
        else next();
      },
      (error: unknown) => next(error),
    );
  };

  async #enter(
    method: string,
    path: string,
    header: string | null,
  ): Promise<{ readonly refusal: Refusal } | { readonly leave: () => void }> {
    const name = this.#options.nameOf(method, path);
    if (name === undefined) return { leave: () => {} };
    if (header === null) return refuse(428, "TokenRequired", `this needs the header ${tokenHeader}: 3.41;holder=n1`);
    const claim = parseClaim(header);
    if (claim === undefined)
      return refuse(400, "TokenInvalid", `the header ${tokenHeader} must be like 3.41;holder=n1`);
    const leave = await this.#turn(name);
    if (leave === undefined) return refuse(503, "Busy", `requests for ${name} are still at work: try again`);
    try {
      await this.#options.fence.admit(name, claim);
      return { leave };
    } catch (error) {
      leave();
      if (error instanceof FencedError)
        return refuse(412, "Fenced", error.message, { [tokenHeader]: formatClaim(error.newest) });
      if (error instanceof FenceUnknown)
        return refuse(503, "FenceUnknown", "whether the token counts is not known: try again");
      throw error;
    }
  }

  /** Resolves when those before have left, with how to leave oneself; undefined: not in time. */
  async #turn(name: string): Promise<(() => void) | undefined> {
    const before = this.#tails.get(name) ?? Promise.resolve();
    let left = () => {};
    const own = new Promise<void>((resolve) => {
      left = resolve;
    });
    const tail = before.then(() => own);
    this.#tails.set(name, tail);
    const leave = () => {
      left();
      if (this.#tails.get(name) === tail) void tail.then(() => this.#forget(name, tail));
    };
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<"late">((resolve) => {
      timer = setTimeout(() => resolve("late"), this.#options.waitMs ?? 10_000);
    });
    const outcome = await Promise.race([before, late]);
    clearTimeout(timer);
    if (outcome !== "late") return leave;
    leave();
    return undefined;
  }

  #forget(name: string, tail: Promise<void>): void {
    if (this.#tails.get(name) === tail) this.#tails.delete(name);
  }
}

function refuse(status: number, code: string, message: string, headers: Record<string, string> = {}) {
  const body = JSON.stringify({ code, message });
  return { refusal: { status, headers: { "Content-Type": "application/json", ...headers }, body } };
}
