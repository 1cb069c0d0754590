/** A model of Redis as one node of the world reaches it: through its gate, so that a crash or a stop of the node counts. */
import type { RedisLink } from "../../../runtime/adapters/redis-link/link.ts";
import type { SimulatedNode } from "../../world/node.ts";
import type { RedisModel } from "./redis-model.ts";

export function redisLink(node: SimulatedNode, model: RedisModel): RedisLink {
  const link = model.link(node.name);
  return {
    name: link.name,
    send: (command, timeoutMs) => node.effect(() => link.send(command, timeoutMs)),
  };
}
