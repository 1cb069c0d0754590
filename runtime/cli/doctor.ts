import { NatsInvalidOption, NatsUnreachable } from "../adapters/nats/errors.ts";
import { type Command, nothingMore, type Shown, UsageError } from "./command.ts";
import type { DeploymentFacts } from "./deployment/facts.ts";
import type { Finding } from "./deployment/finding.ts";
import { type GatherOptions, gatherFacts } from "./deployment/gather.ts";
import { exitCodeOf, gradeDeployment, gradeUnreachable, type Report } from "./deployment/grades.ts";
import { type Role, roles } from "./deployment/permission-probes.ts";
import { readable } from "./readable.ts";

export const doctor: Command = {
  usage: "doctor [--role r] [--monitor url]",
  summary: "grade a deployment on NATS: what it is safe for, and what to change",
  options: ["role", "monitor"],
  details: `Changes nothing. Looks with the credentials that it is given, so it tells what a process with these could do.
--role     whose permissions are tried: ${roles.join(", ")}; default: node
--monitor  monitoring pages of the servers, separated by commas, such as http://n1:8222: a client cannot see whether a
           server syncs what it acknowledges
Exit code: 0 nothing to do, 1 something to look at, 2 something fails.`,

  async run({ args, options, nats, clock }) {
    nothingMore(args);
    const asked: GatherOptions = { role: roleIn(options.role), monitors: monitorsIn(options.monitor), clock };
    let link: Awaited<ReturnType<typeof nats>>;
    try {
      link = await nats();
    } catch (error) {
      if (error instanceof NatsUnreachable || error instanceof NatsInvalidOption)
        return shown(gradeUnreachable(error.message));
      throw error;
    }
    const facts = await gatherFacts(link, asked);
    return shown(gradeDeployment(facts), facts);
  },
};

function roleIn(given: string | undefined): Role {
  if (given === undefined) return "node";
  const role = roles.find((known) => known === given);
  if (role === undefined)
    throw new UsageError(`--role is ${JSON.stringify(given)}; it must be one of ${roles.join(", ")}`);
  return role;
}

function monitorsIn(given: string | undefined): readonly string[] {
  const urls = given === undefined ? [] : given.split(",");
  for (const url of urls) {
    if (!/^https?:\/\/./.test(url))
      throw new UsageError(`--monitor has ${JSON.stringify(url)}; write it like http://127.0.0.1:8222`);
  }
  return urls;
}

function shown(report: Report, facts?: DeploymentFacts): Shown {
  const { findings, verdict } = report;
  const width = Math.max(...findings.map(({ what }) => what.length));
  const lines = findings.map((finding) => textOf(finding, width)).join("");
  return {
    json: { verdict, findings, facts: facts ?? null },
    text: `${lines}\n${verdict.text}\n`,
    exitCode: exitCodeOf(report),
  };
}

function textOf({ grade, what, why, command }: Finding, width: number): string {
  const line = `${grade.padEnd(4)}  ${what.padEnd(width)}  ${readable(why)}\n`;
  return command === undefined ? line : `${line}${" ".repeat(width + 8)}-> ${command}\n`;
}
