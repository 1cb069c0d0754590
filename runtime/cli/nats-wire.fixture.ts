/**
 * For tests: what the stock `nats` command line sends, request by request, as it was traced: `kv get`, `ls`, `history`,
 * `put`, `update`, `revert`, `del`, `purge`, `edit`, `stream get` and `req`. Headers of ours are never sent, since it does not know them.
 */
import { headers, type NatsConnection } from "@nats-io/transport-node";

export type WireEntry = {
  readonly revision: number;
  readonly operation: "PUT" | "DEL" | "PURGE";
  readonly value: string;
};

type Answer = Readonly<Record<string, unknown>> & {
  readonly error?: { readonly err_code?: number; readonly description: string };
  readonly seq?: number;
};

const waitMs = 5_000;

export class NatsWire {
  readonly #connection: NatsConnection;
  #consumers = 0;

  constructor(connection: NatsConnection) {
    this.#connection = connection;
  }

  /** Undefined: "key not found", as after a deletion. */
  async get(bucket: string, key: string, revision?: number): Promise<string | undefined> {
    await this.#bucket(bucket);
    const subject = revision === undefined ? `.$KV.${bucket}.${key}` : "";
    const body = revision === undefined ? "" : JSON.stringify({ seq: revision });
    const message = await this.#connection.request(`$JS.API.DIRECT.GET.KV_${bucket}${subject}`, body, {
      timeout: waitMs,
    });
    const isFound = message.headers?.code === 0 || message.headers?.code === undefined;
    if (
      !isFound ||
      message.headers?.get("KV-Operation") ||
      message.headers?.get("Nats-Subject") !== `$KV.${bucket}.${key}`
    )
      return undefined;
    return message.string();
  }

  /** The keys that have a value. */
  async ls(bucket: string): Promise<string[]> {
    const found = await this.#deliver(bucket, ">", { deliver_policy: "last_per_subject", headers_only: true });
    return found.filter(({ operation }) => operation === "PUT").map(({ key }) => key);
  }

  /** Oldest first. */
  async history(bucket: string, key: string): Promise<WireEntry[]> {
    return this.#deliver(bucket, key, { deliver_policy: "all" });
  }

  async put(bucket: string, key: string, value: string): Promise<number> {
    await this.#bucket(bucket);
    return this.#publish(`$KV.${bucket}.${key}`, value, {});
  }

  async update(bucket: string, key: string, value: string, revision: number): Promise<number> {
    await this.#bucket(bucket);
    const expected = { "Nats-Expected-Last-Subject-Sequence": String(revision) };
    return this.#publish(`$KV.${bucket}.${key}`, value, expected);
  }

  /** Reads the history for the latest revision and updates over it. */
  async revert(bucket: string, key: string, revision: number): Promise<number> {
    const last = (await this.history(bucket, key)).at(-1);
    const value = await this.get(bucket, key, revision);
    if (last === undefined || value === undefined) throw new Error(`there is no revision ${revision} of ${key}`);
    return this.update(bucket, key, value, last.revision);
  }

  async del(bucket: string, key: string): Promise<number> {
    await this.#bucket(bucket);
    return this.#publish(`$KV.${bucket}.${key}`, "", { "KV-Operation": "DEL" });
  }

  async purge(bucket: string, key: string): Promise<number> {
    await this.#bucket(bucket);
    return this.#publish(`$KV.${bucket}.${key}`, "", { "KV-Operation": "PURGE", "Nats-Rollup": "sub" });
  }

  /**
   * `nats kv edit <bucket>`: a configuration of its own, with history and replicas 1 unless they are given. Times to
   * live stay where they are: the server refuses to take them away again.
   */
  async edit(bucket: string, history = 1, replicas = 1): Promise<void> {
    const info = (await this.#bucket(bucket)) as {
      readonly config?: { readonly storage?: string; readonly allow_msg_ttl?: boolean };
    };
    await this.#ask(`STREAM.UPDATE.KV_${bucket}`, {
      name: `KV_${bucket}`,
      subjects: [`$KV.${bucket}.>`],
      retention: "limits",
      max_consumers: -1,
      max_msgs: -1,
      max_bytes: -1,
      discard: "new",
      max_age: 0,
      max_msgs_per_subject: history,
      max_msg_size: -1,
      storage: info.config?.storage,
      num_replicas: replicas,
      duplicate_window: 120_000_000_000,
      deny_delete: true,
      deny_purge: false,
      allow_rollup_hdrs: true,
      compression: "none",
      allow_direct: true,
      mirror_direct: false,
      ...(info.config?.allow_msg_ttl === true && { allow_msg_ttl: true }),
    });
  }

  /** The message of that number: its subject and its value. */
  async streamGet(
    stream: string,
    seq: number,
  ): Promise<{ readonly subject: string; readonly value: string } | undefined> {
    const answer = await this.#request(`STREAM.MSG.GET.${stream}`, { seq });
    const message = answer.message as { readonly subject: string; readonly data?: string } | undefined;
    if (message === undefined) return undefined;
    return { subject: message.subject, value: Buffer.from(message.data ?? "", "base64").toString("utf8") };
  }

  async req(subject: string, body: string, fields: Readonly<Record<string, string>> = {}): Promise<string> {
    const reply = await this.#connection.request(subject, body, { timeout: waitMs, headers: headersOf(fields) });
    return reply.string();
  }

  async #deliver(
    bucket: string,
    key: string,
    policy: Readonly<Record<string, unknown>>,
  ): Promise<(WireEntry & { readonly key: string })[]> {
    await this.#bucket(bucket);
    const name = `wire${++this.#consumers}`;
    const inbox = `_INBOX.${name}.${Math.trunc(performance.now() * 1_000)}`;
    const messages = this.#connection.subscribe(inbox);
    const created = await this.#ask(`CONSUMER.CREATE.KV_${bucket}.${name}.$KV.${bucket}.${key}`, {
      stream_name: `KV_${bucket}`,
      config: {
        name,
        deliver_subject: inbox,
        filter_subject: `$KV.${bucket}.${key}`,
        ack_policy: "none",
        max_deliver: 1,
        mem_storage: true,
        num_replicas: 1,
        flow_control: true,
        idle_heartbeat: 5_000_000_000,
        ...policy,
      },
    });
    const found: (WireEntry & { readonly key: string })[] = [];
    let pending = Number(created.num_pending);
    if (pending > 0) {
      for await (const message of messages) {
        if (message.headers?.code === 100) {
          if (message.reply) message.respond();
          continue;
        }
        // $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.…
        const revision = Number(message.reply?.split(".").at(-4));
        const operation = (message.headers?.get("KV-Operation") || "PUT") as WireEntry["operation"];
        const of = message.subject.slice(`$KV.${bucket}.`.length);
        found.push({ key: of, revision, operation, value: message.string() });
        if (--pending === 0) break;
      }
    }
    messages.unsubscribe();
    await this.#ask(`CONSUMER.DELETE.KV_${bucket}.${name}`, {});
    return found;
  }

  /** Every command begins with it. */
  #bucket(bucket: string): Promise<Answer> {
    return this.#ask(`STREAM.INFO.KV_${bucket}`, {});
  }

  async #publish(subject: string, value: string, fields: Readonly<Record<string, string>>): Promise<number> {
    const reply = await this.#connection.request(subject, value, { timeout: waitMs, headers: headersOf(fields) });
    const answer = reply.json<Answer>();
    if (answer.error !== undefined) throw new Error(answer.error.description);
    return answer.seq as number;
  }

  async #ask(call: string, body: unknown): Promise<Answer> {
    const answer = await this.#request(call, body);
    if (answer.error !== undefined) throw new Error(`${call}: ${answer.error.description}`);
    return answer;
  }

  async #request(call: string, body: unknown): Promise<Answer> {
    const reply = await this.#connection.request(`$JS.API.${call}`, JSON.stringify(body), { timeout: waitMs });
    return reply.json<Answer>();
  }
}

function headersOf(fields: Readonly<Record<string, string>>) {
  const made = headers();
  for (const [name, value] of Object.entries(fields)) made.set(name, value);
  return made;
}
