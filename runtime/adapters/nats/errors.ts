/** What can be wrong with a connection to NATS, one class per meaning, each with one thing to do. */
import { HoldfastError } from "../../ports/holdfast-error.ts";

/** The packages that talk to NATS are not installed. */
export class NatsMissing extends HoldfastError {
  override readonly name = "NatsMissing";
  readonly code = "NatsMissing";

  constructor(cause: unknown) {
    super(
      "the packages for NATS are missing: npm install @nats-io/transport-node @nats-io/jetstream @nats-io/kv (not `nats`, which is version 2)",
      { cause },
    );
  }
}

/** No server answered, or it did not let us in. */
export class NatsUnreachable extends HoldfastError {
  override readonly name = "NatsUnreachable";
  readonly code = "NatsUnreachable";
}

/** A connection of the package `nats`, version 2, or something that is no connection. */
export class NatsWrongConnection extends HoldfastError {
  override readonly name = "NatsWrongConnection";
  readonly code = "NatsWrongConnection";
}

/** An option that no server could make sense of. */
export class NatsInvalidOption extends HoldfastError {
  override readonly name = "NatsInvalidOption";
  readonly code = "NatsInvalidOption";
}
