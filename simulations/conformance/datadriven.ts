/**
 * Reads scenario files in the format of cockroachdb/datadriven: a command with arguments, lines of input, `----`, and the
 * output that is expected, up to a blank line. `key=(a, b)` is one argument with two values; `#` begins a comment.
 */

export type Argument = { readonly key: string; readonly values: readonly string[] };

export type Directive = {
  /** Of its first line, from 1. */
  readonly line: number;
  readonly command: string;
  readonly arguments: readonly Argument[];
  readonly input: string;
  /** With a newline at its end, unless it is empty. */
  readonly expected: string;
};

export function parseDirectives(text: string): Directive[] {
  const lines = text.split("\n");
  const directives: Directive[] = [];
  let at = 0;
  while (at < lines.length) {
    const first = lines[at]!.trim();
    if (first === "" || first.startsWith("#")) {
      at++;
      continue;
    }
    const line = at + 1;
    const separator = lines.indexOf("----", at);
    if (separator < 0) throw new SyntaxError(`line ${line}: a directive without ----`);
    // A line may go on after a backslash.
    let head = lines[at++]!;
    while (head.endsWith("\\")) head = head.slice(0, -1) + lines[at++]!;
    const input = lines.slice(at, separator).join("\n");
    const { expected, end } = expectedFrom(lines, separator + 1);
    directives.push({ line, ...parseCommand(head, line), input, expected });
    at = end;
  }
  return directives;
}

/** Output with blank lines in it stands between two pairs of `----`. */
function expectedFrom(lines: readonly string[], from: number): { expected: string; end: number } {
  const isDouble = lines[from] === "----";
  let end = isDouble ? from + 1 : from;
  const isEnd = (at: number) =>
    isDouble ? lines[at] === "----" && lines[at + 1] === "----" : lines[at]!.trim() === "";
  while (end < lines.length && !isEnd(end)) end++;
  const output = lines.slice(isDouble ? from + 1 : from, end);
  return { expected: output.map((line) => `${line}\n`).join(""), end: isDouble ? end + 2 : end };
}

export function parseCommand(text: string, line = 1): { command: string; arguments: Argument[] } {
  const words = text.trim().match(/[^\s=]+=\([^)]*\)|\S+/g) ?? [];
  const [command, ...rest] = words;
  if (command === undefined) throw new SyntaxError(`line ${line}: no command`);
  return { command, arguments: rest.map(parseArgument) };
}

function parseArgument(word: string): Argument {
  const equals = word.indexOf("=");
  if (equals < 0) return { key: word, values: [] };
  const [key, value] = [word.slice(0, equals), word.slice(equals + 1)];
  if (!value.startsWith("(")) return { key, values: value === "" ? [] : [value] };
  const inside = value.slice(1, -1).trim();
  return { key, values: inside === "" ? [] : inside.split(/\s*,\s*|\s+/) };
}
