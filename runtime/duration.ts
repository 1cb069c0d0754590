/** Durations as people write them: 250 (milliseconds), "250ms", "30s", "15m", "12h", "30d". */
export type Duration = number | `${number}${"ms" | "s" | "m" | "h" | "d"}`;

const units = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** Milliseconds, or undefined when it is not a duration. */
export function durationMs(duration: Duration): number | undefined {
  if (typeof duration === "number") return Number.isFinite(duration) && duration >= 0 ? duration : undefined;
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(duration);
  if (match === null) return undefined;
  return Number(match[1]) * units[match[2] as keyof typeof units];
}
