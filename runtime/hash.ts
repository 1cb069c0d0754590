/** A short, stable fingerprint of text: finds accidents (a changed body, a person's edit), resists no attacker. */

/**
 * 64 bits as 16 hex digits: two lanes of FNV-1a, each over every other character, mixed into each other at the end as
 * murmur3 does. Every document is hashed at every commit, so one multiplication per character is what it may cost.
 */
export function hashText(text: string): string {
  let a = 0x811c9dc5;
  let b = 0x9747b28c;
  const { length } = text;
  let index = 0;
  for (; index + 1 < length; index += 2) {
    a = Math.imul(a ^ text.charCodeAt(index), 0x01000193);
    b = Math.imul(b ^ text.charCodeAt(index + 1), 0x01000193);
  }
  if (index < length) a = Math.imul(a ^ text.charCodeAt(index), 0x01000193);
  a ^= length;
  const mixed = mix(a ^ ((b << 16) | (b >>> 16)));
  return hex(mixed) + hex(mix(b ^ mixed));
}

function mix(value: number): number {
  let mixed = value;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

/** Eight digits: the ninth, which is cut off, keeps the leading zeros. */
function hex(value: number): string {
  return (value + 0x1_0000_0000).toString(16).slice(1);
}
