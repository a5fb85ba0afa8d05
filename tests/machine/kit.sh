# What the tests of this folder share: a folder of their own, an exchange, and words for what went wrong. Sourced.
#
# These tests need a machine, not only a process: cron, a small disk, little memory. Each runs in namespaces of its own
# where it changes anything, so that the machine is afterwards as it was, and nothing is left running.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
TEST=$(basename "$0" .sh)
# The program under test.
RECOMPRA=${RECOMPRA:-$ROOT/target/debug/recompra}

say() { printf '%s: %s\n' "$TEST" "$*"; }
fail() {
  printf '%s: FAILED: %s\n' "$TEST" "$*" >&2
  exit 1
}
# Nobody must take it for a success.
skip() {
  printf '%s: SKIPPED, nothing was tested: %s\n' "$TEST" "$*" >&2
  exit 0
}

[ -x "$RECOMPRA" ] || fail "$RECOMPRA is not there: make build, or name another by RECOMPRA"

# in_namespaces "$@": runs this script again, alone with its mounts and processes, and if NETWORK is set with its network;
# the last of them die with it.
in_namespaces() {
  [ -z "${IN_NAMESPACES:-}" ] || return 0
  [ "$(id -u)" = 0 ] || skip "it mounts file systems: run it as root"
  local alone=(unshare --mount --pid --fork --mount-proc --kill-child ${NETWORK:+--net})
  "${alone[@]}" true 2>/dev/null || skip "this machine allows no namespaces"
  IN_NAMESPACES=yes exec "${alone[@]}" "$0" "$@"
}

# A folder of this test's own. At the end what runs is ended, `undo` may take back what the test did to the machine's view,
# and the folder is removed.
own_folder() {
  FOLDER=$(mktemp -d "${TMPDIR:-/tmp}/recompra-$TEST.XXXXXX")
  PIDS=()
  trap clean_up EXIT
}
undo() { :; }
clean_up() {
  [ ${#PIDS[@]} -eq 0 ] || kill "${PIDS[@]}" 2>/dev/null || true
  undo
  rm -rf "$FOLDER"
}

# serve OPTION…: an exchange on loopback, or at LISTEN, at ADDRESS.
serve() {
  "$RECOMPRA" exchange --listen "${LISTEN:-127.0.0.1}:0" "$@" >"$FOLDER/exchange" 2>&1 &
  PIDS+=($!)
  until_true 20 "the exchange answers" grep -q '^REST' "$FOLDER/exchange"
  ADDRESS=$(sed -nE 's#^REST *https?://##p' "$FOLDER/exchange")
}

# until_true SECONDS WHAT COMMAND…
until_true() {
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" 2>/dev/null; do
    [ "$SECONDS" -lt "$end" ] || fail "$what: not in time"
    sleep 0.1
  done
}

# configure [LINE…]: a configuration for that exchange, with state in STATE.
configure() {
  STATE=${STATE:-$FOLDER/state}
  printf 'test' >"$FOLDER/key"
  chmod 600 "$FOLDER/key"
  CONFIG=$FOLDER/recompra.toml
  cat >"$CONFIG" <<TOML
bot = "test"
environment = "demo"
state_dir = "$STATE"
rest_url = "http://$ADDRESS"
stream_url = "ws://$ADDRESS/v5/private"
api_key_file = "$FOLDER/key"
api_secret_file = "$FOLDER/key"
$(cat "$ROOT/tests/machine/quick.toml")
TOML
  printf '%s\n' "$@" >>"$CONFIG"
}
KEYS=(--key test --secret test)

# The books: journal against exchange, to the last digit.
audit() {
  "$RECOMPRA" audit --opening USDT=100000 --config "$CONFIG" >"$FOLDER/audit" 2>&1 ||
    fail "the exchange's books differ: $(cat "$FOLDER/audit")"
}
records() { grep -o "\"type\":\"$1\"" "$STATE/journal.jsonl" 2>/dev/null | wc -l; }
