#!/usr/bin/env bash
# poor_board.sh: 64 MB of memory for the bot, a root that cannot be written, and a state directory of 1 MB that fills up
# while it trades and once before it starts. It says what is wrong, sends nothing that it cannot write down, goes on when
# there is room again, and the exchange's books are right.
source "$(dirname "$0")/kit.sh"
in_namespaces

own_folder
undo() {
  rmdir "${GROUP:-$FOLDER/none}" 2>/dev/null || true
  umount -l "$FOLDER"/* "$FOLDER" 2>/dev/null || true
  mount -o remount,bind,rw / 2>/dev/null || true
}
mount -t tmpfs none "$FOLDER"
STATE=$FOLDER/state
mkdir "$STATE" && mount -t tmpfs -o size=1m none "$STATE"
mount -o remount,bind,ro / 2>/dev/null || skip "this machine does not let a test write-protect its root"
touch "$ROOT/written" 2>/dev/null && fail "the root can still be written"

# A control group of 64 MB, of the new kind or the old; else so much address space, which only a static program is content
# with.
BOARD=(prlimit --as=67108864)
GROUPS_AT=$FOLDER/groups
PEAK=/dev/null
mkdir "$GROUPS_AT"
# limited KIND LIMIT PEAK: makes the group if this machine has that kind.
limited() {
  # shellcheck disable=SC2086
  mount -t $1 none "$GROUPS_AT" 2>/dev/null || return 1
  GROUP=$GROUPS_AT/recompra-test-$RANDOM
  if mkdir "$GROUP" 2>/dev/null && [ -e "$GROUP/$2" ] && echo $((64 << 20)) >"$GROUP/$2"; then
    # shellcheck disable=SC2016
    BOARD=(sh -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$GROUP") PEAK=$GROUP/$3
    return
  fi
  rmdir "$GROUP" 2>/dev/null
  umount "$GROUPS_AT"
  return 1
}
limited cgroup2 memory.max memory.peak || limited 'cgroup -o memory' memory.limit_in_bytes memory.max_usage_in_bytes ||
  say "no control groups here: 64 MB of address space instead"

start() {
  "${BOARD[@]}" "$RECOMPRA" run --config "$CONFIG" >"$FOLDER/run" 2>&1 &
  BOT=$!
  PIDS+=("$BOT")
}
end() {
  kill -TERM "$BOT"
  wait "$BOT" || fail "it ended with $?: $(tail -n 5 "$FOLDER/run")"
}
fill() { dd if=/dev/zero of="$STATE/filler" bs=4k 2>/dev/null || true; }
trades() { [ "$(records order_accepted)" -gt "$1" ]; }
says() { grep -q "$1" "$FOLDER/run"; }

serve --speed 60 --seed 3 "${KEYS[@]}"
configure
start
until_true 30 "it trades" trades 3
fill
until_true 60 "it says that the disk is full" says 'No space left on device.*nothing is sent until it can be written'
sleep 3
kill -0 "$BOT" || fail "it ended on a full disk: $(tail -n 5 "$FOLDER/run")"
"$RECOMPRA" status --config "$CONFIG" >"$FOLDER/status" || fail "the journal cannot be read on a full disk"
rm "$STATE/filler"
until_true 60 "it says that it can write again" says 'the journal can be written again'
until_true 60 "it trades on" trades "$(records order_accepted)"
end
audit
say "a disk that filled up: told, waited, went on; books right"

fill
start
until_true 60 "a start says that the disk is full" says 'No space left on device'
sleep 2
if kill -0 "$BOT" 2>/dev/null; then
  rm "$STATE/filler"
else
  wait "$BOT" && fail "it ended with 0 on a full disk" || code=$?
  [ "$code" = 74 ] || fail "it ended with $code on a full disk, not with 74"
  rm "$STATE/filler"
  start
fi
until_true 60 "it trades" trades "$(records order_accepted)"
end
audit
say "a full disk at the start: told, and traded when there was room; books right"
peak=$(cat "$PEAK")
[ -z "$peak" ] || say "most memory at once: $((peak / 1024)) KiB of 65536, what it read and wrote included"
