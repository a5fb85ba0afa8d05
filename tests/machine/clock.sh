#!/usr/bin/env bash
# clock.sh: a bot on a machine whose clock says 1970, against an exchange whose certificate is from later. It says so and
# waits; when the clock is set it trades, and every event has the exchange's date. Then the same bot with an exchange of
# the year 2040: BOT may name another program to try, for example one for 32 bits under its emulator.
#
# The clocks are libfaketime's, so the first bot must be a dynamic binary: BOT may be static, RECOMPRA not.
source "$(dirname "$0")/kit.sh"
command -v faketime >/dev/null || skip "there is no faketime: apt-get install faketime"
ldd "$RECOMPRA" >/dev/null 2>&1 || skip "$RECOMPRA is static: no library can change its clock"
read -ra BOT <<<"${BOT:-$RECOMPRA}"

own_folder

LIBRARY=$(faketime -m -f '+0' printenv LD_PRELOAD)
# by_clock SETTING… COMMAND…: in place of this shell, a program whose wall clock is libfaketime's.
by_clock() { exec env LD_PRELOAD="$LIBRARY" FAKETIME_DONT_FAKE_MONOTONIC=1 "$@"; }

# over_tls YEAR-MONTH-DAY: an exchange at that date.
over_tls() {
  local certificates=$ROOT/tests/tls
  rm -f "$FOLDER/exchange"
  by_clock FAKETIME="@$1 00:00:00" "$RECOMPRA" exchange --listen 127.0.0.1:0 --speed 600 --seed 5 "${KEYS[@]}" \
    --tls-cert "$certificates/server.pem" --tls-key "$certificates/server.key" >"$FOLDER/exchange" 2>&1 &
  PIDS+=($!)
  until_true 20 "the exchange answers" grep -q '^REST' "$FOLDER/exchange"
  ADDRESS=$(sed -n 's#^REST *https://##p' "$FOLDER/exchange")
  STATE=$FOLDER/state-$1
  configure 'max_cycles = 1'
  sed -i "s#http://#https://#; s#ws://#wss://#; 4i ca_file = \"$certificates/ca.pem\"" "$CONFIG"
}

# dates YEAR: every event is of that year.
dates() {
  local first last
  first=$(date -ud "$1-01-01" +%s)000
  last=$(date -ud "$(($1 + 1))-01-01" +%s)000
  while read -r time; do
    [ "$time" -ge "$first" ] && [ "$time" -lt "$last" ] || fail "an event has the date $time, not one of $1"
  done < <(grep -o '"time":[0-9]*' "$STATE/journal.jsonl" | cut -d: -f2)
}

over_tls "$(($(date +%Y) + 1))-01-02"
# The clock stands in a file, so that it can be set while the bot waits.
echo '@1970-01-01 00:10:00' >"$FOLDER/clock"
by_clock FAKETIME_TIMESTAMP_FILE="$FOLDER/clock" FAKETIME_NO_CACHE=1 \
  "$RECOMPRA" run --config "$CONFIG" >"$FOLDER/run" 2>&1 &
bot=$!
PIDS+=("$bot")
until_true 30 "it says that the clock is not set" grep -q "clock says 1970.*waiting until it is set" "$FOLDER/run"
sleep 5
kill -0 "$bot" 2>/dev/null || fail "it did not wait: $(cat "$FOLDER/run")"
[ ! -s "$STATE/journal.jsonl" ] || fail "it wrote something down: $(cat "$STATE/journal.jsonl")"
# Somebody sets the clock, roughly.
echo "@$(($(date +%Y) + 1))-01-01 12:00:00" >"$FOLDER/clock"
wait "$bot" || fail "it ended with $?: $(tail -n 5 "$FOLDER/run")"
grep -q "the exchange's counts here" "$FOLDER/run" || fail "it did not say that the clock is off: $(cat "$FOLDER/run")"
dates "$(($(date +%Y) + 1))"
audit
say "a clock of 1970: waited, then traded a cycle by the exchange's time"

over_tls 2040-06-01
timeout 240 "${BOT[@]}" run --config "$CONFIG" >"$FOLDER/run" 2>&1 || fail "2040: it ended with $?: $(tail -n 5 "$FOLDER/run")"
dates 2040
"${BOT[@]}" audit --opening USDT=100000 --config "$CONFIG" >"$FOLDER/audit" 2>&1 || fail "2040: $(cat "$FOLDER/audit")"
say "an exchange of 2040: a cycle traded and booked by ${BOT[*]}"
