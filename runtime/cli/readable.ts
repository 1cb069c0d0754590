/** Text for people: nothing in it moves the cursor or reorders the line, columns stand under each other. */

/** Controls of terminals, and the marks that turn the direction of text around. */
const unseen = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;
const wide =
  /\p{Script=Han}|\p{Script=Hiragana}|\p{Script=Katakana}|\p{Script=Hangul}|\p{Emoji_Presentation}|[\uff01-\uff60]/u;
const graphemes = new Intl.Segmenter();

/** An id or other text of a user on one line, as it is where that is possible. */
export function readable(text: string): string {
  const shown = text.replace(unseen, (sign) => `\\u{${(sign.codePointAt(0) as number).toString(16)}}`);
  return shown.trim() !== shown || shown.includes("  ") ? JSON.stringify(shown) : shown;
}

/** At most this many characters of it. */
export function clipped(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}

/** Rows under a line of headings. Columns in which every row is empty are left out. */
export function table(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const kept = headings.map((_, column) => column).filter((column) => rows.some((row) => row[column] !== ""));
  const lines = [headings, ...rows].map((row) => kept.map((column) => row[column] ?? ""));
  const widths = kept.map((_, at) => Math.max(...lines.map((line) => widthOf(line[at] as string))));
  return lines
    .map(
      (line) =>
        `${line
          .map((cell, at) => padded(cell, widths[at] as number))
          .join("  ")
          .trimEnd()}\n`,
    )
    .join("");
}

function padded(text: string, width: number): string {
  return text + " ".repeat(width - widthOf(text));
}

function widthOf(text: string): number {
  let width = 0;
  for (const { segment } of graphemes.segment(text)) width += wide.test(segment) ? 2 : 1;
  return width;
}

/** JSON with two spaces, where what fits on a line stands on one. */
export function prettyJson(value: unknown, lineLength = 100, indent = ""): string {
  const short = oneLine(value);
  if (indent.length + short.length <= lineLength || typeof value !== "object" || value === null) return short;
  const inner = `${indent}  `;
  const isList = Array.isArray(value);
  const members = isList
    ? value.map((item) => prettyJson(item, lineLength, inner))
    : Object.entries(value).map(([key, member]) => `${JSON.stringify(key)}: ${prettyJson(member, lineLength, inner)}`);
  if (members.length === 0) return short;
  return `${isList ? "[" : "{"}\n${members.map((member) => inner + member).join(",\n")}\n${indent}${isList ? "]" : "}"}`;
}

function oneLine(value: unknown): string {
  if (typeof value !== "object" || value === null) return seen(JSON.stringify(value) ?? "null");
  if (Array.isArray(value)) return `[${value.map(oneLine).join(", ")}]`;
  const members = Object.entries(value).map(([key, member]) => `${seen(JSON.stringify(key))}: ${oneLine(member)}`);
  return members.length === 0 ? "{}" : `{ ${members.join(", ")} }`;
}

/** JSON escapes the low controls only; the escape stays JSON. */
function seen(json: string): string {
  return json.replace(unseen, (sign) => `\\u${(sign.codePointAt(0) as number).toString(16).padStart(4, "0")}`);
}
