/**
 * The world outside: keeps every effect by its key, and refuses one whose token is below the highest that the actor has
 * shown (C5). Lives in the parent; hosts reach it over a socket of JSON lines, which breaks when they do.
 */
import { connect, createServer, type Socket } from "node:net";
import { createInterface } from "node:readline";
import type { Effect, Recording } from "./machine.ts";

export type Recorded = Effect & { readonly times: number };

export type Recorder = {
  readonly port: number;
  /** Accepted effects by key. */
  readonly accepted: ReadonlyMap<string, Recorded>;
  /** Refused for a lower token. */
  readonly fenced: number;
  stop(): Promise<void>;
};

type Line = { readonly id: number; readonly effect: Effect };
type Answer = { readonly id: number; readonly ok: boolean };

export async function startRecorder(): Promise<Recorder> {
  const accepted = new Map<string, Recorded>();
  const highest = new Map<string, readonly [number, number]>();
  const sockets = new Set<Socket>();
  let fenced = 0;
  const take = (effect: Effect): boolean => {
    const top = highest.get(effect.actor) ?? [0, 0];
    const { token } = effect;
    if (token[0] < top[0] || (token[0] === top[0] && token[1] < top[1])) {
      fenced++;
      return false;
    }
    highest.set(effect.actor, token);
    const known = accepted.get(effect.key);
    accepted.set(effect.key, { ...(known ?? effect), times: (known?.times ?? 0) + 1 });
    return true;
  };
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => sockets.delete(socket));
    linesOf(socket, (line) => {
      const { id, effect } = JSON.parse(line) as Line;
      socket.write(`${JSON.stringify({ id, ok: take(effect) } satisfies Answer)}\n`);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as { port: number }).port,
    accepted,
    get fenced() {
      return fenced;
    },
    stop: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A host's way to the recorder. An effect without an answer fails, and is tried again under its key. */
export function recorderAt(port: number): Recording {
  const waiting = new Map<number, { resolve: () => void; reject: (error: Error) => void }>();
  let socket: Socket | undefined;
  let ids = 0;
  const broken = () => {
    socket = undefined;
    for (const { reject } of waiting.values()) reject(new Error("the recorder is not reached"));
    waiting.clear();
  };
  const open = () => {
    const made = connect(port, "127.0.0.1");
    made.on("error", () => made.destroy());
    made.on("close", broken);
    linesOf(made, (line) => {
      const { id, ok } = JSON.parse(line) as Answer;
      const one = waiting.get(id);
      waiting.delete(id);
      if (ok) one?.resolve();
      else one?.reject(new Error("FENCED: the recorder has seen a higher token"));
    });
    return made;
  };
  return (effect) =>
    new Promise((resolve, reject) => {
      socket ??= open();
      const id = ++ids;
      waiting.set(id, { resolve, reject });
      socket.write(`${JSON.stringify({ id, effect } satisfies Line)}\n`);
    });
}

/** The socket's own listener sees to its errors; a reader of lines throws them a second time. */
function linesOf(socket: Socket, onLine: (line: string) => void): void {
  createInterface({ input: socket })
    .on("error", () => {})
    .on("line", onLine);
}
