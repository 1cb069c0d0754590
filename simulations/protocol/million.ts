/** `npm run million -- --messages 1000000`: one receiver, a million senders, each message once, a small document. */
import { parseArgs } from "node:util";
import { manySenders } from "./many-senders.ts";

const { values } = parseArgs({
  options: {
    messages: { type: "string", default: "1000000" },
    seed: { type: "string", default: "1" },
    actors: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  },
});
const messages = Number(values.messages);
const seed = Number(values.seed);
const result = await manySenders({
  messages,
  seed,
  actors: values.actors,
  onProgress: (delivered, largestBytes) => {
    if (process.stderr.isTTY)
      process.stderr.write(`\r${delivered.toLocaleString("en")} counted, largest document ${largestBytes} B   `);
  },
});
if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
const right = result.counted === messages && result.largestBytes < 64 * 1024;
if (values.json) {
  console.log(JSON.stringify({ messages, seed, ...result, right }));
} else {
  console.log(
    `seed ${seed}: ${messages.toLocaleString("en")} messages, ${result.counted.toLocaleString("en")} counted, largest document ${result.largestBytes} B, ` +
      `${result.duplicatedRequests} requests twice, ${result.lostReplies} replies lost, ${result.seconds.toFixed(1)} s: ${right ? "right" : "WRONG"}`,
  );
}
process.exitCode = right ? 0 : 1;
