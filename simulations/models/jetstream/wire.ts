/** Messages as they go over the wire: a subject, perhaps a reply subject, header lines in order, and bytes. */

export type Fields = readonly (readonly [name: string, value: string])[];

export type WireMessage = {
  readonly subject: string;
  readonly reply?: string;
  /** Of messages that the server makes: 503 nobody answers, 100 heartbeat or flow control, 204 the end of a list … */
  readonly status?: { readonly code: number; readonly text: string };
  readonly fields: Fields;
  readonly data: Uint8Array;
  /** What a consumer delivers keeps the subject under which it was stored, whatever subject it is sent to. */
  readonly storedUnder?: string;
};

export const noBytes = new Uint8Array(0);

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function bytesOf(text: string): Uint8Array {
  return encoder.encode(text);
}

export function textOf(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

/** The first value of that name. */
export function fieldOf(fields: Fields, name: string): string | undefined {
  return fields.find(([found]) => found === name)?.[1];
}

/** The header block as a server stores and sends it; empty for a message without one. */
export function headerBlock(fields: Fields): string {
  if (fields.length === 0) return "";
  return `NATS/1.0\r\n${fields.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`;
}

/** The header lines of a block. */
export function fieldsIn(block: string): Fields {
  const fields: (readonly [string, string])[] = [];
  for (const line of block.split("\r\n").slice(1)) {
    const colon = line.indexOf(":");
    if (colon > 0) fields.push([line.slice(0, colon), line.slice(colon + 1).trim()]);
  }
  return fields;
}

/** Whether a subject is among those that a pattern with `*` and `>` names. */
export function matchesSubject(pattern: string, subject: string): boolean {
  if (pattern === subject) return true;
  const isPrefix = pattern.endsWith(">") && !pattern.includes("*");
  if (isPrefix) return subject.length >= pattern.length && subject.startsWith(pattern.slice(0, -1));
  if (!pattern.includes("*")) return false;
  const wanted = pattern.split(".");
  const words = subject.split(".");
  for (const [index, word] of wanted.entries()) {
    if (word === ">") return words.length > index;
    if (words[index] === undefined || (word !== "*" && word !== words[index])) return false;
  }
  return words.length === wanted.length;
}

/** Whether two patterns have a subject in common. */
export function overlap(a: string, b: string): boolean {
  const [left, right] = [a.split("."), b.split(".")];
  for (let index = 0; ; index++) {
    const [one, other] = [left[index], right[index]];
    if (one === ">" || other === ">") return one !== undefined && other !== undefined;
    if (one === undefined || other === undefined) return one === other;
    if (one !== other && one !== "*" && other !== "*") return false;
  }
}

/** As the server writes time: nanoseconds, without zeros at the end. */
export function instantOf(atMs: number): string {
  const fraction = (atMs / 1_000 - Math.floor(atMs / 1_000))
    .toFixed(9)
    .slice(1)
    .replace(/\.?0+$/, "");
  return new Date(Math.floor(atMs / 1_000) * 1_000).toISOString().replace(/\.000Z$/, `${fraction}Z`);
}
