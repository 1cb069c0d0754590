/** What one thing that was looked at means, in the words in which it is told. */

export type Grade = "ok" | "warn" | "fail";

export type Finding = {
  readonly grade: Grade;
  readonly what: string;
  readonly why: string;
  /** What to type, or to write into the server's configuration. */
  readonly command?: string;
};

export const ok = (what: string, why: string): Finding => ({ grade: "ok", what, why });
export const warn = (what: string, why: string, command?: string): Finding => ({
  grade: "warn",
  what,
  why,
  ...said(command),
});
export const fail = (what: string, why: string, command?: string): Finding => ({
  grade: "fail",
  what,
  why,
  ...said(command),
});
const said = (command: string | undefined) => (command === undefined ? {} : { command });

export function bytesText(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let size = bytes;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit++;
  }
  return `${unit === 0 ? size : size.toFixed(1).replace(/\.0$/, "")} ${units[unit]}`;
}

export function msText(ms: number): string {
  return ms >= 10_000 ? secondsText(ms) : `${ms >= 100 ? Math.round(ms) : Number(ms.toFixed(1))} ms`;
}

export function secondsText(ms: number): string {
  return `${Number((ms / 1000).toFixed(1))} s`;
}
