#!/usr/bin/env bash
# delay.sh: how long a fill takes to become the next cycle's buy when the exchange is 250 ms away and back: at most
# `cycle_delay` and three round trips in the median, whether one rebuy is to be cancelled or eight; a fourth where a question was
# under way when the fill came. Both moments are the exchange's own.
# The fill is heard of half a round trip after it, the cancels leave together (one), the balance is asked for (one), and half
# a round trip later the buy arrives.
# And how long a start takes until the bot knows what the exchange knows: four round trips, to open connections (two), to ask
# for the time and the instrument, and to ask for orders and executions.
#
# Bot and exchange live in network namespaces of their own, joined by a link that holds each packet for half a round trip
# (link.py), and speak TLS. The market stands still at first, as it does in most minutes of life. Then it rises, so that each
# take profit is filled some seconds after its buy, when the rebuys below it rest.
source "$(dirname "$0")/kit.sh"
command -v ip >/dev/null || skip "there is no ip: apt-get install iproute2"
command -v python3 >/dev/null || skip "there is no python3: apt-get install python3"
[ -c /dev/net/tun ] || skip "this machine makes no network devices: there is no /dev/net/tun"
NETWORK=own in_namespaces

ROUND_TRIP=250
CYCLES=6
# So many round trips a start may take.
START=4
# So many rebuys a ladder has.
LADDER=8
# For so many seconds the market stands still. The bot asks for the time when nothing else was to be done for 20 s, on as many
# connections as there are rebuys: the first take profit is filled after it did so once, and before it does so again.
STILL=30
# What bot and exchange may need to compute, on a busy machine with a debug build, besides all that is waited for.
ALLOWANCE=75
HERE=10.77.0.1 THERE=10.77.0.2

is_linked() { grep -q ready "$FOLDER/link"; }
on_bots_side() { ip netns exec bot "$@"; }

# How long the bot's side waits for the refusal of a port on which nobody listens, in milliseconds; the best of five.
round_trip() {
  on_bots_side python3 -c "if True:
    import socket, time
    def knock():
        began = time.monotonic()
        socket.socket().connect_ex(('$THERE', 9))
        return time.monotonic() - began
    print(round(1000 * min(knock() for _ in range(5))))"
}

# The link, with the exchange's end in this namespace and the bot's in another one.
lay() {
  mount -t tmpfs none /run
  ip link set lo up
  ip netns add bot
  nice -n -10 python3 "$ROOT/tests/machine/link.py" $((ROUND_TRIP / 2)) there here >"$FOLDER/link" &
  PIDS+=($!)
  until_true 10 "the link is there" is_linked
  ip link set here netns bot
  ip address add $THERE peer $HERE dev there
  ip link set there up
  on_bots_side ip link set lo up
  on_bots_side ip address add $HERE peer $THERE dev here
  on_bots_side ip link set here up
  # The certificate is for `localhost`.
  echo "$THERE localhost" >"$FOLDER/hosts"
  mount --bind "$FOLDER/hosts" /etc/hosts
}

# A candle a minute, and each lasts a second. They stand still at first, and then rise by 0.08 % each, evenly.
candles() {
  awk -v still=$STILL 'BEGIN {
    print "timestamp,open,high,low,close,volume"
    for (price = 60000; minute < 300; minute++) {
      open = price; if (minute >= still) price *= 1.0008
      printf "%d,%.2f,%.2f,%.2f,%.2f,1\n", 1735689600 + minute * 60, open, price, open, price
    }
  }'
}

# with_exchange NAME LINE…: a folder, an exchange and a bot's configuration of this name.
with_exchange() {
  FOLDER=$FOLDER/$1
  mkdir "$FOLDER"
  LISTEN=$THERE serve --speed 60 --market "$MARKET" "${KEYS[@]}" \
    --tls-cert "$ROOT/tests/tls/server.pem" --tls-key "$ROOT/tests/tls/server.key"
  configure
  sed -i "s#http://$THERE#https://localhost#; s#ws://$THERE#wss://localhost#; 4i ca_file = \"$ROOT/tests/tls/ca.pem\"
    s#^max_rebuys = .*#max_rebuys = $LADDER#; s#^max_capital = .*#max_capital = \"500\"#; /^cycle_delay/d" "$CONFIG"
  printf '%s\n' "${@:2}" >>"$CONFIG"
}

