/**
 * Stands between a client and a nats-server and plays the network: loses, delays or doubles single messages to the
 * client (an acknowledgement, say, after the write has happened), cuts connections, lets them hang half-open.
 */
import { connect, createServer, type Socket } from "node:net";

/** What becomes of one message from the server to the client. */
export type Fate = "pass" | "lose" | "twice" | { readonly delayMs: number };

export type NatsProxy = {
  readonly url: string;
  /** Decides for each message to a client; `text` is its payload with its headers. Default: all pass. */
  fate: (text: string, subject: string) => Fate;
  /** Connections that are open. */
  readonly connections: number;
  /** Ends all connections at once. */
  cut(): void;
  /** Nothing gets through any more, and nobody is told. */
  hang(): void;
  /** What hung goes on; new connections are taken again. */
  heal(): void;
  /** Takes no new connections until `heal`. */
  refuse(): void;
  stop(): Promise<void>;
};

type Pair = { readonly client: Socket; readonly server: Socket };

export async function startNatsProxy(serverPort: number): Promise<NatsProxy> {
  const pairs = new Set<Pair>();
  let isHanging = false;
  let isRefusing = false;
  const listener = createServer((client) => {
    if (isRefusing) {
      client.destroy();
      return;
    }
    const server = connect(serverPort, "127.0.0.1");
    const pair = { client, server };
    pairs.add(pair);
    const end = () => {
      pairs.delete(pair);
      client.destroy();
      server.destroy();
    };
    for (const socket of [client, server]) {
      socket.setNoDelay(true);
      socket.on("error", end);
      socket.on("close", end);
    }
    client.on("data", (chunk) => server.write(chunk));
    const frames = new Frames();
    server.on("data", (chunk) => {
      for (const frame of frames.take(chunk)) deliver(client, frame);
    });
    if (isHanging) hold(pair);
  });
  const deliver = (client: Socket, frame: Frame) => {
    const fate = frame.subject === undefined ? "pass" : proxy.fate(frame.text(), frame.subject);
    const send = () => {
      if (!client.destroyed) client.write(frame.bytes);
    };
    if (fate === "lose") return;
    if (typeof fate === "object") {
      setTimeout(send, fate.delayMs).unref();
      return;
    }
    send();
    if (fate === "twice") send();
  };
  const hold = ({ client, server }: Pair) => {
    client.pause();
    server.pause();
  };
  await new Promise<void>((resolve, reject) => {
    listener.once("error", reject);
    listener.listen(0, "127.0.0.1", resolve);
  });
  const { port } = listener.address() as { port: number };
  const cut = () => {
    for (const { client, server } of pairs) {
      client.destroy();
      server.destroy();
    }
    pairs.clear();
  };
  const proxy: NatsProxy = {
    url: `nats://127.0.0.1:${port}`,
    fate: () => "pass",
    get connections() {
      return pairs.size;
    },
    cut,
    hang() {
      isHanging = true;
      for (const pair of pairs) hold(pair);
    },
    heal() {
      isHanging = false;
      isRefusing = false;
      for (const { client, server } of pairs) {
        client.resume();
        server.resume();
      }
    },
    refuse() {
      isRefusing = true;
    },
    async stop() {
      cut();
      await new Promise((resolve) => listener.close(resolve));
    },
  };
  return proxy;
}

type Frame = { readonly bytes: Buffer; readonly subject: string | undefined; readonly text: () => string };

/** Cuts what a server says into its lines and messages, whole ones only. */
class Frames {
  #rest: Buffer = Buffer.alloc(0);

  take(chunk: Buffer): Frame[] {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const frames: Frame[] = [];
    for (;;) {
      const lineEnd = this.#rest.indexOf("\r\n");
      if (lineEnd < 0) return frames;
      const words = this.#rest.toString("latin1", 0, lineEnd).split(" ");
      const isMessage = words[0] === "MSG" || words[0] === "HMSG";
      const end = lineEnd + 2 + (isMessage ? Number(words.at(-1)) + 2 : 0);
      if (this.#rest.length < end) return frames;
      const bytes = this.#rest.subarray(0, end);
      frames.push({
        bytes,
        subject: isMessage ? words[1] : undefined,
        text: () => bytes.toString("utf8", lineEnd + 2, end - 2),
      });
      this.#rest = this.#rest.subarray(end);
    }
  }
}
