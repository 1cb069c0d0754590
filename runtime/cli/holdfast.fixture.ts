/** For tests: runs the command line in this process, and keeps what it prints. */
import type { Clock } from "../ports/clock.ts";
import { runCommandLine } from "./command-line.ts";

export type Printed = { readonly code: number; readonly out: string; readonly err: string };

export type Surroundings = {
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly clock?: Clock;
};

export async function holdfast(argv: readonly string[], { env = {}, clock }: Surroundings = {}): Promise<Printed> {
  let out = "";
  let err = "";
  const code = await runCommandLine(argv, {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    env,
    ...(clock && { clock }),
  });
  return { code, out, err };
}
