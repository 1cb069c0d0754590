#!/usr/bin/env bash
# Fills .cache/redis-server with the server that the tests run on: the one that this Debian packages.
# Nothing is installed and no root is needed: apt fetches the package, and what it needs beyond this machine, into a
# folder of its own, and they are unpacked there beside a small script that starts the server.
# Usage: scripts/get-redis-server.sh
set -euo pipefail
cd "$(dirname "$0")/.."
target=$PWD/.cache/redis-server

suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
mirror=$({ cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true; } |
  sed -nE '/^[[:space:]]*#/d; /security/d; s~^(URIs:|deb )[^#]*(https?://[^ ]*debian/?).*~\2~p' | sed -n 1p)
if [ -z "$mirror" ] || [ -z "$suite" ]; then
  echo "no Debian mirror among this machine's apt sources: put a redis-server (7.0 or newer) on PATH, or set REDIS_SERVER" >&2
  exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
mkdir -p "$work/lists/partial" "$work/archives/partial"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$work/sources.list"
# As if no redis were installed, so that all of it is fetched.
awk -v RS= -v ORS='\n\n' '!/^Package: (redis|liblzf|libjemalloc)/' /var/lib/dpkg/status >"$work/status"
apt=(apt-get -qq -y
  -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null -o Dir::State::status="$work/status"
  -o Dir::State::Lists="$work/lists" -o Dir::Cache::Archives="$work/archives" -o Dir::Cache="$work"
  -o Debug::NoLocking=1 -o APT::Sandbox::User="$(id -un)")
{ "${apt[@]}" update && "${apt[@]}" --no-install-recommends --download-only install redis-server; } >"$work/log" 2>&1 || {
  cat "$work/log" >&2
  exit 1
}
for package in "$work"/archives/*.deb; do dpkg-deb -x "$package" "$work/root"; done
libraries=$(cd "$work/root" && find . -name '*.so*' -printf '%h\n' | sort -u | sed 's~^\.~$here/root~' | paste -sd: -)
cat >"$work/redis-server" <<SCRIPT
#!/bin/sh
here=\$(dirname "\$0")
LD_LIBRARY_PATH="$libraries\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}" exec "\$here/root/usr/bin/redis-server" "\$@"
SCRIPT
chmod 755 "$work/redis-server"
mkdir "$work/unpacked" && mv "$work/root" "$work/redis-server" "$work/unpacked/"
version=$("$work/unpacked/redis-server" --version | sed -E 's/.*v=([0-9.]+).*/\1/')
mkdir -p "$target"
# Not in place: a server that runs from there keeps its files.
if [ ! -e "$target/$version" ]; then mv "$work/unpacked" "$target/$version"; fi
echo "$target/$version/redis-server"
