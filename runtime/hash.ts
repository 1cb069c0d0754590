/** A short, stable fingerprint of text: finds accidents (a changed body, a person's edit), resists no attacker. */

/**
 * 64 bits as 16 hex digits: four lanes of FNV-1a, each over every fourth character so that the processor works on all at
 * once, mixed into each other at the end as murmur3 does. Every document is hashed at every commit, so one
 * multiplication per character is what it may cost.
 */
export function hashText(text: string): string {
  let a = 0x811c9dc5;
  let b = 0x9747b28c;
  let c = 0x2545f491;
  let d = 0x6c62272e;
  const { length } = text;
  let index = 0;
  for (const last = length - 3; index < last; index += 4) {
    a = Math.imul(a ^ text.charCodeAt(index), prime);
    b = Math.imul(b ^ text.charCodeAt(index + 1), prime);
    c = Math.imul(c ^ text.charCodeAt(index + 2), prime);
    d = Math.imul(d ^ text.charCodeAt(index + 3), prime);
  }
  for (; index < length; index++) a = Math.imul(a ^ text.charCodeAt(index), prime);
  a ^= length;
  const first = mix(a ^ rotate(b, 16) ^ Math.imul(c, 0x9e3779b1));
  const second = mix(b ^ rotate(c, 13) ^ d ^ first);
  return hex(first) + hex(mix(second ^ d));
}

const prime = 0x01000193;

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}

function mix(value: number): number {
  let mixed = value;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

const digits = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/** Eight digits, by table: `toString(16)` treats a number of 32 bits as a fraction, at ten times the cost. */
function hex(value: number): string {
  return `${digits[value >>> 24]}${digits[(value >>> 16) & 255]}${digits[(value >>> 8) & 255]}${digits[value & 255]}`;
}
