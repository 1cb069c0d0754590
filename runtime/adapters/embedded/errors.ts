/** Why an embedded store could not be opened: one class per meaning, each naming what to do. */
import { HoldfastError } from "../../ports/holdfast-error.ts";

/** Another process, or this one, hosts the directory already. */
export class StoreInUse extends HoldfastError {
  override readonly name = "StoreInUse";
  readonly code = "StoreInUse";
  readonly directory: string;
  /** The process that hosts it, as it sees itself. */
  readonly pid: number;

  constructor(directory: string, pid: number, options?: ErrorOptions) {
    super(`process ${pid} hosts ${directory} already: stop it, or ask it instead of opening the directory`, options);
    this.directory = directory;
    this.pid = pid;
  }
}

/** There is nothing to read in the directory; only a host makes a new store. */
export class StoreNotFound extends HoldfastError {
  override readonly name = "StoreNotFound";
  readonly code = "StoreNotFound";
  readonly directory: string;

  constructor(directory: string, options?: ErrorOptions) {
    super(`no store in ${directory}: check the path; the first host to open it makes the store`, options);
    this.directory = directory;
  }
}

/** The path is not a directory of ours, so nothing there was touched. */
export class ForeignDirectory extends HoldfastError {
  override readonly name = "ForeignDirectory";
  readonly code = "ForeignDirectory";
  readonly directory: string;

  constructor(directory: string, found: string, options?: ErrorOptions) {
    super(`${directory} does not belong to holdfast (${found}): choose an empty directory or a new path`, options);
    this.directory = directory;
  }
}

/** The store's file cannot be read as what it says it is. */
export class StoreDamaged extends HoldfastError {
  override readonly name = "StoreDamaged";
  readonly code = "StoreDamaged";
  readonly directory: string;

  constructor(directory: string, found: string, options?: ErrorOptions) {
    super(
      `the store in ${directory} is damaged (${found}): keep a copy of it, then restore the last backup, or empty the whole directory to begin anew`,
      options,
    );
    this.directory = directory;
  }
}

/** A later release made or converted the store. */
export class StoreTooNew extends HoldfastError {
  override readonly name = "StoreTooNew";
  readonly code = "StoreTooNew";
  readonly directory: string;
  readonly format: number;

  constructor(directory: string, format: number, newestKnown: number, options?: ErrorOptions) {
    super(
      `the store in ${directory} has format ${format}, this release knows up to ${newestKnown}: install a newer holdfast`,
      options,
    );
    this.directory = directory;
    this.format = format;
  }
}

/** Not even the few pages that an opening writes have room. */
export class DiskFull extends HoldfastError {
  override readonly name = "DiskFull";
  readonly code = "DiskFull";
  readonly directory: string;

  constructor(directory: string, options?: ErrorOptions) {
    super(`no room on the disk of ${directory}: free some, then open the store again; nothing was lost`, options);
    this.directory = directory;
  }
}

/** The optional peer is not installed. */
export class LmdbMissing extends HoldfastError {
  override readonly name = "LmdbMissing";
  readonly code = "LmdbMissing";

  constructor(options?: ErrorOptions) {
    super("the embedded store needs the package lmdb: run `npm install lmdb`", options);
  }
}
