/** The default logger: one line per message on standard error, fields after the text; of errors that are errors, the stack. */
import type { LogFields, Logger } from "../ports/logger.ts";

const levels = ["debug", "info", "warn", "error", "silent"] as const;

export type LogLevel = (typeof levels)[number];

/** Messages below the level are dropped. */
export function consoleLogger(level: LogLevel = "warn"): Logger {
  const lowest = levels.indexOf(level);
  if (lowest < 0)
    throw new RangeError(`${JSON.stringify(level)} is no level of consoleLogger; there are ${levels.join(", ")}`);
  const at = (name: LogLevel) => (message: string, fields?: LogFields) => {
    if (levels.indexOf(name) >= lowest)
      console.error(`${name.padEnd(5)} ${message}${describe(fields, name === "error")}`);
  };
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

function describe(fields: LogFields | undefined, withStacks: boolean): string {
  let text = "";
  for (const [name, value] of Object.entries(fields ?? {})) {
    if (value === undefined) continue;
    const shown =
      value instanceof Error
        ? ((withStacks ? value.stack : undefined) ?? `${value.name}: ${value.message}`)
        : typeof value === "string"
          ? value
          : JSON.stringify(value);
    text += ` ${name}=${shown}`;
  }
  return text;
}
