/** Slots of every kind of schedule, both sides of each boundary; and against counting them one by one. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "vitest";
import { readCron } from "./croner.ts";
import { type ScheduleOptions, scheduleOf } from "./schedule.ts";
import { offsetMs, slotsOf } from "./slots.ts";

const slots = (options: ScheduleOptions) => slotsOf(scheduleOf("job", options, readCron), readCron);
const at = (text: string) => Date.parse(text);
const iso = (ms: number | undefined) => (ms === undefined ? undefined : new Date(ms).toISOString().replace(".000", ""));

/** The first few slots from an instant on. */
function some(options: ScheduleOptions, from: string, count: number): (string | undefined)[] {
  const { first } = slots(options);
  const found: (string | undefined)[] = [];
  for (let slot = first(at(from)); slot !== undefined && found.length < count; slot = first(slot + 1))
    found.push(iso(slot));
  return found;
}

const sequences: readonly {
  readonly it: string;
  readonly options: ScheduleOptions;
  readonly from: string;
  readonly slots: readonly string[];
}[] = [
  {
    it: "a slot at the instant itself is the first",
    options: { every: "1s" },
    from: "2026-01-01T00:00:01Z",
    slots: ["2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z"],
  },
  {
    it: "a millisecond later it is not",
    options: { every: "1s" },
    from: "2026-01-01T00:00:01.001Z",
    slots: ["2026-01-01T00:00:02Z", "2026-01-01T00:00:03Z"],
  },
  {
    it: "an anchor moves the grid, in both directions",
    options: { every: "10s", anchor: "2026-01-01T00:00:07Z" },
    from: "2025-12-31T23:59:56Z",
    slots: ["2025-12-31T23:59:57Z", "2026-01-01T00:00:07Z", "2026-01-01T00:00:17Z"],
  },
  {
    it: "from is within, until is not",
    options: { every: "1m", from: "2026-01-01T00:01:00Z", until: "2026-01-01T00:03:00Z" },
    from: "2025-01-01T00:00:00Z",
    slots: ["2026-01-01T00:01:00Z", "2026-01-01T00:02:00Z"],
  },
  {
    it: "one at a moment is the only one",
    options: { at: "2026-01-01T12:00:00Z" },
    from: "2026-01-01T00:00:00Z",
    slots: ["2026-01-01T12:00:00Z"],
  },
  { it: "and never again", options: { at: "2026-01-01T12:00:00Z" }, from: "2026-01-01T12:00:00.001Z", slots: [] },
  {
    it: "cron has seconds",
    options: { cron: "*/20 * * * * *" },
    from: "2026-01-01T00:00:20Z",
    slots: ["2026-01-01T00:00:20Z", "2026-01-01T00:00:40Z", "2026-01-01T00:01:00Z"],
  },
  {
    it: "a leap day comes in leap years alone, and 2100 is none",
    options: { cron: "0 0 0 29 2 *" },
    from: "2092-03-01T00:00:00Z",
    slots: ["2096-02-29T00:00:00Z", "2104-02-29T00:00:00Z"],
  },
  {
    it: "a fixed time that summer time leaves out comes at the end of the gap",
    options: { cron: "0 30 2 * * *", timeZone: "Europe/Berlin" },
    from: "2026-03-28T12:00:00Z",
    slots: ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"],
  },
  {
    it: "a fixed time that comes twice is taken once, at the first",
    options: { cron: "0 30 2 * * *", timeZone: "Europe/Berlin" },
    from: "2026-10-24T12:00:00Z",
    slots: ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"],
  },
  {
    it: "a repeating pattern keeps to the real time in the gap",
    options: { cron: "0 */30 * * * *", timeZone: "Europe/Berlin" },
    from: "2026-03-29T00:30:00Z",
    slots: ["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"],
  },
  {
    it: "and in the hour that comes twice",
    options: { cron: "0 */30 * * * *", timeZone: "Europe/Berlin" },
    from: "2026-10-25T00:30:00Z",
    slots: ["2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z"],
  },
];

for (const { it, options, from, slots: expected } of sequences) {
  test(it, () => {
    assert.deepEqual(some(options, from, expected.length === 0 ? 1 : expected.length), expected);
  });
}

test("a leap second is not in the count: every minute of POSIX time has sixty slots", () => {
  assert.equal(slots({ every: "1s" }).count(at("2016-12-31T23:59:00Z"), at("2017-01-01T00:00:00Z")).count, 60);
});

