/** Ready machines, and builders of machines. Plain XState: nothing here that a user could not write. */
export {
  type JobEvent,
  type JobPorts,
  type JobSetUp,
  scheduledJobMachine,
  type WorkArgs,
} from "./scheduled-job/machine.ts";
export { type AuthorContext, type AuthorEvent, type AuthorInput, authorMachine } from "./submission/author.ts";
export type { Verdict } from "./submission/bundle/index.ts";
export {
  type Judge,
  type SubmissionContext,
  type SubmissionEvent,
  type SubmissionInput,
  type SubmissionOutput,
  submissionMachine,
} from "./submission/machine.ts";
export { type ProblemContext, type ProblemEvent, type ProblemInput, problemMachine } from "./submission/problem.ts";
export { SandboxError } from "./submission/process.ts";
export {
  createSandbox,
  type Language,
  type Program,
  type Sandbox,
  type SandboxSettings,
  type TestCase,
} from "./submission/sandbox.ts";
