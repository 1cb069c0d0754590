import { drawn } from "../control/host-verbs.ts";
import { actorIn, type Command, nothingMore, UsageError } from "./command.ts";
import { exportedFrom } from "./exported.ts";

export const graph: Command = {
  usage: "graph <type> [id] [--machine file#export]",
  summary: "draw a machine in Mermaid; the live state is marked when there is an id",
  options: ["machine"],
  details: `The machine comes from the running host, or from a module: --machine ./order.js#orderMachine. Without #export it is
the default export, or the only one. With --machine and no id, neither a type nor a host is needed.`,

  async run({ args, options, session }) {
    const [type] = args;
    const name = type === undefined || (args.length === 1 && !type.includes(".")) ? undefined : actorIn(args);
    nothingMore(name?.rest ?? []);
    const subject = name === undefined ? (type === undefined ? {} : { type }) : { type: name.type, id: name.id };
    if (options.machine !== undefined) {
      const logic = await machineFrom(options.machine);
      const found = name && (await (await session()).ask("get", { type: name.type, id: name.id }));
      return shown(subject, drawn(logic, options.machine, found?.text));
    }
    if (type === undefined) throw new UsageError("it needs a type, or --machine file#export");
    return shown(
      subject,
      await (await session()).ask("graph", name === undefined ? { type } : { type: name.type, id: name.id }),
    );
  },
};

function shown(subject: object, graph: { readonly mermaid: string; readonly state?: string }) {
  return { json: { ...subject, ...graph }, text: graph.mermaid };
}

/** A machine, or the actor definition around one. */
async function machineFrom(given: string): Promise<unknown> {
  const value = await exportedFrom(given);
  const { logic } = value as { readonly logic?: unknown };
  return logic ?? value;
}
