import { afterEach, expect, test, vi } from "vitest";
import { consoleLogger } from "./console-logger.ts";

afterEach(() => vi.restoreAllMocks());

test("a warning is one line, whatever error it tells; the stack comes with errors", () => {
  const lines: string[] = [];
  vi.spyOn(console, "error").mockImplementation((line: string) => void lines.push(line));
  const logger = consoleLogger();
  const error = new TypeError("no answer");
  logger.info("below the level");
  logger.warn("trying again", { error, actor: "order.a", unsaid: undefined });
  logger.error("given up", { error });
  expect(lines).toEqual([
    "warn  trying again error=TypeError: no answer actor=order.a",
    `error given up error=${error.stack}`,
  ]);
});
