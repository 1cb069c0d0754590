/** How late runs began, in windows of the soak: the quiet ones together, and each trouble with what follows it. */
export type Window = { readonly name: string; readonly fromMs: number; readonly untilMs: number };

export type Lateness = {
  readonly window: string;
  readonly runs: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
};

/** A run belongs to the windows in which it was due; windows of one name are one. */
export function latenessIn(
  windows: readonly Window[],
  runs: readonly { readonly dueMs: number; readonly lateMs: number }[],
): readonly Lateness[] {
  const names = [...new Set(windows.map(({ name }) => name))];
  return names.map((window) => {
    const parts = windows.filter(({ name }) => name === window);
    const late = runs
      .filter(({ dueMs }) => parts.some(({ fromMs, untilMs }) => dueMs >= fromMs && dueMs < untilMs))
      .map(({ lateMs }) => lateMs)
      .sort((a, b) => a - b);
    const at = (share: number) => late[Math.min(late.length - 1, Math.floor(late.length * share))] ?? Number.NaN;
    return { window, runs: late.length, p50Ms: at(0.5), p99Ms: at(0.99), p999Ms: at(0.999), maxMs: at(1) };
  });
}
