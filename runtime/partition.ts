/** Which partition an actor belongs to: fixed by its key and the number of partitions, the same on every node. */
import { hashText } from "./hash.ts";

export function partitionOf(key: string, partitions: number): number {
  return Number.parseInt(hashText(key).slice(0, 8), 16) % partitions;
}
