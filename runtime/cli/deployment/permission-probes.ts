/**
 * What a role may do, found out by trying, in ways that change nothing: requests that the server refuses for their body,
 * a write that expects a revision that cannot be, and subjects to which nobody listens.
 */
import type { NatsConnection } from "@nats-io/transport-node";
import { EncodedHeaders } from "../../adapters/nats/requests.ts";
import type { Clock } from "../../ports/clock.ts";

export const roles = ["node", "client", "operator", "watcher", "sender"] as const;
export type Role = (typeof roles)[number];

export type Probe = {
  readonly operation: "publish" | "subscribe";
  readonly subject: string;
  /** What the role needs it for: "a node needs it to …". */
  readonly use: string;
  readonly body?: string;
  /** JetStream answers; where nobody does, the account of JetStream does not export it, or this one does not import it. */
  readonly isAnswered?: boolean;
};

export type ProbeResult = Probe & { readonly outcome: "allowed" | "denied" | "nobody" };

export type ProbePlace = {
  /** `$JS.API`, or that of a domain. */
  readonly api: string;
  readonly app: string;
  /** Of all shards. */
  readonly buckets: readonly string[];
  readonly leaseBucket: string;
};

/** What every role needs to get an answer, and all but senders to see the bucket: tried before anything is asked. */
export function firstProbes(role: Role, { api, buckets }: ProbePlace, inbox: string): Probe[] {
  const inboxes: Probe[] = [
    { operation: "subscribe", subject: answersTo(inbox), use: "get answers (see --inbox-prefix)" },
  ];
  if (role === "sender") return inboxes;
  return [...inboxes, ...buckets.map((bucket) => asking(`${api}.STREAM.INFO.KV_${bucket}`, "see the bucket"))];
}

/** The rest of what a role needs, as docs/guides/accounts.md gives it. */
export function probesOf(role: Role, { api, app, buckets, leaseBucket }: ProbePlace): Probe[] {
  const reading = (bucket: string): Probe[] => [
    asking(`${api}.STREAM.MSG.GET.KV_${bucket}`, "read", '{"last_by_subj":"$KV._none"}'),
    asking(`${api}.CONSUMER.CREATE.KV_${bucket}.holdfast-doctor`, "watch", '{"stream_name":"_none","config":{}}'),
    asking(`${api}.CONSUMER.DELETE.KV_${bucket}.holdfast-doctor`, "end a watch"),
    telling(`$JS.FC.KV_${bucket}.holdfast-doctor`, "watch without being cut off"),
  ];
  const hearing: Probe[] = [listening(`holdfast.${app}.emitted.doctor.probe`, "hear what actors emit")];
  const asks = telling(`holdfast.${app}.ask.doctor`, "send events");
  const operates = telling(`holdfast.${app}.operate.doctor`, "purge and resume");
  switch (role) {
    case "sender":
      // The nodes answer that this is no actor.
      return [telling(`holdfast.${app}.send.doctor.probe`, "send events")];
    case "watcher":
      return [...buckets.flatMap(reading), ...hearing];
    case "client":
      return [...buckets.flatMap(reading), ...hearing, asks];
    case "operator":
      return [...buckets.flatMap(reading), ...hearing, operates];
    case "node":
      return [
        asking(`${api}.INFO`, "see the account"),
        asking(`${api}.STREAM.INFO.KV_${leaseBucket}`, "see the leases"),
        ...[...buckets, leaseBucket].flatMap((bucket) => [
          asking(`${api}.STREAM.CREATE.KV_${bucket}`, "make the bucket", '{"name":"_none"}'),
          ...reading(bucket),
          telling(`$KV.${bucket}._probe`, "write"),
        ]),
        asks,
        operates,
        telling(`_holdfast.${app}.node.doctor`, "speak to other nodes"),
        telling(`holdfast.${app}.emitted.doctor.probe`, "publish what actors emit"),
        ...hearing,
        listening(`holdfast.${app}.ask.doctor`, "answer clients"),
        listening(`holdfast.${app}.operate.doctor`, "answer operators"),
        listening(`_holdfast.${app}.node.doctor`, "answer other nodes"),
        listening(`holdfast.${app}.send.doctor.probe`, "answer plain requests"),
      ];
  }
}

