/**
 * What replicas answer to message ids, and to what is sent at once: each case is asked of the model and of three real
 * servers. The random comparison asks one thing after the other; this is what it cannot see, and what it told.
 */
import assert from "node:assert/strict";
import { createInbox } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, test } from "vitest";
import { connectNats, type OpenConnection } from "../../runtime/adapters/nats/connection.ts";
import { EncodedHeaders, Requests } from "../../runtime/adapters/nats/requests.ts";
import { SystemClock } from "../../runtime/adapters/system-clock.ts";
import { describeWithNats, natsVersions } from "../../runtime/testing/nats.fixture.ts";
import { type NatsCluster, startNatsCluster } from "../../runtime/testing/nats-server.ts";
import { ServerModel } from "../models/jetstream/server.ts";
import { bytesOf, type Fields, textOf } from "../models/jetstream/wire.ts";
import { DiceTable } from "../world/dice.ts";

type Message = { readonly key: string; readonly id?: string; readonly expect?: number };

/**
 * Messages in one turn, and what each is answered, as `inWords` says it. Two answers: the first if the message meets the
 * one before it on its way, which a busy server may have stored meanwhile.
 */
type Turn = readonly [messages: readonly Message[], answers: readonly (string | readonly [string, string])[]];

type Case = {
  readonly it: string;
  readonly limits?: { readonly max_msgs?: number; readonly max_bytes?: number };
  /** By the first level of the server's API that answers so. */
  readonly since: Readonly<Record<number, readonly Turn[]>>;
};

const above = 2 ** 52;
const noted = ["duplicate 0", "duplicate 1"] as const;
const inProcess = ["10158 duplicate message id is in process", "duplicate 1"] as const;
const inFlight = ["10164 wrong last sequence", "10071 wrong last sequence: 1"] as const;
const [a, b] = [{ key: "a" }, { key: "b" }];
const cases: readonly Case[] = [
  {
    it: "an id whose write the log refused",
    since: {
      0: [
        [[{ ...a, id: "1", expect: above }], ["10071 wrong last sequence: 0"]],
        [[{ ...a, id: "1" }], ["duplicate 0"]],
        [[{ ...a, id: "2" }], ["1"]],
      ],
      1: [
        [[{ ...a, id: "1", expect: above }], ["10071 wrong last sequence: 0"]],
        [[{ ...a, id: "1" }], ["1"]],
      ],
    },
  },
  {
    it: "an id whose write the leader refused",
    since: {
      0: [
        [[a], ["1"]],
        [[{ ...a, id: "1", expect: 0 }], ["10071 wrong last sequence: 1"]],
        [[{ ...a, id: "1" }], ["2"]],
      ],
    },
  },
  {
    it: "a repetition with an expectation that does not hold",
    since: {
      0: [
        [[{ ...a, id: "1" }], ["1"]],
        [[{ ...a, id: "1", expect: 0 }], ["10071 wrong last sequence: 1"]],
        [[{ ...a, id: "1", expect: above }], ["duplicate 1"]],
      ],
      1: [
        [[{ ...a, id: "1" }], ["1"]],
        [[{ ...a, id: "1", expect: 0 }], ["duplicate 1"]],
        [[{ ...a, id: "1", expect: above }], ["duplicate 1"]],
      ],
    },
  },
  {
    it: "one id several times at once",
    since: {
      0: [[Array<Message>(3).fill({ ...a, id: "1" }), ["1", noted, noted]]],
      1: [[Array<Message>(3).fill({ ...a, id: "1" }), ["1", inProcess, inProcess]]],
    },
  },
  {
    it: "expectations of one subject at once",
    since: {
      0: [[Array<Message>(2).fill({ ...a, expect: 0 }), ["1", "10071 wrong last sequence: 1"]]],
      1: [[Array<Message>(2).fill({ ...a, expect: 0 }), ["1", inFlight]]],
    },
  },
  {
    it: "a message that would push out another one, at a limit that refuses what is new",
    limits: { max_msgs: 2 },
    since: {
      0: [
        [
          [a, b],
          ["1", "2"],
        ],
        [[a], ["3"]],
      ],
      1: [
        [
          [a, b],
          ["1", "2"],
        ],
        [[a], ["10077 maximum messages exceeded"]],
      ],
    },
  },
  {
    it: "a message of the size of the one that it would push out, at such a limit of bytes",
    limits: { max_bytes: 80 },
    since: {
      0: [
        [
          [a, b],
          ["1", "2"],
        ],
        [[a], ["10077 maximum bytes exceeded"]],
      ],
    },
  },
];

