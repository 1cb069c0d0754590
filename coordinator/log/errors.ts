/** What can be wrong with a log on the disk: one class per meaning, each with one thing to do. */
import { HoldfastError } from "../../runtime/ports/holdfast-error.ts";

/** Both copies of the hard state are unreadable: how this member voted is not known, so it must never vote again. */
export class HardStateLost extends HoldfastError {
  override readonly name = "HardStateLost";
  readonly code = "HardStateLost";

  constructor() {
    super(
      "both copies of the member's hard state are damaged, so its votes are forgotten: remove this member from the cluster, and add it again under a new id with an empty folder",
    );
  }
}

/** The folder holds the log of another member or cluster. */
export class LogOfAnother extends HoldfastError {
  override readonly name = "LogOfAnother";
  readonly code = "LogOfAnother";

  constructor(found: string, wanted: string) {
    super(
      `the folder holds the log of ${found}, not of ${wanted}: check the path, the cluster's name and the member's id`,
    );
  }
}

/** A later release wrote it. */
export class LogTooNew extends HoldfastError {
  override readonly name = "LogTooNew";
  readonly code = "LogTooNew";

  constructor(found: unknown) {
    super(`the log has format ${String(found)}, which this release does not know: install a newer holdfast`);
  }
}

/** It does not say which epoch it is of, so its member could fall back into one that is over. */
export class LogTooOld extends HoldfastError {
  override readonly name = "LogTooOld";
  readonly code = "LogTooOld";

  constructor(found: unknown) {
    super(
      `the log has format ${String(found)}, which names no epoch and is not read any more: remove this member from the cluster, and add it again under a new id with an empty folder`,
    );
  }
}

/** A write or flush has failed, so nothing is known of what is on the disk: only a new start can tell. */
export class LogFailed extends HoldfastError {
  override readonly name = "LogFailed";
  readonly code = "LogFailed";

  constructor(cause: unknown) {
    super("the log could not be flushed: look at the disk, then start this process anew", { cause });
  }
}

/** The log lacks entries that this member has acknowledged: nothing may be appended before it is repaired. */
export class LogIsDamaged extends HoldfastError {
  override readonly name = "LogIsDamaged";
  readonly code = "LogIsDamaged";

  constructor(keptIndex: number, neededIndex: number) {
    super(
      `the log is whole up to entry ${keptIndex} and was acknowledged up to ${neededIndex}: it must be repaired from the other members first`,
    );
  }
}

/** The cluster knows this member by another folder: what it promised there is not known here, so it must not take part. */
export class MemberForgot extends HoldfastError {
  override readonly name = "MemberForgot";
  readonly code = "MemberForgot";

  constructor(member: number) {
    super(
      `member ${member} lived in another folder, and this one knows nothing of its votes: bring that folder back, or add a member under a new id in its place`,
    );
  }
}

/** Its cluster goes on without this member, for good. */
export class MemberRefused extends HoldfastError {
  override readonly name = "MemberRefused";
  readonly code = "MemberRefused";

  constructor(reason: string) {
    super(`${reason}: its folder must go, and a member in its place needs a new id`);
  }
}
