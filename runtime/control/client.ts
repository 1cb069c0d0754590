/** The command line's end of a host's control socket. One question at a time; each has a time limit. */
import { connect, type Socket } from "node:net";
import { join, resolve } from "node:path";
import { ControlError } from "./errors.ts";
import { maxAnswerBytes, maxRequestBytes } from "./limits.ts";
import { LineReader } from "./line-reader.ts";
import { socketName, withSocketPath } from "./socket-path.ts";
import type { AnswerOf, QuestionOf, VerbName } from "./verbs.ts";

export class ControlClient {
  readonly #socket: Socket;
  readonly #lines: LineReader;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#lines = new LineReader(socket, maxAnswerBytes);
  }

  /** Answers undefined when no host listens. */
  static async connect(directory: string): Promise<ControlClient | undefined> {
    try {
      const socket = await withSocketPath(directory, socketName, connected);
      return new ControlClient(socket);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "ENOENT" || code === "ECONNREFUSED" || code === "ENOTDIR") return undefined;
      const path = join(resolve(directory), socketName);
      if (code === "EACCES" || code === "EPERM") {
        throw new ControlError("NotAllowed", `${path} belongs to another user: ask as the user who runs the host`, {
          cause: error,
        });
      }
      if (code === "EAGAIN")
        throw new ControlError("Overloaded", `the host at ${path} has too many callers: ask again`, { cause: error });
      throw error;
    }
  }

  /**
   * Rejects with ControlError: the host's refusal, or `NoAnswer` when it went away or took too long. What was asked may
   * have been done then.
   */
  async ask<TVerb extends VerbName>(verb: TVerb, args: QuestionOf<TVerb>, timeoutMs: number): Promise<AnswerOf<TVerb>> {
    return (await this.request(verb, args, timeoutMs)) as AnswerOf<TVerb>;
  }

  /** The same for verbs of another kind of socket. */
  async request(verb: string, args: object, timeoutMs: number): Promise<unknown> {
    const request = `${JSON.stringify({ verb, args })}\n`;
    const sizeBytes = Buffer.byteLength(request) - 1;
    if (sizeBytes > maxRequestBytes) {
      throw new ControlError("TooLarge", `the request has ${sizeBytes} bytes; at most ${maxRequestBytes} are allowed`);
    }
    let isLate = false;
    const onTimeout = () => {
      isLate = true;
      this.#socket.destroy();
    };
    this.#socket.setTimeout(timeoutMs, onTimeout);
    this.#socket.write(request);
    const line = await this.#lines.next();
    this.#socket.setTimeout(0, onTimeout);
    if (line === undefined) {
      throw new ControlError(
        "NoAnswer",
        isLate ? `the host did not answer within ${timeoutMs} ms` : "the host went away before it answered",
      );
    }
    if (line.kind === "tooLong") throw new ControlError("TooLarge", `the answer has more than ${maxAnswerBytes} bytes`);
    return readAnswer(line.text);
  }

  close(): void {
    this.#socket.destroy();
  }
}

function readAnswer(text: string): unknown {
  const answer = parse(text) as { ok?: unknown; value?: unknown; error?: { code?: unknown; message?: unknown } } | null;
  if (answer?.ok === true) return answer.value;
  const { code, message } = answer?.error ?? {};
  if (typeof code === "string" && typeof message === "string") throw new ControlError(code, message);
  throw new ControlError("Failed", `the host's answer cannot be read: ${text.slice(0, 200)}`);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function connected(path: string): Promise<Socket> {
  return new Promise((settled, failed) => {
    const socket = connect(path);
    socket.once("error", failed);
    socket.once("connect", () => {
      socket.removeListener("error", failed);
      socket.on("error", () => undefined); // The reader sees the end that follows.
      settled(socket);
    });
  });
}
