/**
 * One receiver, very many senders: each message counts once, and the receiver's document stays small, because what is
 * settled is forgotten. With `actors` the senders are real actors; without, the sender's side is the Messenger alone,
 * which is all of it that the receiver can notice, so that a million of them fit into memory.
 */
import { assign, sendTo, setup } from "xstate";
import { MemoryStore } from "../../runtime/adapters/memory/index.ts";
import { LocalBus } from "../../runtime/adapters/memory/local-bus.ts";
import { SingleNodeLeases } from "../../runtime/adapters/single-node-leases.ts";
import { SystemClock } from "../../runtime/adapters/system-clock.ts";
import { Address, address } from "../../runtime/address.ts";
import { defineActor } from "../../runtime/definition.ts";
import { Host } from "../../runtime/host/host.ts";
import { Messenger } from "../../runtime/host/messenger.ts";
import { defaultSettings } from "../../runtime/host/settings.ts";
import { actorKey } from "../../runtime/keys.ts";
import type { Bus, BusReply, BusRequest } from "../../runtime/ports/bus.ts";
import type { Logger } from "../../runtime/ports/logger.ts";
import type { Random } from "../../runtime/ports/random.ts";
import type { StoreWrite, WriteOutcome } from "../../runtime/ports/store.ts";
import type { Input } from "../../runtime/step.ts";

export type ManySenders = {
  readonly messages: number;
  readonly actors: boolean;
  readonly seed: number;
  readonly onProgress?: (delivered: number, largestBytes: number) => void;
};

export type ManySendersResult = {
  /** What the receiver's machine counted. */
  readonly counted: number;
  /** The largest document of the receiver that was ever committed. */
  readonly largestBytes: number;
  readonly duplicatedRequests: number;
  readonly lostReplies: number;
  readonly seconds: number;
};

const counter = setup({ types: { context: {} as { n: number }, events: {} as { type: "INC" } } }).createMachine({
  context: { n: 0 },
  on: { INC: { actions: assign({ n: ({ context }) => context.n + 1 }) } },
});

const sender = setup({ types: { events: {} as { type: "GO" } } }).createMachine({
  initial: "ready",
  states: {
    ready: { on: { GO: "sent" } },
    sent: { entry: sendTo(address("counter", "all"), { type: "INC" }) },
  },
});

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} };
const inFlight = 300;

export async function manySenders({ messages, actors, seed, onProgress }: ManySenders): Promise<ManySendersResult> {
  const clock = new SystemClock();
  const dice = seededDice(seed);
  const store = new MeasuringStore();
  const bus = new FaultyBus(new LocalBus(clock), dice);
  const leases = new SingleNodeLeases(store.raiseEpoch());
  // Who asks after a sender that is no actor hears that it is gone, and forgets what may still be repeated.
  const askAfterMs = actors ? 300 : defaultSettings.askAfterMs;
  const settings = { ...defaultSettings, idleMs: 500, askAfterMs, messageRetryFirstMs: 5, settlementMs: 20 };
  const definitions = { counter: defineActor(counter, { limits: { batch: 128 } }), sender: defineActor(sender) };
  const host = new Host({ store, clock, random: dice, leases, bus, logger: silent }, definitions, settings);
  await host.start();
  const ask = (key: string, input: Input) =>
    new Promise<void>((resolve, reject) => {
      host.request(key, input, (outcome) =>
        outcome.kind === "reply" ? resolve() : reject(new Error(`${key}: ${JSON.stringify(outcome)}`)),
      );
    });
  const started = performance.now();
  await ask("counter.all", { kind: "create", input: undefined, key: { kind: "caller", key: "make" } });
  if (actors) await sendFromActors(messages, ask);
  else
    await sendFromMessenger(messages, { bus, clock, dice, host, settings }, () =>
      onProgress?.(store.count, store.largestBytes),
    );
  while (store.count < messages) {
    onProgress?.(store.count, store.largestBytes);
    await new Promise<void>((resolve) => void clock.after(20, resolve));
  }
  // What still travels may only be repetitions.
  await new Promise<void>((resolve) => void clock.after(300, resolve));
  const entry = await store.read("counter.all");
  const document = JSON.parse(entry?.value ?? "{}") as { actors: { s0: { snap: { context: { n: number } } } } };
  await host.stop(0);
  return {
    counted: document.actors.s0.snap.context.n,
    largestBytes: store.largestBytes,
    duplicatedRequests: bus.duplicated,
    lostReplies: bus.lost,
    seconds: (performance.now() - started) / 1000,
  };
}

