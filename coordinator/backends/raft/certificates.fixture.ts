/** Certificates for tests, made as they run: an authority, and members whose names it vouches for. X.509 v3 with P-256 keys. */
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";

export type Certified = { readonly certificate: string; readonly key: string };

export class Authority {
  readonly certificate: string;
  readonly #name: string;
  readonly #key: KeyObject;
  #serial = 1;

  constructor(name: string) {
    this.#name = name;
    const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    this.#key = privateKey;
    const isAuthority = extension([0x55, 0x1d, 0x13], sequence(Buffer.from([0x01, 0x01, 0xff])), true);
    this.certificate = this.#signed(name, publicKey, isAuthority);
  }

  /** For a DNS name. */
  certify(dnsName: string): Certified {
    const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const alternative = extension([0x55, 0x1d, 0x11], sequence(der(0x82, Buffer.from(dnsName, "ascii"))), false);
    return {
      certificate: this.#signed(dnsName, publicKey, alternative),
      key: privateKey.export({ type: "pkcs8", format: "pem" }) as string,
    };
  }

  #signed(subject: string, publicKey: KeyObject, extensions: Buffer): string {
    const algorithm = sequence(objectId([0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02])); // ecdsa-with-SHA256
    const body = sequence(
      der(0xa0, der(0x02, Buffer.from([2]))),
      der(0x02, Buffer.from([this.#serial++])),
      algorithm,
      commonName(this.#name),
      sequence(time("20200101000000Z"), time("21200101000000Z")),
      commonName(subject),
      publicKey.export({ type: "spki", format: "der" }),
      der(0xa3, sequence(extensions)),
    );
    const signature = sign("sha256", body, this.#key);
    const whole = sequence(body, algorithm, der(0x03, Buffer.concat([Buffer.from([0]), signature])));
    const lines = whole.toString("base64").match(/.{1,64}/g) as string[];
    return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
  }
}

// ---- DER, as much as is needed ----

function der(tag: number, ...contents: readonly Buffer[]): Buffer {
  const content = Buffer.concat(contents);
  const { length } = content;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}

const sequence = (...contents: readonly Buffer[]) => der(0x30, ...contents);
const objectId = (bytes: readonly number[]) => der(0x06, Buffer.from(bytes));
const time = (text: string) => der(0x18, Buffer.from(text, "ascii"));

function commonName(name: string): Buffer {
  return sequence(der(0x31, sequence(objectId([0x55, 0x04, 0x03]), der(0x0c, Buffer.from(name, "utf8")))));
}

function extension(id: readonly number[], value: Buffer, isCritical: boolean): Buffer {
  const critical = isCritical ? [der(0x01, Buffer.from([0xff]))] : [];
  return sequence(objectId(id), ...critical, der(0x04, value));
}
