/**
 * For how long the streams of a bucket take no writes, as somebody sees who asks all the time: each is sent a write that
 * cannot succeed, whose refusal comes from its leader alone. What jobs lose beyond it is not the servers' doing.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Api } from "../../runtime/adapters/jetstream/api.ts";
import { headerNames } from "../../runtime/adapters/jetstream/entry.ts";
import { streamOf } from "../../runtime/adapters/jetstream/setup.ts";
import { connectNats } from "../../runtime/adapters/nats/connection.ts";
import { EncodedHeaders, Requests } from "../../runtime/adapters/nats/requests.ts";
import { SystemClock } from "../../runtime/adapters/system-clock.ts";

export type LeaderGaps = {
  /** The longest time between two answers, by bucket. */
  longestMs(during: { readonly fromMs: number; readonly untilMs: number }): Readonly<Record<string, number>>;
  /** Brings the streams of all buckets under the leader of the first, whose name is the answer. */
  gather(): Promise<string | undefined>;
  stop(): Promise<void>;
};

const everyMs = 50;
const headers = new EncodedHeaders([[headerNames.expect, String(2 ** 52)]]);

export async function watchLeaders(servers: readonly string[], buckets: readonly string[]): Promise<LeaderGaps> {
  const link = await connectNats({ servers, name: "leader-gaps" });
  const requests = new Requests(link.connection, new SystemClock(), `_INBOX_gaps.${process.pid}`);
  const api = new Api(requests, 5_000);
  const answered = new Map<string, number[]>(buckets.map((bucket) => [bucket, []]));
  let isStopped = false;
  const asking = (async () => {
    while (!isStopped) {
      for (const [bucket, times] of answered)
        requests.send(`$KV.${bucket}._probe`, new Uint8Array(0), headers, 1_000, (reply) => {
          if (reply.kind === "reply") times.push(Date.now());
        });
      await sleep(everyMs);
    }
  })();
  return {
    longestMs: ({ fromMs, untilMs }) =>
      Object.fromEntries(
        [...answered].map(([bucket, times]) => {
          const after = times.filter((atMs) => atMs >= fromMs && atMs < untilMs);
          return [bucket, Math.max(0, ...after.slice(1).map((atMs, index) => atMs - (after[index] as number)))];
        }),
      ),
    async gather() {
      const leaderOf = async (bucket = "") => (await api.streamInfo(streamOf(bucket)))?.cluster?.leader;
      const [first, ...others] = buckets;
      const leader = await leaderOf(first);
      for (const bucket of others)
        for (let tries = 0; tries < 20 && (await leaderOf(bucket)) !== leader; tries++) {
          // An older server takes no wish, and chooses by chance.
          await api.ask(`STREAM.LEADER.STEPDOWN.${streamOf(bucket)}`, { placement: { preferred: leader } });
          await sleep(500);
        }
      return leader;
    },
    async stop() {
      isStopped = true;
      await asking;
      requests.stop();
      await link.close();
    },
  };
}
