/** What the contest prints at its end: a short table, what differs, and the one line that says it all. */
import { isVerdict, verdicts } from "./audit.ts";
import type { ContestResult } from "./contest.ts";

export function isRight({ judged, expected, differences }: ContestResult): boolean {
  return judged === expected.length && differences.length === 0;
}

export function table(result: ContestResult): string {
  const languageOf = new Map(result.expected.map(({ id, language }) => [id, language]));
  const languages = [...new Set(languageOf.values())].sort();
  const header = ["verdict", "expected", "judged", ...languages];
  const rows = verdicts.map((verdict) => {
    const judged = result.books.submissions.filter(({ id, state }) => state === verdict && languageOf.has(id));
    const byLanguage = languages.map((name) => judged.filter(({ id }) => languageOf.get(id) === name).length);
    const expected = result.expected.filter((submission) => submission.expected === verdict).length;
    return [verdict, expected, judged.length, ...byLanguage];
  });
  const totals = header.slice(1).map((_, column) => rows.reduce((sum, row) => sum + Number(row[column + 1]), 0));
  const lines = [header, ...rows, ["all", ...totals]].map(([first, ...cells]) =>
    [String(first).padEnd(8), ...cells.map((cell) => String(cell).padStart(10))].join(" "),
  );
  const accepted = result.books.authors.reduce((sum, author) => sum + author.accepted, 0);
  const points = result.books.authors.reduce((sum, author) => sum + author.points, 0);
  return [
    ...lines,
    "",
    `books    ${points} points for ${accepted} accepted submissions of ${result.books.authors.length} authors`,
    `crash    SIGKILL after ${result.killedAfter} verdicts, ${result.inFlight} in flight, ${result.recovered} recovered`,
    `time     ${result.seconds.toFixed(1)} s`,
  ].join("\n");
}

export function lastLine({ judged, recovered, lost, doubled }: ContestResult): string {
  return `judged ${judged} · recovered ${recovered} in flight · lost ${lost} · doubled ${doubled}`;
}

export function asJson(result: ContestResult): string {
  const { judged, recovered, lost, doubled, unexpected, inFlight, killedAfter, seconds, differences } = result;
  const states = result.books.submissions.map(({ state }) => state).filter(isVerdict);
  const byVerdict = Object.fromEntries(
    verdicts.map((verdict) => [verdict, states.filter((s) => s === verdict).length]),
  );
  const rounded = Math.round(seconds * 10) / 10;
  return JSON.stringify({
    judged,
    recovered,
    lost,
    doubled,
    unexpected,
    inFlight,
    killedAfter,
    verdicts: byVerdict,
    seconds: rounded,
    differences,
  });
}
