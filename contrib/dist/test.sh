#!/usr/bin/env bash
# test.sh MACHINE…: runs the binaries of target/dist, each on the smallest processor it is for. Each trades three cycles of
# `paper`, and one cycle with `run` over TLS against `recompra exchange` on this machine, which the file of a private
# authority certifies; with the file of another authority it must refuse. Every step has a time limit, nothing is left.
source "$(dirname "$0")/common.sh"
CERTIFICATES=$ROOT/tests/tls
# No step takes longer, not even emulated on a busy machine.
PATIENCE=${PATIENCE:-240}

# Words before a command: it ends after that time, and with this script, however that ends.
LIMITED=(setpriv --pdeathsig TERM timeout --kill-after=10 "$PATIENCE" setpriv --pdeathsig KILL)

FOLDER=$(mktemp -d)
EXCHANGE=
end_exchange() {
  [ -n "$EXCHANGE" ] || return 0
  kill "$EXCHANGE" 2>/dev/null || true
  wait "$EXCHANGE" 2>/dev/null || true
  EXCHANGE=
}
clean_up() {
  end_exchange
  rm -rf "$FOLDER"
}
trap clean_up EXIT

# The exchange runs on this machine as it is: the binary that is for it.
serve() {
  machine "$(uname -m)"
  [ -x "$BINARY" ] || fail "$BINARY is not built: make dist-$NAME"
  "${LIMITED[@]}" "$BINARY" exchange --listen 127.0.0.1:0 --speed 600 --seed 5 --key test --secret test \
    --tls-cert "$CERTIFICATES/server.pem" --tls-key "$CERTIFICATES/server.key" >"$FOLDER/exchange" 2>&1 &
  EXCHANGE=$!
  for _ in $(seq 100); do
    ADDRESS=$(sed -n 's#^REST *https://##p' "$FOLDER/exchange")
    [ -z "$ADDRESS" ] || return 0
    kill -0 "$EXCHANGE" 2>/dev/null || fail "the exchange ended: $(cat "$FOLDER/exchange")"
    sleep 0.1
  done
  fail "the exchange does not answer: $(cat "$FOLDER/exchange")"
}

# configure CA-FILE
configure() {
  cat >"$FOLDER/recompra.toml" <<TOML
bot = "dist"
environment = "demo"
state_dir = "$FOLDER/state"
rest_url = "https://$ADDRESS"
stream_url = "wss://$ADDRESS/v5/private"
ca_file = "$CERTIFICATES/$1"
$(cat "$ROOT/tests/machine/quick.toml")
max_cycles = 1
TOML
}

paper() {
  "${LIMITED[@]}" "${EMULATE[@]}" "$BINARY" paper --cycles 3 --speed 600 --seed 6 >"$FOLDER/paper" 2>&1 ||
    fail "$NAME: paper ended with $?: $(tail -n 5 "$FOLDER/paper")"
  grep -q '^3 cycles in ' "$FOLDER/paper" || fail "$NAME: paper did not trade three cycles: $(tail -n 5 "$FOLDER/paper")"
}

over_tls() {
  local code=0
  export BYBIT_API_KEY=test BYBIT_API_SECRET=test
  rm -rf "$FOLDER/state"
  configure other-ca.pem
  "${LIMITED[@]}" "${EMULATE[@]}" "$BINARY" run --config "$FOLDER/recompra.toml" >"$FOLDER/refused" 2>&1 || code=$?
  [ "$code" = 69 ] && grep -q 'certificate' "$FOLDER/refused" ||
    fail "$NAME: a certificate of a foreign authority must end it with 69, not $code: $(tail -n 3 "$FOLDER/refused")"
  configure ca.pem
  "${LIMITED[@]}" "${EMULATE[@]}" "$BINARY" run --config "$FOLDER/recompra.toml" >"$FOLDER/run" 2>&1 ||
    fail "$NAME: run ended with $?: $(tail -n 5 "$FOLDER/run")"
  grep -q 'cycle 1 closed' "$FOLDER/run" || fail "$NAME: run did not close its cycle: $(tail -n 5 "$FOLDER/run")"
  "${LIMITED[@]}" "${EMULATE[@]}" "$BINARY" audit --config "$FOLDER/recompra.toml" >"$FOLDER/audit" 2>&1 ||
    fail "$NAME: the exchange's books differ: $(cat "$FOLDER/audit")"
}

need setpriv util-linux
for name in "$@"; do
  machine "$name"
  emulation
done
all_there
for name in "$@"; do
  # Each has an exchange of its own: a new bot on a used account would find another's orders.
  serve
  machine "$name"
  emulation
  [ -x "$BINARY" ] || fail "$BINARY is not built: make dist-$NAME"
  begin=$(date +%s)
  paper
  say "$NAME on ${CPU:-this machine}: three cycles of paper in $(($(date +%s) - begin)) s"
  begin=$(date +%s)
  over_tls
  say "$NAME on ${CPU:-this machine}: a cycle over TLS, and a foreign authority refused, in $(($(date +%s) - begin)) s"
  end_exchange
done
