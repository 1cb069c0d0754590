/** A program dropped into the inbox: what its name and first line say about it. Pure. */
import type { Language } from "./sandbox.ts";

export type InboxProgram = {
  readonly language: Language;
  readonly problem: string;
  readonly author: string;
};

const extensions: ReadonlyMap<string, Language> = new Map([
  [".js", "javascript"],
  [".py", "python"],
]);
const header = /^(?:\/\/|#)\s*problem:\s*([\w-]{1,40})\s+author:\s*([\w-]{1,40})\s*$/;

export function inboxLanguage(fileName: string): Language | undefined {
  return fileName.startsWith(".") ? undefined : extensions.get(fileName.slice(fileName.lastIndexOf(".")));
}

/** A string is the reason for refusing it. */
export function readInboxProgram(
  language: Language,
  source: string,
  problems: ReadonlySet<string>,
): InboxProgram | string {
  const [firstLine = ""] = source.split(/\r?\n/, 1);
  const [, problem, author] = header.exec(firstLine.trim()) ?? [];
  if (problem === undefined || author === undefined) {
    const comment = language === "python" ? "#" : "//";
    return `its first line must be: ${comment} problem: gcd author: ada`;
  }
  if (!problems.has(problem)) return `no problem ${problem}; there are ${[...problems].join(", ")}`;
  return { language, problem, author };
}
