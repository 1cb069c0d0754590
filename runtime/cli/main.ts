#!/usr/bin/env node
/** The program `holdfast`: hands arguments and streams to `runCommandLine`, which is all there is to test. */
import { runCommandLine } from "./command-line.ts";

// `holdfast ls | head` closes the pipe early: that is no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
});

process.exitCode = await runCommandLine(process.argv.slice(2), {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  env: process.env,
});
