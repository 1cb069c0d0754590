/**
 * Every optional dependency of the lock file must have an entry of its own, or `npm ci` refuses the lock on all other
 * platforms. `npm install` drops those that its registry does not carry; `--write` puts them back.
 */
import { readFileSync, writeFileSync } from "node:fs";

const file = new URL("../package-lock.json", import.meta.url);
const lock = JSON.parse(readFileSync(file, "utf8"));
const missing = [];
for (const [path, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const places = [`node_modules/${name}`, `${path}/node_modules/${name}`];
    if (places.some((place) => place in lock.packages)) continue;
    missing.push(name);
    lock.packages[`node_modules/${name}`] = platformEntry(name, version, entry.dev === true);
  }
}

/** The name says for which platform it is; the version is exact, as platform packages are always asked for. */
function platformEntry(name, version, dev) {
  const words = name.split(/[-/]/);
  const os = words.filter((word) => ["android", "darwin", "freebsd", "linux", "win32"].includes(word));
  const cpu = words.filter((word) => ["arm", "arm64", "ia32", "x64"].includes(word));
  return {
    version: version.replace(/^[\^~]/, ""),
    ...(cpu.length > 0 && { cpu }),
    ...(dev && { dev }),
    ...(words.includes("musl") && { libc: ["musl"] }),
    optional: true,
    ...(os.length > 0 && { os }),
  };
}

if (missing.length > 0 && process.argv.includes("--write")) {
  lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1)));
  writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
  console.log(`check-lock: added ${missing.length} entries`);
} else if (missing.length > 0) {
  console.error(`check-lock: no entry for ${missing.join(", ")}: run node scripts/check-lock.mjs --write`);
  process.exitCode = 1;
} else {
  console.log("check-lock: every optional dependency has its entry");
}
