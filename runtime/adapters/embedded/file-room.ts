/**
 * Room in LMDB's file, taken from the disk before LMDB needs it. A full disk thereby shows here, where it is an answer,
 * and not within a commit: there lmdb 3.5 formats its message about a failed write into too few bytes, which can end the
 * process. What a transaction may need is estimated high; steady writing reuses pages and makes the file no longer.
 */
import { closeSync, fstatSync, openSync, write } from "node:fs";
import type { KeyChange } from "./lmdb-file.ts";

/** What writes must leave over for purges, which are the way out of a full disk. */
const PURGE_RESERVE_PAGES = 256;
const MIN_CHUNK_PAGES = 512;
const MAX_CHUNK_PAGES = 4_096;
/** Paths to the leaves, the list of free pages, the meta record: once per transaction. */
const TRANSACTION_PAGES = 64;
/** Of the first page of a large record. */
const PAGE_HEADER_BYTES = 64;

/** How LMDB uses its file, asked between transactions. */
export type PageUse = {
  readonly pageBytes: number;
  /** Number of the last page that was ever used. */
  lastPage(): number;
  /** Pages below the last one that no record needs any more. */
  unusedPages(): number;
};

type Need = {
  readonly pages: number;
  /** Of them, pages of large records, which must lie side by side. */
  readonly adjacentPages: number;
  /** With what must be left over. */
  readonly withReserve: number;
};

export class FileRoom {
  readonly #descriptor: number;
  readonly #pageUse: PageUse;
  /** Pages known to be behind the last one in use. */
  #tailPages = 0;
  /** What the last two transactions may have freed: LMDB does not use it yet. */
  #recentPages: readonly [number, number] = [0, 0];

  constructor(path: string, pageUse: PageUse) {
    // Appending never overwrites, whoever else has the file open.
    this.#descriptor = openSync(path, "a");
    this.#pageUse = pageUse;
  }

  /** Whether a transaction of these changes will find room. If so, it counts as taken. */
  take(changes: readonly KeyChange[]): boolean | Promise<boolean> {
    const need = this.#needOf(changes);
    const hasRoom = this.#tailPages >= need.withReserve || this.#hasRoom(need);
    return hasRoom ? this.#taken(need) : this.#takeAfterExtending(need);
  }

  async #takeAfterExtending(need: Need): Promise<boolean> {
    await this.#extend(need.withReserve - this.#tailPages);
    return this.#hasRoom(need) && this.#taken(need);
  }

  #taken({ pages }: Need): true {
    this.#tailPages -= pages;
    this.#recentPages = [pages, this.#recentPages[0]];
    return true;
  }

  close(): void {
    closeSync(this.#descriptor);
  }

  #needOf(changes: readonly KeyChange[]): Need {
    let pages = TRANSACTION_PAGES;
    let adjacentPages = 0;
    let reserve = 0;
    for (const { record, removed } of changes) {
      pages += 1 + 2 * removed.length;
      if (!record) continue;
      reserve = PURGE_RESERVE_PAGES;
      const recordPages = Math.ceil((record.length + PAGE_HEADER_BYTES) / this.#pageUse.pageBytes);
      pages += recordPages;
      if (recordPages > 1) adjacentPages += recordPages;
    }
    return { pages, adjacentPages, withReserve: pages + reserve };
  }

  #hasRoom({ withReserve, adjacentPages }: Need): boolean {
    this.#tailPages =
      Math.floor(fstatSync(this.#descriptor).size / this.#pageUse.pageBytes) - (this.#pageUse.lastPage() + 1);
    if (this.#tailPages >= withReserve) return true;
    const reusable = Math.max(0, this.#pageUse.unusedPages() - this.#recentPages[0] - this.#recentPages[1]);
    return adjacentPages <= this.#tailPages && withReserve <= this.#tailPages + reusable;
  }

  /** May be cut short or fail; what counts is how long the file is afterwards. */
  #extend(missingPages: number): Promise<void> {
    const fileBytes = fstatSync(this.#descriptor).size;
    const chunkPages = Math.min(Math.max(MIN_CHUNK_PAGES, fileBytes / this.#pageUse.pageBytes / 16), MAX_CHUNK_PAGES);
    const bytes = Buffer.alloc(Math.max(missingPages, Math.ceil(chunkPages)) * this.#pageUse.pageBytes);
    return new Promise((resume) => write(this.#descriptor, bytes, () => resume()));
  }
}