async function sendFromActors(messages: number, ask: (key: string, input: Input) => Promise<void>): Promise<void> {
  for (let base = 0; base < messages; base += inFlight) {
    const batch = Array.from({ length: Math.min(inFlight, messages - base) }, (_, index) => `s-${base + index}`);
    await Promise.all(
      batch.map((id) =>
        ask(actorKey("sender", id), {
          kind: "create",
          input: undefined,
          event: { type: "GO" },
          key: { kind: "caller", key: "go" },
        }),
      ),
    );
  }
}

/** The sender's side without actors: a message is its outbox item, its removal is at once. */
function sendFromMessenger(
  messages: number,
  {
    bus,
    clock,
    dice,
    host,
    settings,
  }: { bus: Bus; clock: SystemClock; dice: Random; host: Host; settings: typeof defaultSettings },
  onProgress: () => void,
): Promise<void> {
  const partitionOf = (key: string) => host.partitionOf(key);
  const messenger = new Messenger({
    bus,
    clock,
    random: dice,
    logger: silent,
    settings,
    partitionOf,
    token: () => [7, 0],
  });
  const to = new Address("counter", "all");
  const eventText = '{"type":"INC"}';
  return new Promise((resolve) => {
    let next = 0;
    let removed = 0;
    const sendOne = () => {
      const key = `sender.s-${next++}`;
      const from = { key, born: "b", partition: partitionOf(key) };
      const item = { n: 1, kind: "send" as const, sid: "s0", to, event: { type: "INC" }, attempt: 1, dueMs: undefined };
      messenger.send({
        sender: from,
        item,
        eventText,
        trace: undefined,
        outranked: () => {},
        delivered: () => {
          messenger.removed(from, to, 1);
          messenger.forget(key);
          if (++removed % 10_000 === 0) onProgress();
          if (removed === messages) resolve();
          else if (next < messages) sendOne();
        },
      });
    };
    for (let index = 0; index < Math.min(inFlight, messages); index++) sendOne();
  });
}

/** Knows, of every commit, how large the receiver's document was and how far it had counted. */
class MeasuringStore extends MemoryStore {
  largestBytes = 0;
  count = 0;

  constructor() {
    super({ historyDepth: 1 });
  }

  override write(write: StoreWrite): Promise<WriteOutcome> {
    if (write.key === "counter.all") {
      this.largestBytes = Math.max(this.largestBytes, Buffer.byteLength(write.value));
      this.count = Number(/"context":\{"n":(\d+)\}/.exec(write.value)?.[1] ?? 0);
    }
    return super.write(write);
  }
}

/** Delivers some message requests twice, the second time later, and loses some replies. Reports travel safely. */
class FaultyBus implements Bus {
  duplicated = 0;
  lost = 0;
  readonly #inner: LocalBus;
  readonly #dice: Random;

  constructor(inner: LocalBus, dice: Random) {
    this.#inner = inner;
    this.#dice = dice;
  }

  async request(request: BusRequest, timeoutMs: number): Promise<BusReply> {
    if (!request.body.startsWith('{"op":"message"')) return this.#inner.request(request, timeoutMs);
    const luck = this.#dice.next();
    const reply = await this.#inner.request(request, timeoutMs);
    if (luck < 0.03) {
      this.duplicated++;
      setTimeout(() => void this.#inner.request(request, timeoutMs), luck * 5_000);
    } else if (luck < 0.06) {
      this.lost++;
      return { kind: "timeout" };
    }
    return reply;
  }

  serve(handler: (request: BusRequest) => Promise<string>): () => void {
    return this.#inner.serve(handler);
  }

  publish(topic: string, body: string, id: string): Promise<void> {
    return this.#inner.publish(topic, body, id);
  }

  subscribe(topic: string, listener: (body: string, id: string) => void): () => void {
    return this.#inner.subscribe(topic, listener);
  }
}

function seededDice(seed: number): Random {
  let state = seed >>> 0 || 1;
  const next = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
  let count = 0;
  return { next, id: () => `id${seed}x${(count++).toString(36)}` };
}
