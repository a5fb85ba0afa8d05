#!/bin/sh
# install.sh [PREFIX]: installs or upgrades the program that lies beside this script, below /usr/local or PREFIX.
#
# The new program is written beside the old one, synced, tried, and only then given its name: whenever the power fails,
# the old one or the new one is there, whole. A running bot goes on with the old one until it is started again.
# Configuration, keys and state are never touched, and nothing below /etc: the units lie where systemd looks second, and yours,
# or a drop-in (systemctl edit recompra), stand before them. Needs nothing but a POSIX shell; BusyBox will do.
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
for unit in recompra.service recompra@.service; do
  put "$here/systemd/$unit" "$prefix/lib/systemd/system/$unit" 644
  own=${ETC:-/etc}/systemd/system/$unit
  if [ -f "$own" ] && ! cmp -s "$own" "$here/systemd/$unit"; then
    say "$own is kept as it is, and stands before the new $prefix/lib/systemd/system/$unit: compare the two. Changes of your own"
    say "  outlive upgrades in a drop-in (systemctl edit $unit); then that file can go"
  fi
done
if [ -d /run/systemd/system ] && [ "$prefix" = /usr/local ]; then
  systemctl daemon-reload
  say "systemd: systemctl restart recompra (or recompra@NAME) lets a running bot go on with this version"
fi
say "under cron: stop a running bot with kill -TERM; its orders rest, and the next minute this version goes on"
