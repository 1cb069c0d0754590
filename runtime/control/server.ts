/**
 * The socket over which the command line talks to a host: one JSON request per line, one JSON answer per line, in order.
 * It exists as long as its host, and only the user who runs the host may open it. Start reading at `#converse`.
 *
 *   {"verb":"get","args":{"type":"order","id":"o-123"}}
 *   {"ok":true,"value":{…}}    or    {"ok":false,"error":{"code":"NotFound","message":"…"}}
 */
import { chmodSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { join, relative, resolve } from "node:path";
import type { Clock } from "../ports/clock.ts";
import type { Logger } from "../ports/logger.ts";
import { ControlError, codeOf } from "./errors.ts";
import { lineMs, maxAnswerBytes, maxConnections, maxRequestBytes } from "./limits.ts";
import { type Line, LineReader } from "./line-reader.ts";
import { socketName, withSocketPath } from "./socket-path.ts";

export type ControlServerOptions = {
  /** Of the store, which the caller hosts: nobody else makes or removes sockets there. */
  readonly directory: string;
  /** Answers what is asked, or rejects: `code` of the error goes to who asked. */
  readonly answer: (verb: unknown, args: unknown) => Promise<unknown>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** For tests of the bounds. */
  readonly lineMs?: number;
};

/** The socket is made inside such a directory, which only its owner may enter, and moved out when its mode is right. */
const cradlePrefix = ".control-";

export class ControlServer {
  readonly path: string;
  readonly #options: ControlServerOptions;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Requests under way, by their connections. */
  readonly #answering = new Map<Socket, Promise<string>>();
  #isStopping = false;

  private constructor(options: ControlServerOptions) {
    this.#options = options;
    this.path = join(resolve(options.directory), socketName);
    this.#server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => this.#onConnection(socket));
    this.#server.maxConnections = maxConnections;
  }

  static async start(options: ControlServerOptions): Promise<ControlServer> {
    const server = new ControlServer(options);
    await server.#listen();
    return server;
  }

  /** Takes no more requests, and resolves when those it took are answered. */
  async stop(): Promise<void> {
    if (this.#isStopping) return;
    this.#isStopping = true;
    rmSync(this.path, { force: true });
    this.#server.close();
    for (const socket of this.#sockets) if (!this.#answering.has(socket)) socket.destroySoon();
    await Promise.all(this.#answering.values());
  }

  async #listen(): Promise<void> {
    const directory = resolve(this.#options.directory);
    for (const name of readdirSync(directory)) {
      if (name.startsWith(cradlePrefix)) rmSync(join(directory, name), { recursive: true, force: true });
    }
    const cradle = mkdtempSync(join(directory, cradlePrefix));
    const name = join(relative(directory, cradle), "s");
    try {
      await withSocketPath(directory, name, (path) => listening(this.#server, path));
      chmodSync(join(directory, name), 0o600);
      // Takes the place of what a killed host left, at once.
      renameSync(join(directory, name), this.path);
    } catch (error) {
      this.#server.close();
      throw error;
    } finally {
      rmSync(cradle, { recursive: true, force: true });
    }
    this.#server.on("error", (error) => this.#options.logger.warn(`the control socket: ${error.message}`, { error }));
    // A host lives as long as its own work, not as long as somebody could ask about it.
    this.#server.unref();
  }

  #onConnection(socket: Socket): void {
    this.#sockets.add(socket);
    socket.unref();
    this.#converse(socket)
      .catch((error: unknown) => {
        this.#options.logger.warn("a conversation over the control socket failed", { error });
        socket.destroy();
      })
      .finally(() => this.#sockets.delete(socket));
  }

  async #converse(socket: Socket): Promise<void> {
    const lines = new LineReader(socket, maxRequestBytes);
    for (;;) {
      // Armed while nothing is being done: it bounds the reading of the last answer as well as the next request.
      const cancel = this.#options.clock.after(this.#options.lineMs ?? lineMs, () => socket.destroy(), {
        background: true,
      });
      const line = await lines.next();
      cancel();
      if (line === undefined || this.#isStopping) break;
      const answering = this.#answer(line);
      this.#answering.set(socket, answering);
      const answer = await answering;
      this.#answering.delete(socket);
      if (socket.writable) socket.write(`${answer}\n`);
      if (this.#isStopping) break;
    }
    socket.destroySoon();
  }

  async #answer(line: Line): Promise<string> {
    try {
      if (line.kind === "tooLong") throw new ControlError("TooLarge", `a request has at most ${maxRequestBytes} bytes`);
      const { verb, args } = readRequest(line.text);
      const text = JSON.stringify({ ok: true, value: await this.#options.answer(verb, args) });
      if (Buffer.byteLength(text) <= maxAnswerBytes) return text;
      throw new ControlError(
        "TooLarge",
        `the answer has more than ${maxAnswerBytes} bytes: ask for less, with a limit`,
      );
    } catch (error) {
      const code = codeOf(error);
      if (code === undefined) this.#options.logger.error("a request over the control socket failed", { error });
      const message = error instanceof Error ? error.message : String(error);
      return JSON.stringify({ ok: false, error: { code: code ?? "Failed", message } });
    }
  }
}

function readRequest(text: string): { readonly verb: unknown; readonly args: unknown } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new ControlError("InvalidRequest", `the line is not JSON: ${(cause as Error).message}`, { cause });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new ControlError("InvalidRequest", 'a request is an object: {"verb":"…","args":{…}}');
  }
  return value as { verb: unknown; args: unknown };
}

function listening(server: Server, path: string): Promise<void> {
  return new Promise((settled, failed) => {
    server.once("error", failed);
    server.listen(path, () => {
      server.removeListener("error", failed);
      settled();
    });
  });
}
