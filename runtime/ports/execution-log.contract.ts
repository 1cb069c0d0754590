/** What every execution log must do, as plain functions. */
import assert from "node:assert/strict";
import type { ExecutionLog, ExecutionRecord } from "./execution-log.ts";

export type LogUnderTest = {
  readonly log: ExecutionLog;
  /** How many records of a job it keeps. */
  readonly maxRecords: number;
  close(): Promise<void>;
};

export type LogCase = { readonly name: string; readonly run: (open: () => Promise<LogUnderTest>) => Promise<void> };

function record(slot: number, attempt = 1, more: Partial<ExecutionRecord> = {}): ExecutionRecord {
  return {
    tickId: `settle/${slot}`,
    attempt,
    dueMs: slot * 1_000,
    startedMs: slot * 1_000 + 3,
    endedMs: slot * 1_000 + 40,
    outcome: "done",
    owner: "n1",
    token: [1, 41],
    ...more,
  };
}

export const logContract: readonly LogCase[] = [
  {
    name: "what was appended is read as it was, newest first",
    run: withLog(async ({ log }) => {
      const failed = record(2, 1, {
        outcome: "failed",
        detail: "Error: ä\nb",
        traceId: "0af7651916cd43dd8448eb211c80319c",
      });
      for (const one of [record(1), failed, record(2, 2)])
        assert.deepEqual(await log.append("settle", one), { kind: "appended" });
      assert.deepEqual(await log.latest("settle", 10), [record(2, 2), failed, record(1)]);
      assert.deepEqual(await log.latest("settle", 1), [record(2, 2)]);
      assert.deepEqual(await log.latest("another", 10), []);
    }),
  },
  {
    name: "an attempt is written down once, whoever repeats it and whatever he says",
    run: withLog(async ({ log }) => {
      assert.deepEqual(await log.append("settle", record(1)), { kind: "appended" });
      assert.deepEqual(await log.append("settle", record(1)), { kind: "repeated" });
      assert.deepEqual(await log.append("settle", record(1, 1, { outcome: "failed" })), { kind: "repeated" });
      assert.deepEqual(await log.append("other", record(1)), { kind: "appended" });
      assert.deepEqual(await log.append("later", record(1)), { kind: "appended" });
      assert.deepEqual(await log.append("later", record(1, 1, { token: [1, 42] })), { kind: "appended" });
      const outcomes = await Promise.all([1, 2, 3, 4].map(() => log.append("settle", record(2))));
      assert.equal(outcomes.filter(({ kind }) => kind === "appended").length, 1);
      assert.deepEqual(await log.latest("settle", 10), [record(2), record(1)]);
    }),
  },
  {
    name: "it keeps so many of a job and no more, and knows an attempt for as long as its record is kept",
    run: withLog(async ({ log, maxRecords }) => {
      for (let slot = 1; slot <= maxRecords + 3; slot++)
        assert.deepEqual(await log.append("settle", record(slot)), { kind: "appended" });
      const kept = await log.latest("settle", maxRecords * 2);
      assert.equal(kept.length, maxRecords);
      assert.deepEqual(kept.at(-1), record(4));
      assert.deepEqual(await log.append("settle", record(4)), { kind: "repeated" });
      assert.deepEqual(await log.append("settle", record(3)), { kind: "appended" });
    }),
  },
];

function withLog(run: (log: LogUnderTest) => Promise<void>): LogCase["run"] {
  return async (open) => {
    const opened = await open();
    try {
      await run(opened);
    } finally {
      await opened.close();
    }
  };
}
