import assert from "node:assert/strict";
import type { Msg, NatsConnection, Status } from "@nats-io/transport-node";
import { beforeEach, describe, expect, test } from "vitest";
import { Seldom } from "../../seldom.ts";
import { ManualClock } from "../../testing/manual-clock.ts";
import { Link } from "./link.ts";
import { keptLogger, type Line } from "./rig.fixture.ts";

type Callback = (error: Error | null, message: Msg) => void;
type FakeSubscription = { readonly subject: string; readonly callback: Callback; ended: boolean };

/** A connection of which the test tells what happens to it. */
function fakeConnection() {
  const statuses: Status[] = [];
  const subscriptions: FakeSubscription[] = [];
  let wake: () => void = () => {};
  const state = { closed: false };
  const connection = {
    info: { max_payload: 1_000 },
    isClosed: () => state.closed,
    isDraining: () => false,
    subscribe: (subject: string, { callback }: { callback: Callback }) => {
      const made: FakeSubscription = { subject, callback, ended: false };
      subscriptions.push(made);
      return {
        isClosed: () => made.ended,
        unsubscribe: () => {
          made.ended = true;
        },
      };
    },
    publish: () => {
      throw new Error("closed");
    },
    status: () => ({
      stop: () => {
        statuses.push({ type: "close" } as Status);
        wake();
      },
      async *[Symbol.asyncIterator]() {
        for (;;) {
          for (const status of statuses.splice(0)) yield status;
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      },
    }),
  };
  const tell = async (status: object) => {
    statuses.push(status as Status);
    wake();
    for (let turn = 0; turn < 20; turn++) await Promise.resolve();
  };
  return { connection: connection as unknown as NatsConnection, subscriptions, tell, state };
}

const forbidden = (operation: string, subject: string) =>
  Object.assign(new Error("Permissions Violation"), { name: "PermissionViolationError", operation, subject });

describe("the link to the server", () => {
  let fake: ReturnType<typeof fakeConnection>;
  let clock: ManualClock;
  let lines: readonly Line[];
  let link: Link;
  beforeEach(() => {
    fake = fakeConnection();
    clock = new ManualClock();
    const kept = keptLogger();
    lines = kept.lines;
    link = new Link(fake.connection, clock, kept.logger);
  });

  test("is down between the loss of the connection and its return, and says both", async () => {
    expect(link.isUp).toBe(true);
    await fake.tell({ type: "disconnect", server: "a:1" });
    expect(link.isUp).toBe(false);
    await fake.tell({ type: "reconnect", server: "b:1" });
    expect(link.isUp).toBe(true);
    expect(lines.map(({ level, message }) => `${level} ${message}`)).toEqual([
      "warn the connection to NATS at a:1 is lost; trying again",
      "info connected to NATS again, at b:1",
    ]);
    await fake.tell({ type: "close" });
    expect(link.isUp).toBe(false);
    expect(lines.at(-1)).toMatchObject({ level: "error", message: expect.stringContaining("closed for good") });
  });

  test("credentials that are refused again and again are told once a minute", async () => {
    const error = Object.assign(new Error("Authorization Violation"), { name: "AuthorizationError" });
    for (let attempt = 0; attempt < 10; attempt++) {
      await fake.tell({ type: "error", error });
      await fake.tell({ type: "disconnect", server: "a:1" });
    }
    expect(lines.map(({ level, message }) => `${level} ${message}`)).toEqual([
      expect.stringContaining("error the server does not accept the credentials of this process"),
      "warn the connection to NATS at a:1 is lost; trying again",
    ]);
  });

  test("says when the server goes down, answers no ping, or finds us slow", async () => {
    await fake.tell({ type: "ldm", server: "a:1" });
    await fake.tell({ type: "staleConnection" });
    await fake.tell({ type: "slowConsumer", sub: { getSubject: () => "x.y" }, pending: 7 });
    await fake.tell({ type: "error", error: new Error("Maximum Connections") });
    expect(lines.map(({ level, message }) => `${level} ${message}`)).toEqual([
      "info the server a:1 is going down; the connection will move to another",
      "warn the server has answered no ping; connecting again",
      "warn messages on x.y come faster than they are taken: 7 wait",
      "warn the server reported an error",
    ]);
  });

  test("a subscription that is refused is asked for again, after a while and after a reconnect", async () => {
    const heard: string[] = [];
    const listening = link.listen("a.b", () => void heard.push("one"));
    const refuse = () => fake.subscriptions.at(-1)?.callback(forbidden("subscription", "a.b"), {} as Msg);
    refuse();
    expect(lines[0]).toMatchObject({
      level: "error",
      message: expect.stringContaining("does not let this node listen to a.b"),
    });
    await clock.advance(29_999);
    expect(fake.subscriptions.length).toBe(1);
    await clock.advance(1);
    expect(fake.subscriptions.length).toBe(2);
    refuse();
    await fake.tell({ type: "reconnect", server: "a:1" });
    expect(fake.subscriptions.length).toBe(3);
    await clock.advance(60_000);
    expect(fake.subscriptions.length).toBe(3);
    fake.subscriptions.at(-1)?.callback(null, {} as Msg);
    expect(heard).toEqual(["one"]);
    listening.stop();
    expect(fake.subscriptions.at(-1)?.ended).toBe(true);
  });

  test("one that was ended meanwhile is not asked for again", async () => {
    const listening = link.listen("a.b", () => {});
    fake.subscriptions[0]?.callback(forbidden("subscription", "a.b"), {} as Msg);
    listening.stop();
    await clock.advance(60_000);
    await fake.tell({ type: "reconnect", server: "a:1" });
    expect(fake.subscriptions.length).toBe(1);
  });

  test("what may not be published is told each time, and logged once a minute for each subject", async () => {
    const told: string[] = [];
    link.onForbidden((subject) => void told.push(subject));
    for (let count = 0; count < 10; count++)
      for (const subject of ["a", "b"]) await fake.tell({ type: "error", error: forbidden("publish", subject) });
    await fake.tell({ type: "error", error: forbidden("subscription", "c") });
    expect(told.length).toBe(20);
    expect(lines.map(({ message }) => message.split(" ").at(-2))).toEqual(["a", "b"]);
  });

  test("what cannot be sent is said, and nothing throws", () => {
    expect(link.publish("a", new Uint8Array())).toBe(false);
    expect(lines[0]?.message).toContain("a message to a was not sent");
  });

  test("nothing is subscribed on a closed connection, nor told after the end", async () => {
    fake.state.closed = true;
    link.listen("a.b", () => assert.fail("nothing comes")).stop();
    expect(fake.subscriptions).toEqual([]);
    link.stop();
    link.stop();
    await fake.tell({ type: "disconnect", server: "a:1" });
    expect(lines).toEqual([]);
  });
});

test("a matter is spoken of once in a while, with a count of what was not said", async () => {
  const clock = new ManualClock();
  const seldom = new Seldom(clock, 1_000);
  const said: string[] = [];
  const say = (matter: string) => seldom.say(matter, (held) => void said.push(`${matter} ${held}`));
  for (let count = 0; count < 5; count++) say("a");
  say("b");
  await clock.advance(1_000);
  for (let count = 0; count < 3; count++) say("a");
  expect(said).toEqual(["a 0", "b 0", "a 4"]);
  for (let matter = 0; matter < 5_000; matter++) say(`m${matter}`);
  expect(said.length).toBe(5_003);
});
