/** What can be wrong with a connection to NATS, one class per meaning, each with one thing to do. */

/** The packages that talk to NATS are not installed. */
export class NatsMissing extends Error {
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
export class NatsUnreachable extends Error {
  override readonly name = "NatsUnreachable";
  readonly code = "NatsUnreachable";
}

/** A connection of the package `nats`, version 2, or something that is no connection. */
export class NatsWrongConnection extends Error {
  override readonly name = "NatsWrongConnection";
  readonly code = "NatsWrongConnection";
}

/** An option that no server could make sense of. */
export class NatsInvalidOption extends Error {
  override readonly name = "NatsInvalidOption";
  readonly code = "NatsInvalidOption";
}
