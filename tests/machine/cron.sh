#!/usr/bin/env bash
# cron.sh: Debian's cron starts the bot each minute, as a user's crontab would, while somebody kills it. One instance runs,
# nothing is mailed, and the exchange's books are right. Takes up to four minutes, because cron knows no seconds.
#
# The kills stay below the five in a row after which the bot would wait before it starts again.
source "$(dirname "$0")/kit.sh"
command -v cron >/dev/null || skip "there is no cron: apt-get install cron"
in_namespaces

MINUTE=75
KILLS=

# A mail server that keeps everything, and folders in which no other crontab lies.
own_cron() {
  for folder in /etc/cron.d /var/spool/cron /run; do mount -t tmpfs none "$folder"; done
  mkdir -p /var/spool/cron/crontabs /run/upper /run/work
  mount -t overlay -o lowerdir=/usr/sbin,upperdir=/run/upper,workdir=/run/work none /usr/sbin
  printf '#!/bin/sh\ncat >>%s/mail\n' "$FOLDER" >/usr/sbin/sendmail
  chmod 755 /usr/sbin/sendmail
  : >/run/crontab && mount --bind /run/crontab /etc/crontab
}

# What was mailed, without the heads: a shell says "Killed" of each kill, as it should.
mailed() { sed -n '/^$/,/^From: /{/^$/d;/^From: /d;p}' "$FOLDER/mail" 2>/dev/null || true; }

running() { pgrep -f "^$FOLDER/recompra run" || true; }
is_running() { [ -n "$(running)" ]; }
is_another() { local pid; pid=$(cat "$STATE/lock" 2>/dev/null) && [ -n "$pid" ] && [ "$pid" != "$1" ] && kill -0 "$pid" 2>/dev/null; }
trades() { [ "$(records order_accepted)" -gt "$1" ]; }

# What cron starts beside a running bot ends at once.
alone() {
  local first second
  first=$(running)
  sleep 2
  second=$(running)
  [ "$(wc -w <<<"$first")" -le 2 ] && [ "$(wc -w <<<"$second")" = 1 ] || fail "not one instance: $first, then $second"
}

kill_it() {
  local pid
  pid=$(cat "$STATE/lock")
  alone
  kill -KILL "$pid"
  say "killed $pid after $(records order_accepted) orders, $(records cycle_closed) cycles"
  KILLS+=Killed$'\n'
  until_true $MINUTE "cron starts it again" is_another "$pid"
}

own_folder
own_cron
# A name of its own: no other bot of this machine is meant.
cp "$RECOMPRA" "$FOLDER/recompra"
serve --speed 60 --seed 3 "${KEYS[@]}"
configure
# The lines that contrib/cron tells to write, for this bot.
sed "s#/usr/local/bin/recompra #$FOLDER/recompra #; s#/etc/recompra/recompra.toml#$CONFIG#" \
  "$ROOT/contrib/cron/recompra" >"$FOLDER/crontab"
sed -i '/^@reboot/d' "$FOLDER/crontab"
crontab "$FOLDER/crontab"
cron -f &
until_true $MINUTE "cron starts it" is_running
until_true 20 "it trades" trades 1
kill_it
until_true 20 "it trades on" trades "$(records order_accepted)"
# The next minute comes while it runs.
first=$(cat "$STATE/lock")
sleep $((62 - 10#$(date +%S)))
[ "$(cat "$STATE/lock")" = "$first" ] || fail "cron put another in its place"
kill_it
until_true 20 "it trades on" trades "$(records order_accepted)"
alone
"$RECOMPRA" stop --config "$CONFIG" >"$FOLDER/stop"
! is_running || fail "it runs on after a stop"
audit
[ "$(mailed)" = "${KILLS%$'\n'}" ] || fail "cron mailed more than that it was killed: $(cat "$FOLDER/mail")"
say "two kills, $(records started) starts, $(records order_accepted) orders, $(records cycle_closed) cycles:"
say "one instance, no mail but that it was killed, and the exchange's books are right"
