/** What can be wrong with a connection to Redis, one class per meaning, each with one thing to do. */
import { HoldfastError } from "../../ports/holdfast-error.ts";

/** The package that talks to Redis is not installed. */
export class RedisMissing extends HoldfastError {
  override readonly name = "RedisMissing";
  readonly code = "RedisMissing";

  constructor(cause: unknown) {
    super("the package for Redis is missing: npm install ioredis", { cause });
  }
}

/** No server answered, or it did not let us in. */
export class RedisUnreachable extends HoldfastError {
  override readonly name = "RedisUnreachable";
  readonly code = "RedisUnreachable";
}

/** An option, or a value, that no server could make sense of. */
export class RedisInvalidOption extends HoldfastError {
  override readonly name = "RedisInvalidOption";
  readonly code = "RedisInvalidOption";
}

/** The server refused what it must not: a key of another type, no room, no permission. The message is the server's. */
export class RedisRefused extends HoldfastError {
  override readonly name = "RedisRefused";
  readonly code = "RedisRefused";
}
