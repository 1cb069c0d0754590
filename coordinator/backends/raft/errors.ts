/** What can be wrong with where a member runs: one class per meaning, each with one thing to do. */
import { HoldfastError } from "../../../runtime/ports/holdfast-error.ts";

/** Another process, or this one, runs on the folder. */
export class LogInUse extends HoldfastError {
  override readonly name = "LogInUse";
  readonly code = "LogInUse";
  readonly directory: string;

  constructor(directory: string, pid: number | undefined, options?: ErrorOptions) {
    const owner = pid === undefined ? "another process" : `process ${pid}`;
    super(`${owner} runs on ${directory} already: stop it, or give this member a folder of its own`, options);
    this.directory = directory;
  }
}

/** Nothing can be written there. */
export class LogReadOnly extends HoldfastError {
  override readonly name = "LogReadOnly";
  readonly code = "LogReadOnly";
  readonly directory: string;

  constructor(directory: string, options?: ErrorOptions) {
    super(`this process may not write to ${directory}: give it the right to, or choose another folder`, options);
    this.directory = directory;
  }
}

/** There is something at the path that is no folder, or no folder can be made there. */
export class LogNoFolder extends HoldfastError {
  override readonly name = "LogNoFolder";
  readonly code = "LogNoFolder";
  readonly directory: string;

  constructor(directory: string, options?: ErrorOptions) {
    super(`${directory} is no folder, and none can be made there: choose another path`, options);
    this.directory = directory;
  }
}
