/** What can be wrong with how the bus is set up or used, each with one thing to do. */
import { HoldfastError } from "../../ports/holdfast-error.ts";

/** An option that no subject or bound can be made of. */
export class BusInvalidOption extends HoldfastError {
  override readonly name = "BusInvalidOption";
  readonly code = "InvalidOption";
}

/** An event that cannot be published: above what the server takes, or on a topic that is none. */
export class BusNotPublished extends HoldfastError {
  override readonly name = "BusNotPublished";
  readonly code = "NotPublished";
}

/** More topics are listened to than the bus allows. Stop listening to some, or raise `limits.topics`. */
export class BusTooManyTopics extends HoldfastError {
  override readonly name = "BusTooManyTopics";
  readonly code = "TooManyTopics";
}