type Send = (subject: string, fields: Fields, data: Uint8Array) => Promise<Uint8Array>;

async function judge(send: Send, level: number, index: number, isBusy: boolean): Promise<void> {
  const { since, limits } = cases[index] as Case;
  const stream = `R${index}`;
  const config = {
    ...{ name: stream, subjects: [`${stream}.>`], storage: "file", num_replicas: 3 },
    ...{ discard: "new", max_msgs_per_subject: 1, ...limits },
  };
  await send(`$JS.API.STREAM.CREATE.${stream}`, [], bytesOf(JSON.stringify(config)));
  // Until the server that we speak to knows where messages go, nobody answers.
  while (inWords(await send(`${stream}.a`, [["Nats-Expected-Stream", "none"]], bytesOf(""))) === "nobody");
  const turns = (level >= 1 ? since[1] : undefined) ?? since[0] ?? [];
  for (const [messages, answers] of turns) {
    const said = messages.map(async ({ key, id, expect }) => {
      const fields: Fields = [
        ...(id === undefined ? [] : ([["Nats-Msg-Id", id]] as const)),
        ...(expect === undefined ? [] : ([["Nats-Expected-Last-Subject-Sequence", String(expect)]] as const)),
      ];
      return inWords(await send(`${stream}.${key}`, fields, bytesOf("x")));
    });
    for (const [place, one] of (await Promise.all(said)).entries()) {
      const expected = [answers[place] ?? []].flat();
      assert.ok(expected.slice(0, isBusy ? 2 : 1).includes(one), `${one}, and not ${expected.join(" or ")}`);
    }
  }
}

function inWords(data: Uint8Array): string {
  if (data.length === 0) return "nobody";
  const answer = JSON.parse(textOf(data)) as {
    readonly seq?: number;
    readonly duplicate?: boolean;
    readonly error?: { readonly err_code: number; readonly description: string };
  };
  if (answer.error !== undefined) return `${answer.error.err_code} ${answer.error.description}`;
  return answer.duplicate === true ? `duplicate ${answer.seq}` : String(answer.seq);
}

describeWithNats("replicas", () => {
  for (const binary of natsVersions) {
    describe(`of ${binary.version}`, () => {
      let cluster: NatsCluster;
      let open: OpenConnection;
      let requests: Requests;
      let level = 0;
      beforeAll(async () => {
        cluster = await startNatsCluster(3, { binary });
        open = await connectNats({ servers: cluster.urls }, {});
        requests = new Requests(open.connection, new SystemClock(), createInbox());
        level = (open.connection.info as { api_lvl?: number } | undefined)?.api_lvl ?? 0;
      }, 60_000);
      afterAll(async () => {
        requests?.stop();
        await open?.close();
        await cluster?.stop();
      });
      const real: Send = (subject, fields, data) =>
        new Promise((resolve, reject) => {
          const headers = fields.length === 0 ? undefined : new EncodedHeaders(fields);
          requests.send(subject, data, headers, 20_000, (reply) => {
            if (reply.kind === "reply") resolve(reply.message.data);
            else if (reply.kind === "noResponders") resolve(new Uint8Array(0));
            else reject(new Error(`${subject}: ${reply.kind}`));
          });
        });

      for (const [index, { it }] of cases.entries()) {
        test(it, () => judge(real, level, index, true));
        test(`${it}, in the model`, () => judge(modelOf(binary.version), level, index, false));
      }
    });
  }
});

/** Its delays do not matter here, only their order. */
function modelOf(version: string): Send {
  const server = new ServerModel(
    { version, servers: 3 },
    {
      nowMs: () => Date.UTC(2026, 0, 1),
      after: (_delayMs, _label, run, background) => {
        if (!background) setImmediate(run);
        return () => {};
      },
      dice: new DiceTable("replicas"),
      note: () => {},
    },
  );
  let asked = 0;
  return (subject, fields, data) =>
    new Promise((resolve) => {
      const reply = `reply.${++asked}`;
      const client = { deliver: (message: { readonly data: Uint8Array }) => resolve(message.data), closed: () => {} };
      server.subscribe(client, asked, reply);
      server.receive({ subject, fields, data, reply });
    });
}
