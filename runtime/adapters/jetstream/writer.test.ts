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
function rig() {
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
    batches: false,
    id: () => "0123456789abcdef",
    onBehind: async () => undefined,
    onNobody: () => {},
  });
  const settled = () => new Promise((resolve) => setImmediate(resolve));
  return {
    abandon: () => writer.abandon(),
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

  test("nothing waits for a stream that is lost", async () => {
    const { write, answer, abandon, pass, subjects, outcomes } = rig();
    await write("a");
    await answer("a", nobody);
    await write("b");
    abandon();
    await answer("b", nobody);
    await pass(1_000);
    expect(outcomes.b?.kind).toBe("unknown");
    expect(subjects()).toEqual([]);
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
