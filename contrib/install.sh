#!/bin/sh
# install.sh [PREFIX]: installs or upgrades the program that lies beside this script, below /usr/local or PREFIX.
#
# The new program is written beside the old one, synced, tried, and only then given its name: whenever the power fails,
# the old one or the new one is there, whole. A running bot goes on with the old one until it is started again.
# Configuration, keys and state are never touched. Needs nothing but a POSIX shell; BusyBox will do.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
prefix=${1:-/usr/local}
say() { echo "install: $*"; }
fail() {
  echo "install: $*" >&2
  exit 1
}

# put FILE PLACE MODE: under its own name only when all of it is safe on the disk.
put() {
  mkdir -p "$(dirname "$2")" || fail "$(dirname "$2") cannot be made: run this as root, or name another folder"
  new=$(dirname "$2")/.$(basename "$2").new
  cp "$1" "$new" && chmod "$3" "$new" && sync || {
    rm -f "$new"
    fail "$2 cannot be written: run this as root, or make room; what was there is unchanged"
  }
  if [ "$3" = 755 ] && ! "$new" --version >/dev/null 2>&1; then
    rm -f "$new"
    fail "this program does not run on this machine ($(uname -m)): take the file for its processor; what was there is unchanged"
  fi
  mv -f "$new" "$2"
  sync
}

[ -f "$here/recompra" ] || fail "there is no program beside this script: unpack the whole archive"
before=$("$prefix/bin/recompra" --version 2>/dev/null || echo nothing)
put "$here/recompra" "$prefix/bin/recompra" 755
say "$prefix/bin/recompra: $("$prefix/bin/recompra" --version) (before: $before)"

put "$here/recompra.1" "$prefix/share/man/man1/recompra.1" 644
put "$here/completions/recompra.bash" "$prefix/share/bash-completion/completions/recompra" 644
put "$here/completions/_recompra" "$prefix/share/zsh/site-functions/_recompra" 644
put "$here/completions/recompra.fish" "$prefix/share/fish/vendor_completions.d/recompra.fish" 644
if [ -d /run/systemd/system ] && [ "$prefix" = /usr/local ]; then
  put "$here/systemd/recompra.service" /etc/systemd/system/recompra.service 644
  put "$here/systemd/recompra@.service" /etc/systemd/system/recompra@.service 644
  systemctl daemon-reload
  say "systemd: systemctl restart recompra (or recompra@NAME) lets a running bot go on with this version"
fi
say "under cron: stop a running bot with kill -TERM; its orders rest, and the next minute this version goes on"
