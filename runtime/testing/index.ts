/** `holdfast/testing`: XState's `createActor` with a durable actor behind it. Swap the import and run your own tests. */
export { createActor, createActorWith, type DropInModes } from "./drop-in.ts";
export { ManualClock } from "./manual-clock.ts";
export {
  findNatsServers,
  howToGetOne,
  type NatsBinary,
  type NatsCluster,
  type NatsServer,
  type NatsServerOptions,
  startNatsCluster,
  startNatsServer,
} from "./nats-server.ts";
export {
  findRedisServer,
  howToGetRedis,
  type RedisBinary,
  type RedisServer,
  type RedisServerOptions,
  startRedisServer,
} from "./redis-server.ts";
