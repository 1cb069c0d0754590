#!/usr/bin/env bash
# Fills .cache/nats-server with the servers that the tests run on: the oldest and the newest that Debian packages.
# Nothing is installed and no root is needed: apt fetches the packages into a folder of its own, and they are unpacked.
# Usage: scripts/get-nats-server.sh [SUITE ...]        (default: trixie sid)
set -euo pipefail
cd "$(dirname "$0")/.."
target=$PWD/.cache/nats-server
suites=("$@")
[ ${#suites[@]} -gt 0 ] || suites=(trixie sid)

mirror=$({ cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true; } |
  sed -nE '/^[[:space:]]*#/d; /security/d; s~^(URIs:|deb )[^#]*(https?://[^ ]*debian/?).*~\2~p' | sed -n 1p)
if [ -z "$mirror" ]; then
  echo "no Debian mirror among this machine's apt sources: put a nats-server (2.10 or newer) on PATH, or set NATS_SERVER" >&2
  exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

fetch() { # SUITE TRUST
  local root=$work/$1
  mkdir -p "$root/lists/partial" "$root/archives/partial"
  echo "deb $2 $mirror $1 main" >"$root/sources.list"
  local apt=(apt-get -qq
    -o Dir::Etc::SourceList="$root/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o Dir::State::Lists="$root/lists" -o Dir::Cache::Archives="$root/archives" -o Dir::Cache="$root"
    -o APT::Sandbox::User="$(id -un)")
  "${apt[@]}" update && (cd "$root" && "${apt[@]}" download nats-server)
}

for suite in "${suites[@]}"; do
  # An older machine lacks the key of a newer suite; then the package is checked against the index alone.
  fetch "$suite" "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]" >"$work/log" 2>&1 ||
    fetch "$suite" "[trusted=yes]" >>"$work/log" 2>&1 || {
    cat "$work/log" >&2
    exit 1
  }
  dpkg-deb -x "$work/$suite"/nats-server_*.deb "$work/$suite/root"
  binary=$(find "$work/$suite/root" -type f -name nats-server -perm -u+x | head -n 1)
  version=$("$binary" --version | sed -E 's/.*v([0-9.]+).*/\1/')
  mkdir -p "$target/$version"
  # Not in place: a server that runs from there keeps its file.
  cp "$binary" "$target/$version/.new" && mv "$target/$version/.new" "$target/$version/nats-server"
  echo "$target/$version/nats-server"
done
