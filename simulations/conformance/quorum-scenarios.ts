/** Runs the scenario files of etcd's package quorum: what a majority, or a joint pair of them, has committed or voted. */
import type { NodeId } from "../../coordinator/raft/messages.ts";
import {
  type AckedIndex,
  describeAcked,
  emptyMajority,
  type Joint,
  jointCommitted,
  jointVote,
  type Majority,
  majorityCommitted,
  majorityVote,
  votersOf,
} from "../../coordinator/raft/quorum.ts";
import type { Directive } from "./datadriven.ts";

/** Besides the result, the output names each equal way to compute it that came to another one. */
export function runQuorumDirective({ command, arguments: args }: Directive): string {
  const valuesOf = (key: string) => args.find((argument) => argument.key === key)?.values;
  const [ids, joined] = [(valuesOf("cfg") ?? []).map(Number), valuesOf("cfgj")];
  const otherIds = (joined ?? []).filter((value) => value !== "zero").map(Number);
  const joint: Joint = { incoming: new Set(ids), outgoing: new Set(otherIds) };
  const swapped: Joint = { incoming: joint.outgoing, outgoing: joint.incoming };
  const said = valuesOf(command === "vote" ? "votes" : "idx") ?? [];
  const voters = [...new Set([...ids, ...otherIds])];
  if (said.length !== voters.length)
    return `error: mismatched input (explicit or _) for voters map[${votersOf(joint)
      .map((id) => `${id}:{}`)
      .join(" ")}]: [${said.join(" ")}]`;
  const given = new Map(voters.map((id, place) => [id, said[place]!] as const).filter(([, value]) => value !== "_"));

  if (command === "vote") {
    const votes = new Map([...given].map(([id, value]) => [id, value === "y"]));
    if (joined === undefined) return `${majorityVote(joint.incoming, votes)}\n`;
    const [result, symmetric] = [jointVote(joint, votes), jointVote(swapped, votes)];
    return symmetric === result ? `${result}\n` : `${symmetric} <-- via symmetry\n${result}\n`;
  }
  if (command !== "committed") return "unknown command";
  const acked: AckedIndex = (id) => (given.has(id) ? Number(given.get(id)) : undefined);
  if (joined === undefined) return majorityOutput(joint.incoming, acked);
  const [index, symmetric] = [jointCommitted(joint, acked), jointCommitted(swapped, acked)];
  const doubt = symmetric === index ? "" : `${show(symmetric)} <-- via symmetry\n`;
  return `${describeAcked(votersOf(joint), acked)}${doubt}${show(index)}\n`;
}

function majorityOutput(majority: Majority, acked: AckedIndex): string {
  const index = majorityCommitted(majority, acked);
  const others: [string, number][] = [
    ["via alternative computation", committedByCounting(majority, acked)],
    ["via zero-joint quorum", jointCommitted({ incoming: majority, outgoing: emptyMajority }, acked)],
    ["via self-joint quorum", jointCommitted({ incoming: majority, outgoing: majority }, acked)],
  ];
  // What lies below the result may be lower still, or unknown, without changing it.
  for (const id of majority) {
    const its = acked(id);
    if (its === undefined || its >= index) continue;
    const lowered =
      (to: number): AckedIndex =>
      (other) =>
        other === id ? to : acked(other);
    others.push([`overlaying ${id}->${its}`, majorityCommitted(majority, lowered(its - 1))]);
    others.push([`overlaying ${id}->0`, majorityCommitted(majority, lowered(0))]);
  }
  const doubts = others.filter(([, other]) => other !== index).map(([how, other]) => `${show(other)} <-- ${how}\n`);
  return `${describeAcked(majority, acked)}${doubts.join("")}${show(index)}\n`;
}

/** The definition, word for word: the highest index that was acknowledged and that a majority reached. */
function committedByCounting(majority: Majority, acked: AckedIndex): number {
  if (majority.size === 0) return Number.POSITIVE_INFINITY;
  const reached = (index: number) => [...majority].filter((id: NodeId) => (acked(id) ?? 0) >= index).length;
  const candidates = [...majority].map((id) => acked(id) ?? 0).filter((index) => reached(index) > majority.size / 2);
  return Math.max(0, ...candidates);
}

function show(index: number): string {
  return index === Number.POSITIVE_INFINITY ? "∞" : String(index);
}
