#!/usr/bin/env bash
# table.sh: a table of what lies in target/dist, as the README shows it: size, archive, start, memory. A start is `plan`
# with a price, the quickest of seven, in milliseconds; under an emulator, which says little about a real board, in brackets.
source "$(dirname "$0")/common.sh"
echo '| binary | bytes | archive | start | memory trading paper |'
echo '|---|---|---|---|---|'
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp "$ROOT/src/config/example.toml" "$folder/recompra.toml"
for name in "${MACHINES[@]}"; do
  machine "$name"
  [ -x "$BINARY" ] || continue
  emulation
  all_there
  best=
  for _ in 1 2 3 4 5 6 7; do
    begin=$(date +%s%N)
    "${EMULATE[@]}" "$BINARY" plan --price 60000 --config "$folder/recompra.toml" >/dev/null
    took=$((($(date +%s%N) - begin) / 10000))
    [ -n "$best" ] && [ "$best" -le "$took" ] || best=$took
  done
  start=$(printf '%d.%02d ms' $((best / 100)) $((best % 100)))
  memory=
  if [ ${#EMULATE[@]} -gt 0 ]; then
    start="($start, $CPU)"
  else
    "$BINARY" paper --cycles 1 --speed 1 >/dev/null 2>&1 &
    pid=$!
    sleep 2
    memory="$(awk '/VmRSS/ { print $2 }' "/proc/$pid/status") KiB"
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null || true
  fi
  echo "| \`$(basename "$BINARY")\` | $(stat -c %s "$BINARY") | $(stat -c %s "$BINARY.tar.gz" 2>/dev/null || true) | $start | $memory |"
done
