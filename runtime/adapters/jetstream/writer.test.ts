import { describe, expect, test } from "vitest";
import type { WriteOutcome } from "../../ports/store.ts";
import { ManualClock } from "../../testing/manual-clock.ts";
import type { OnReply, Reply } from "../nats/requests.ts";
import { Writer } from "./writer.ts";

const timeoutMs = 5_000;
const answerOf = (body: object) =>
  ({ kind: "reply", message: { data: new TextEncoder().encode(JSON.stringify(body)) } }) as unknown as Reply;
const refused = answerOf({ error: { code: 400, err_code: 10_071, description: "wrong last sequence: 0" } });
const nobody: Reply = { kind: "noResponders" };

/** A writer, what it has sent, and what became of the writes that it was given. */
function rig({ batches = false } = {}) {
  const clock = new ManualClock();
  const sent: { readonly subject: string; readonly onReply: OnReply }[] = [];
  const outcomes: Record<string, WriteOutcome> = {};
  const writer = new Writer({
    requests: {
      send: (subject, _data, _headers, _timeoutMs, onReply) => void sent.push({ subject, onReply }),
      post: () => true,
    },
    clock,
    probeSubject: "probe",
    timeoutMs,
    maxInFlight: 10,
    batches,
    id: () => "0123456789abcdef",
    onBehind: async () => undefined,
    onNobody: () => {},
  });
  const settled = () => new Promise((resolve) => setImmediate(resolve));
  return {
    abandon: () => writer.abandon("another stream"),
    clock,
    outcomes,
    subjects: () => sent.map(({ subject }) => subject),
    async write(subject: string) {
      void writer.write({ subject, data: new Uint8Array(), expect: 0, headers: [] }).then((outcome) => {
        outcomes[subject] = outcome;
      });
      await settled();
    },
    /** Answers the first of this subject that waits. */
    async answer(subject: string, reply: Reply) {
      const at = sent.findIndex((one) => one.subject === subject);
      expect(at).toBeGreaterThanOrEqual(0);
      sent.splice(at, 1)[0]?.onReply(reply);
      await settled();
    },
    async pass(ms: number) {
      await clock.advance(ms);
    },
  };
}

describe("while a stream has no leader", () => {
  test("writes wait, and are sent in the moment in which it has one again", async () => {
    const { write, answer, pass, subjects, outcomes } = rig();
    await write("a");
    await answer("a", nobody);
    expect(outcomes.a?.kind).toBe("unknown");
    await write("b");
    expect(subjects()).toEqual([]);
    await pass(100);
    await answer("probe", nobody);
    await pass(100);
    expect(subjects()).toEqual(["probe"]);
    await answer("probe", refused);
    expect(subjects()).toEqual(["b"]);
    await answer("b", answerOf({ stream: "S", seq: 7 }));
    expect(outcomes.b).toEqual({ kind: "written", revision: 7 });
  });

  test("what the leader before was sent is unknown when there is another, and its late answer changes nothing", async () => {
    const { write, answer, pass, outcomes } = rig();
    await write("a");
    await write("b");
    await answer("b", nobody);
    await pass(100);
    expect(outcomes.a).toBeUndefined();
    await answer("probe", refused);
    expect(outcomes.a?.kind).toBe("unknown");
    await answer("a", answerOf({ stream: "S", seq: 7 }));
    expect(outcomes.a?.kind).toBe("unknown");
  });

  test("a write waits no longer than its answer would be waited for", async () => {
    const { write, answer, pass, outcomes } = rig();
    await write("a");
    await answer("a", nobody);
    await write("b");
    for (let waitedMs = 0; waitedMs < timeoutMs; waitedMs += 100) {
      expect(outcomes.b).toBeUndefined();
      await pass(100);
      await answer("probe", { kind: "silence", cause: "deadline" });
    }
    expect(outcomes.b?.kind).toBe("unknown");
  });
});

describe("when the stream is lost", () => {
  const fenced: WriteOutcome = { kind: "refused", reason: "fenced", detail: "another stream" };

  test("what waits and what comes is refused and never sent; only what was sent is unknown", async () => {
    const { write, answer, abandon, pass, subjects, outcomes } = rig();
    await write("sent");
    await write("a");
    await answer("a", nobody);
    await write("waits");
    abandon();
    await write("comes");
    await pass(0);
    expect(outcomes).toMatchObject({ waits: fenced, comes: fenced, a: { kind: "unknown" }, sent: { kind: "unknown" } });
    await answer("sent", answerOf({ stream: "S", seq: 1 }));
    await pass(timeoutMs);
    expect(subjects()).toEqual([]);
  });

  test("what waits for its turn behind others is refused, and the others have their answers", async () => {
    const { write, answer, abandon, subjects, outcomes } = rig();
    for (let n = 0; n < 12; n++) await write(`w${n}`);
    abandon();
    await write("comes");
    expect(outcomes).toEqual({ w10: fenced, w11: fenced, comes: fenced });
    await answer("w0", refused);
    await answer("w1", nobody);
    expect(outcomes.w0).toEqual({ kind: "conflict" });
    expect(outcomes.w1?.kind).toBe("unknown");
    expect(subjects()).toHaveLength(8);
  });

  test("a batch that was refused is not sent again one by one", async () => {
    const { write, answer, abandon, subjects, outcomes } = rig({ batches: true });
    for (let n = 0; n < 40; n++) await write(`w${n}`);
    const [first] = subjects();
    for (const subject of subjects().slice(0, 10)) await answer(subject, answerOf({ stream: "S", seq: 1 }));
    expect(first).toBe("w0");
    const [last] = subjects();
    expect(subjects()).toHaveLength(1);
    abandon();
    await answer(last as string, refused);
    expect(subjects()).toEqual([]);
    expect(Object.values(outcomes).filter(({ kind }) => kind === "refused")).toHaveLength(30);
  });
});
