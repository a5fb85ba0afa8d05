#!/usr/bin/env bash
# delay.sh: how long a fill takes to become the next cycle's buy when the exchange is 250 ms away and back: at most
# `cycle_delay` and three round trips, whether one rebuy is to be cancelled or three. Both moments are the exchange's own.
# And how long a start takes until the bot knows what the exchange knows: at most four round trips.
#
# Bot and exchange live in network namespaces of their own, joined by a link that holds each packet for half a round trip
# (link.py), and speak TLS. The market rises all the time, so that each take profit is filled a few seconds after its buy,
# when the rebuys below it rest.
source "$(dirname "$0")/kit.sh"
command -v ip >/dev/null || skip "there is no ip: apt-get install iproute2"
command -v python3 >/dev/null || skip "there is no python3: apt-get install python3"
[ -c /dev/net/tun ] || skip "this machine makes no network devices: there is no /dev/net/tun"
NETWORK=own in_namespaces

ROUND_TRIP=250
CYCLES=6
# What bot and exchange may need to compute, on a busy machine with a debug build, besides all that is waited for.
ALLOWANCE=50
HERE=10.77.0.1 THERE=10.77.0.2

is_linked() { grep -q ready "$FOLDER/link"; }
on_bots_side() { ip netns exec bot "$@"; }

# How long the bot's side waits for the refusal of a port on which nobody listens, in milliseconds.
round_trip() {
  on_bots_side python3 -c "if True:
    import socket, time
    began = time.monotonic()
    socket.socket().connect_ex(('$THERE', 9))
    print(round(1000 * (time.monotonic() - began)))"
}

# The link, with the exchange's end in this namespace and the bot's in another one.
lay() {
  mount -t tmpfs none /run
  ip link set lo up
  ip netns add bot
  python3 "$ROOT/tests/machine/link.py" $((ROUND_TRIP / 2)) there here >"$FOLDER/link" &
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

# A candle a minute that rises by 0.12 %, evenly.
rising() {
  awk 'BEGIN {
    print "timestamp,open,high,low,close,volume"
    for (price = 60000; minute < 300; minute++) {
      open = price; price *= 1.0012
      printf "%d,%.2f,%.2f,%.2f,%.2f,1\n", 1735689600 + minute * 60, open, price, open, price
    }
  }'
}

# trade REBUYS DELAY: so many cycles, and what the exchange's books say about them.
trade() {
  local rebuys=$1 delay=$2
  FOLDER=$FOLDER/$rebuys-$delay
  mkdir "$FOLDER"
  LISTEN=$THERE serve --speed 60 --market "$MARKET" "${KEYS[@]}" \
    --tls-cert "$ROOT/tests/tls/server.pem" --tls-key "$ROOT/tests/tls/server.key"
  configure "max_cycles = $CYCLES" "active_rebuys = $rebuys"
  sed -i "s#max_rebuys = 2#max_rebuys = 3#; s#max_capital = .*#max_capital = \"400\"#; s#cycle_delay = .*#cycle_delay = \"$delay\"#
    s#http://$THERE#https://localhost#; s#ws://$THERE#wss://localhost#; 4i ca_file = \"$ROOT/tests/tls/ca.pem\"" "$CONFIG"
  date +%s%3N >"$FOLDER/began"
  on_bots_side "$RECOMPRA" run --config "$CONFIG" >"$FOLDER/run" 2>&1 ||
    fail "$rebuys rebuys, $delay: it ended with $?: $(tail -n 5 "$FOLDER/run")"
  python3 "$ROOT/tests/machine/books.py" "https://$ADDRESS" "$rebuys" "${delay%s}" $CYCLES $ROUND_TRIP $ALLOWANCE
}

# From the process's start to the log's line about the first reconciliation, in milliseconds.
start_took() {
  local line
  line=$(grep -m 1 'INFO *reconciled with the exchange' "$1/run") || fail "it never reconciled: $(head "$1/run")"
  echo $(($(date -d "${line%% *}" +%s%3N) - $(cat "$1/began")))
}

own_folder
lay
MARKET=$FOLDER/rising.csv
rising >"$MARKET"
measured=$(round_trip)
[ "$measured" -ge $ROUND_TRIP ] && [ "$measured" -le $((ROUND_TRIP + 20)) ] || fail "the round trip is $measured ms, not $ROUND_TRIP"
say "round trip $measured ms"
declare -A cases
for rebuys in 1 3; do
  for delay in 0s 1s; do
    trade $rebuys $delay >"$FOLDER/case-$rebuys-$delay" 2>&1 &
    cases[$rebuys-$delay]=$!
  done
done
say "from the take profit's fill to the next market buy, at the exchange, less cycle_delay; $((CYCLES - 1)) cycles each:"
late=
for name in 1-0s 1-1s 3-0s 3-1s; do
  wait "${cases[$name]}" || late=yes
  cat "$FOLDER/case-$name"
done
slow=
for name in 1-0s 1-1s 3-0s 3-1s; do
  took=$(start_took "$FOLDER/$name")
  [ "$took" -le $((4 * ROUND_TRIP + ALLOWANCE)) ] || slow=yes
  say "from the start to reconciled, over TLS: $took ms"
done
[ -z "$slow" ] || fail "a start took more than 4 round trips and $ALLOWANCE ms"
[ -z "$late" ] || fail "more than 3 round trips and $ALLOWANCE ms, or no measurement: see above"