const bad: readonly { readonly options: ScheduleOptions; readonly says: RegExp }[] = [
  { options: {}, says: /needs one of every, cron and at/ },
  { options: { every: "1s", cron: "* * * * *" }, says: /only one/ },
  { options: { every: -1_000 }, says: /every is -1000; it must be 10 ms or more/ },
  { options: { every: "0s" }, says: /every is "0s"/ },
  { options: { every: 0.5 }, says: /whole milliseconds/ },
  { options: { every: "soon" as never }, says: /every is "soon"/ },
  { options: { cron: "* * *" }, says: /five fields, or six/ },
  { options: { cron: "61 * * * * *" }, says: /cron is "61 .*second: 61/ },
  { options: { cron: "0 0 0 30 2 *" }, says: /never comes/ },
  { options: { cron: "* * * * *", timeZone: "Mars/Base" }, says: /timeZone is "Mars\/Base"/ },
  { options: { every: "1s", timeZone: "UTC" }, says: /timeZone goes with cron/ },
  { options: { cron: "* * * * *", anchor: 0 }, says: /anchor goes with every/ },
  { options: { at: "tomorrow" }, says: /at is tomorrow; it must be a date/ },
  { options: { at: "2030-06-01T12:00:00" }, says: /ISO 8601 text with its zone/ },
  { options: { every: "1s", from: "June 1, 2030 UTC" }, says: /ISO 8601 text with its zone/ },
  { options: { at: 0, from: 1 }, says: /no slot at all/ },
  { options: { every: "1s", from: 10_000, until: 10_000 }, says: /until .* is not after from/ },
  { options: { every: "1s", jitter: "2s" }, says: /jitter is 2000 ms, more than the 1000 ms/ },
  { options: { every: "1s", catchUp: 10 }, says: /grace .* longer than catchUp/ },
  { options: { every: 10, grace: "2s" }, says: /spans more than 100 slots/ },
  { options: { cron: "* * * * * *", grace: "101s" }, says: /spans more than 100 slots/ },
  { options: { every: "1s", misfire: { fireAll: 0 } }, says: /misfire is .*fireAll.*1 to 1000/ },
  { options: { every: "1s", misfire: "all" as never }, says: /misfire is "all"/ },
  { options: { every: "1s", overlap: "wait" as never }, says: /overlap is "wait"/ },
  { options: { every: "1s", timeout: 0 }, says: /timeout must be 1 ms/ },
  { options: { every: "1s", log: 0 }, says: /log is 0/ },
];

test.each(bad)("$options is refused by name", ({ options, says }) => {
  assert.throws(() => scheduleOf("job", options, readCron), says);
});

const moments = [
  "2030-06-01",
  "2030-06-01T00:00Z",
  "2030-06-01T02:00:00+02:00",
  "2030-05-31T22:00:00.000-0200",
  new Date("2030-06-01"),
];

test.each(moments)("%s is a moment, the same one everywhere", (moment) => {
  assert.deepEqual(scheduleOf("job", { at: moment }).timing, { kind: "once", atMs: at("2030-06-01T00:00:00Z") });
});

test("grace may span a hundred slots, and a moment may be before 1970", () => {
  scheduleOf("job", { every: 10, grace: "1s" });
  scheduleOf("job", { cron: "* * * * * *", grace: "100s" }, readCron);
  scheduleOf("job", { at: "1969-07-20T20:17:40Z" });
});

test("all that is wrong is said at once", () => {
  assert.throws(() => scheduleOf("job", { every: -1, log: 0, overlap: "x" as never }, readCron), /every.*overlap.*log/);
});

test("slots of a period are those that trying every millisecond finds", () => {
  fc.assert(
    fc.property(
      fc.record({
        every: fc.integer({ min: 10, max: 60 }),
        anchor: fc.integer({ min: -100, max: 100 }),
        from: fc.option(fc.integer({ min: 0, max: 150 }), { nil: undefined }),
        length: fc.option(fc.integer({ min: 61, max: 200 }), { nil: undefined }),
        ask: fc.integer({ min: -50, max: 400 }),
        span: fc.integer({ min: 0, max: 300 }),
      }),
      ({ every, anchor, from, length, ask, span }) => {
        const options: ScheduleOptions = {
          every,
          anchor,
          ...(from !== undefined && { from }),
          ...(length !== undefined && { until: (from ?? 0) + length }),
        };
        const { first, last, count } = slots(options);
        const all: number[] = [];
        for (let ms = -2_000; ms < 3_000; ms++) {
          const isOnGrid = (((ms - anchor) % every) + every) % every === 0;
          if (isOnGrid && ms >= (from ?? -2_000) && (length === undefined || ms < (from ?? 0) + length)) all.push(ms);
        }
        assert.equal(
          first(ask),
          all.find((slot) => slot >= ask),
        );
        assert.equal(
          last(ask),
          all.findLast((slot) => slot <= ask),
        );
        const counted = count(ask, ask + span);
        assert.equal(counted.count, all.filter((slot) => slot >= ask && slot < ask + span).length);
        assert.equal(
          counted.next,
          all.find((slot) => slot >= ask + span),
        );
      },
    ),
    { numRuns: 500 },
  );
});

test("a job is always as late as before, and many are spread over the whole jitter", () => {
  const schedule = scheduleOf("job", { every: "1s", jitter: "1s" });
  const offsets = Array.from({ length: 1_000 }, (_, index) => offsetMs(`job-${index}`, schedule));
  assert.equal(offsetMs("job-7", schedule), offsets[7]);
  for (let tenth = 0; tenth < 10; tenth++) {
    const inIt = offsets.filter((offset) => Math.floor(offset / 100) === tenth).length;
    assert.ok(inIt > 60 && inIt < 140, `${inIt} of 1,000 in a tenth`);
  }
});
