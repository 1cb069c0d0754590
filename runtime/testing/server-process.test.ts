import { createServer } from "node:net";
import { afterEach, expect, test } from "vitest";
import { freePorts, onFreePorts, serverFolder, startServerProcess } from "./server-process.ts";

const held: { close(): void }[] = [];
afterEach(() => {
  for (const server of held.splice(0)) server.close();
});

test("ports are different, and none that the system gives to outgoing connections", async () => {
  const ports = await freePorts(20);
  expect(new Set(ports).size).toBe(20);
  expect(ports.every((port) => port >= 15_000 && port < 32_000)).toBe(true);
});

test("a server whose port was taken in the meantime begins on another", async () => {
  const listens = 'require("net").createServer().listen(+process.argv[1], "127.0.0.1", () => console.log("listens"))';
  const tried: number[] = [];
  const server = await onFreePorts(1, async ([port = 0]) => {
    tried.push(port);
    if (tried.length === 1) await hold(port);
    return startServerProcess({
      name: "a listener",
      path: process.execPath,
      folder: serverFolder("holdfast-listener-"),
      parameters: ["-e", listens, `${port}`],
      ready: /^listens/,
    });
  });
  await server.stop();
  expect(tried).toHaveLength(2);
});

test("another failure is not tried again, and the fifth taken port is told", async () => {
  let begun = 0;
  const failing = (text: string) => () => {
    begun++;
    return Promise.reject(new Error(text));
  };
  await expect(onFreePorts(1, failing("no such file"))).rejects.toThrow("no such file");
  expect(begun).toBe(1);
  await expect(onFreePorts(1, failing("bind: address already in use"))).rejects.toThrow("already in use");
  expect(begun).toBe(6);
});

function hold(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    held.push(server);
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
}
