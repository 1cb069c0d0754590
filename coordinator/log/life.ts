/** The name of a member's folder: made once, before anything else is written there, so that an emptied one is told apart. */
import type { Disk } from "../ports/disk.ts";

const fileName = "life";

/** `fresh` is taken for a folder that has none. */
export async function lifeIn(disk: Disk, fresh: string): Promise<string> {
  const file = await disk.open(fileName);
  try {
    const written = new TextDecoder().decode(await file.read(0, file.size()));
    if (written.endsWith("\n")) return written.trimEnd();
    // Cut short, it was never told to anybody.
    await file.truncate(0);
    await file.write(0, new TextEncoder().encode(`${fresh}\n`));
    await file.sync();
    await disk.syncFolder();
    return fresh;
  } finally {
    await file.close();
  }
}
