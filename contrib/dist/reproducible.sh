#!/usr/bin/env bash
# reproducible.sh MACHINE: builds the last commit twice, in two folders with caches of their own, and compares every byte.
source "$(dirname "$0")/common.sh"
machine "$1"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for place in first second/deeper; do
  git clone --quiet "$ROOT" "$folder/$place/source"
  say "$NAME in $folder/$place"
  RECOMPRA_DIST_CACHE=$folder/$place/cache RECOMPRA_DIST_OUT='' "$folder/$place/source/contrib/dist/build.sh" "$NAME"
done
for file in recompra-"$NAME"-linux-musl{,.tar.gz}; do
  cmp "$folder"/{first,second/deeper}/source/target/dist/"$file" || fail "$file differs"
  say "$file: $(sha256sum <"$folder/first/source/target/dist/$file" | cut -d' ' -f1), twice"
done