/** The wildcard of docs/guides/accounts.md that a probe stands for: allowing the probe alone would please only the doctor. */
export function ruleFor(subject: string): string {
  return subject
    .replace(/(?<=\.(emitted|send))\.doctor\.probe$|\.(holdfast-doctor|_probe|node\.doctor)$/, ".>")
    .replace(/(?<=\.(ask|operate))\.doctor$/, ".*");
}

/** The one subscription for answers: the server gives some of them to one subscription of a connection only. */
function answersTo(inbox: string): string {
  return `${inbox}.probe.*`;
}

function asking(subject: string, use: string, body = ""): Probe {
  return { operation: "publish", subject, use, body, isAnswered: true };
}

function telling(subject: string, use: string): Probe {
  return { operation: "publish", subject, use };
}

function listening(subject: string, use: string): Probe {
  return { operation: "subscribe", subject, use };
}

/** No stream takes a write that expects this revision. */
const impossible = new EncodedHeaders([["Nats-Expected-Last-Subject-Sequence", String(2 ** 52)]]);
const answerMs = 2_000;
const encoder = new TextEncoder();

/** Rejects when the connection is lost meanwhile. Results come in the order of the probes. */
export async function tryProbes(
  connection: NatsConnection,
  probes: readonly Probe[],
  inbox: string,
  clock: Clock,
): Promise<ProbeResult[]> {
  const denied = new Set<string>();
  const unanswered = new Set<string>();
  let waitingFor = 0;
  let answered: () => void = () => {};
  const statuses = connection.status();
  void (async () => {
    for await (const status of statuses) {
      if (status.type !== "error") continue;
      const { operation, subject } = status.error as Error & { readonly operation?: string; readonly subject?: string };
      denied.add(`${operation === "subscription" ? "subscribe" : operation} ${subject}`);
    }
  })();
  const answers = connection.subscribe(answersTo(inbox), {
    callback: (error, message) => {
      if (error !== null) return;
      const index = message.subject.slice(message.subject.lastIndexOf(".") + 1);
      if (probes[Number(index)]?.isAnswered !== true) return;
      if (message.data.length === 0 && message.headers?.code === 503) unanswered.add(index);
      waitingFor--;
      if (waitingFor === 0) answered();
    },
  });
  const subscriptions = probes
    .filter(({ operation, subject }) => operation === "subscribe" && subject !== answersTo(inbox))
    .map(({ subject }) => connection.subscribe(subject, { callback: () => {} }));
  probes.forEach(({ operation, subject, body = "", isAnswered }, index) => {
    if (operation === "subscribe") return;
    connection.publish(subject, encoder.encode(body), {
      reply: `${inbox}.probe.${index}`,
      ...(subject.startsWith("$KV.") && { headers: impossible as never }),
    });
    if (isAnswered === true) waitingFor++;
  });
  // The server complains before it answers the flush; what it said is heard one turn later.
  await connection.flush();
  await new Promise((resolve) => setImmediate(resolve));
  const isDenied = ({ operation, subject }: Probe) => denied.has(`${operation} ${subject}`);
  waitingFor -= probes.filter((probe) => probe.isAnswered === true && isDenied(probe)).length;
  if (waitingFor > 0 && !denied.has(`subscribe ${answersTo(inbox)}`)) {
    await new Promise<void>((resolve) => {
      const cancel = clock.after(answerMs, resolve);
      answered = () => {
        cancel();
        resolve();
      };
    });
  }
  for (const subscription of [answers, ...subscriptions]) subscription.unsubscribe();
  (statuses as { stop?: () => void }).stop?.();
  return probes.map((probe, index) => {
    const isMissing = probe.isAnswered === true && unanswered.has(String(index));
    // Every connection has an inbox of its own; what is to be allowed is all that begin as it does.
    const subject = probe.subject === answersTo(inbox) ? `${inbox.slice(0, inbox.lastIndexOf("."))}.>` : probe.subject;
    return { ...probe, subject, outcome: isDenied(probe) ? "denied" : isMissing ? "nobody" : "allowed" };
  });
}
