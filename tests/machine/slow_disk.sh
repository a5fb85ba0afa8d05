#!/usr/bin/env bash
# slow_disk.sh: a disk that needs two seconds for each sync, as a worn memory card may. Orders leave while it is syncing: a
# fill does not wait for the disk. And the exchange's books are right.
source "$(dirname "$0")/kit.sh"
command -v strace >/dev/null || skip "there is no strace: apt-get install strace"
strace -qq -o /dev/null -e inject=fdatasync:delay_enter=1 true 2>/dev/null || skip "this machine lets nobody slow its own programs down"

ORDERS=10

# How many orders left while a sync was under way, of which the trace tells.
orders_meanwhile() {
  awk '/fdatasync\(.*unfinished/ { syncing++ } /fdatasync resumed/ { syncing-- }
    /POST \/v5\/order\/create/ && syncing { orders++ } END { print orders + 0 }' "$FOLDER/trace"
}
enough() { [ "$(orders_meanwhile)" -ge $ORDERS ]; }

own_folder
serve --speed 600 --seed 3 "${KEYS[@]}"
configure
strace -f -qq -s 24 -e trace=fdatasync,sendto,write -e inject=fdatasync:delay_enter=2000000 -e signal=none \
  -o "$FOLDER/trace" "$RECOMPRA" run --config "$CONFIG" >"$FOLDER/run" 2>&1 &
BOT=$!
PIDS+=("$BOT")
until_true 90 "$ORDERS orders leave while the disk is syncing" enough
kill -TERM "$(cat "$STATE/lock")"
wait "$BOT" || fail "it ended with $?: $(tail -n 5 "$FOLDER/run")"
audit
say "$(orders_meanwhile) orders left while the disk was syncing; books right"
