/** Why a bucket could not be opened: one class per meaning, each naming what to do. */
import { HoldfastError } from "../../ports/holdfast-error.ts";

/** The server, or this account on it, has JetStream switched off. */
export class JetStreamOff extends HoldfastError {
  override readonly name = "JetStreamOff";
  readonly code = "JetStreamOff";
}

/** Older than what was tested. */
export class ServerTooOld extends HoldfastError {
  override readonly name = "ServerTooOld";
  readonly code = "ServerTooOld";
}

/** There is no bucket of that name, and it is not to be made. */
export class BucketNotFound extends HoldfastError {
  override readonly name = "BucketNotFound";
  readonly code = "BucketNotFound";
}

/** The bucket is not as asked for; `differences` has a line for each, with what to do. Nothing was changed. */
export class BucketDiffers extends HoldfastError {
  override readonly name = "BucketDiffers";
  readonly code = "BucketDiffers";
  readonly differences: readonly string[];

  constructor(bucket: string, differences: readonly string[]) {
    super(`the bucket ${bucket} cannot be used as it is:\n${differences.map((line) => `- ${line}`).join("\n")}`);
    this.differences = differences;
  }
}

/** The server does not let this user do what is needed; `subject` is what it forbade. */
export class PermissionMissing extends HoldfastError {
  override readonly name = "PermissionMissing";
  readonly code = "PermissionMissing";
  readonly subject: string;

  constructor(operation: "publish on" | "subscribe to", subject: string, options?: ErrorOptions) {
    super(
      `this user may not ${operation} ${subject}: allow it to this role (docs/guides/accounts.md has them all)`,
      options,
    );
    this.subject = subject;
  }
}

/** The account has no room for the bucket, or too few servers for its replicas. */
export class NoRoom extends HoldfastError {
  override readonly name = "NoRoom";
  readonly code = "NoRoom";
}

/** An option that makes no bucket. */
export class BucketInvalidOption extends HoldfastError {
  override readonly name = "BucketInvalidOption";
  readonly code = "BucketInvalidOption";
}

/** The server did not answer, or answered with an error that has no class of its own. */
export class ServerFailed extends HoldfastError {
  override readonly name = "ServerFailed";
  readonly code = "ServerFailed";
  /** The server's own number of the error, 0 when it did not answer. */
  readonly errorCode: number;

  constructor(message: string, errorCode: number, options?: ErrorOptions) {
    super(message, options);
    this.errorCode = errorCode;
  }
}