# trade REBUYS DELAY: so many cycles, and what the exchange's books say about them.
trade() {
  with_exchange "$1-$2" "max_cycles = $CYCLES" "active_rebuys = $1" "cycle_delay = \"$2\""
  on_bots_side "$RECOMPRA" run --config "$CONFIG" >"$FOLDER/run" 2>&1 ||
    fail "$1 rebuys, $2: it ended with $?: $(tail -n 5 "$FOLDER/run")"
  python3 "$ROOT/tests/machine/books.py" "https://$ADDRESS" "$1" "${2%s}" $CYCLES $ROUND_TRIP $ALLOWANCE
}

# start WHICH: how long a start takes until the bot has compared its journal with the exchange, in milliseconds, in TOOK.
start() {
  local began line log=$FOLDER/$1
  began=$(date +%s%3N)
  on_bots_side "$RECOMPRA" run --config "$CONFIG" >"$log" 2>&1 &
  until_true 30 "$1 start: it reconciles" grep -q 'reconciled with the exchange' "$log"
  line=$(grep -m 1 'reconciled with the exchange' "$log")
  TOOK=$(($(date -d "${line%% *}" +%s%3N) - began))
  until_true 30 "$1 start: it trades" trades
  kill -TERM "$(cat "$STATE/lock")"
  wait $! || fail "$1 start: it ended with $?: $(tail -n 5 "$log")"
}
trades() { [ "$(records order_accepted)" -gt 0 ]; }

# The very first start has no limit: it asks week by week what an earlier bot of this name may have left. The exchange's
# TLS is 1.2, whose handshake is a round trip longer than that of Bybit's 1.3.
starts() {
  with_exchange starts 'cycle_delay = "0s"'
  start first
  printf '  the first: %5d ms\n' "$TOOK"
  local verdict=ok best=
  # The best of three: what a busy machine adds is no round trip.
  for which in second third fourth; do
    start $which
    [ -n "$best" ] && [ "$best" -le "$TOOK" ] || best=$TOOK
  done
  TOOK=$((best - ROUND_TRIP))
  [ "$TOOK" -le $((START * ROUND_TRIP + ALLOWANCE)) ] || verdict=LATE
  printf '  another:   %5d ms (%s round trips)  %s\n' "$TOOK" "$(awk "BEGIN { printf \"%.2f\", $TOOK / $ROUND_TRIP }")" "$verdict"
  [ "$verdict" = ok ]
}

own_folder
lay
MARKET=$FOLDER/candles.csv
candles >"$MARKET"
measured=$(round_trip)
[ "$measured" -ge $ROUND_TRIP ] && [ "$measured" -le $((ROUND_TRIP + 20)) ] || fail "the round trip is $measured ms, not $ROUND_TRIP"
say "round trip $measured ms"
declare -A cases
# aside NAME COMMAND…: runs it beside the others.
aside() {
  local name=$1
  shift
  "$@" >"$FOLDER/told-$name" 2>&1 &
  cases[$name]=$!
}
LATE=
tell() {
  wait "${cases[$1]}" || LATE=yes
  cat "$FOLDER/told-$1"
}
# Alone: milliseconds count there.
aside starts starts
say "from the start to the first reconciliation, less the round trip that TLS 1.2 costs:"
tell starts
for rebuys in 1 $LADDER; do
  for delay in 0s 1s; do
    aside "$rebuys-$delay" trade $rebuys $delay
  done
done
say "from the take profit's fill to the next market buy, at the exchange, less cycle_delay; $((CYCLES - 1)) cycles each:"
for name in 1-0s 1-1s $LADDER-0s $LADDER-1s; do tell $name; done
[ -z "$LATE" ] || fail "more than the round trips that are allowed and $ALLOWANCE ms, or no measurement: see above"
