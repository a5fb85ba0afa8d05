#!/usr/bin/env bash
# build.sh MACHINE…: recompra-MACHINE-linux-musl, static and stripped, with its .sha256 and a .tar.gz, in target/dist.
#
# Two builds of one commit give the same bytes: no path, no date and no user of this machine gets into them.
source "$(dirname "$0")/common.sh"
HERE=$(cd "$(dirname "$0")" && pwd)

# The date of everything packed: the commit's.
commit_date() { git -C "$ROOT" log -1 --format=%ct 2>/dev/null || echo 0; }

# Static, within its budget, and free of this machine's paths.
check() {
  local size kind
  kind=$(file -b "$BINARY")
  case $kind in *"statically linked"* | *"static-pie linked"*) ;; *) fail "$BINARY is not static: $kind" ;; esac
  case $kind in *", stripped"*) ;; *) fail "$BINARY is not stripped: $kind" ;; esac
  size=$(stat -c %s "$BINARY")
  [ "$size" -le "$MOST" ] || fail "$BINARY has $size bytes, more than $MOST: make size shows what is in it"
  # musl applies none of these: a call would come to the function that chooses, not to the chosen one.
  if readelf -rW "$BINARY" | grep -q IRELATIV; then fail "$BINARY has functions that are chosen when it is loaded"; fi
  for path in "$ROOT/" "$CACHE/" "${CARGO_HOME:-$HOME/.cargo}/"; do
    if grep -qaF "$path" "$BINARY"; then fail "$BINARY contains the path $path"; fi
  done
  say "$NAME: $size bytes of at most $MOST; $kind"
}

checksum() { (cd "$OUT" && sha256sum "$1" >"$1.sha256"); }

# The archive: the program and what a machine needs around it, the same bytes whoever packs it.
pack() {
  local folder=recompra-$NAME-linux-musl stage
  stage=$(mktemp -d "$OUT/stage.XXXXXX")
  install -D -m 755 "$BINARY" "$stage/$folder/recompra"
  install -D -m 755 "$ROOT/contrib/install.sh" "$stage/$folder/install.sh"
  install -m 644 "$ROOT/README.md" "$ROOT/README.pt-BR.md" "$ROOT/LICENSE" "$ROOT/contrib/recompra.1" "$stage/$folder"
  install -m 644 "$ROOT/src/config/example.toml" "$stage/$folder/recompra.toml"
  for part in systemd cron logrotate completions; do
    install -D -m 644 -t "$stage/$folder/$part" "$ROOT/contrib/$part"/*
  done
  tar -C "$stage" --sort=name --format=ustar --owner=0 --group=0 --numeric-owner --mtime="@$(commit_date)" \
    -cf - "$folder" | gzip -n -9 >"$OUT/$folder.tar.gz"
  rm -rf "$stage"
  checksum "$folder.tar.gz"
}

need file file
need git git
need readelf binutils
all_there
umask 022
mkdir -p "$OUT"
for name in "$@"; do
  machine "$name"
  "$HERE/compile.sh" "$NAME"
  install -m 755 "$OUT/build/$TRIPLE/release/recompra" "$BINARY"
  check
  checksum "$(basename "$BINARY")"
  pack
done
