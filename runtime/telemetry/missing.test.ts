/** Without the optional packages, the error says which to install. */
import assert from "node:assert/strict";
import { test, vi } from "vitest";

const cases = [
  { it: "the API: at the import", missing: "@opentelemetry/api", names: /npm install @opentelemetry\/api$/ },
  {
    it: "the SDK: when it is to be set up",
    missing: "@opentelemetry/sdk-trace-base",
    names: /npm install @opentelemetry\/sdk-trace-base @opentelemetry\/context-async-hooks/,
  },
];

for (const { it, missing, names } of cases)
  test(it, async () => {
    vi.resetModules();
    vi.doMock(missing, () => {
      throw new Error(`Cannot find package '${missing}'`);
    });
    const use = async () => {
      const { setUpTracing } = await import("./index.ts");
      await setUpTracing({ serviceName: "shop", exporter: {} as never });
    };
    try {
      await assert.rejects(use, { code: "OpenTelemetryMissing", message: names });
    } finally {
      vi.doUnmock(missing);
    }
  });
