#!/usr/bin/env bash
# board.sh: a board's first hour, as the README tells it, on an emulated ARMv7 with BusyBox and nothing else in it: unpack,
# install.sh, doctor, plan, the first cycle, then crond with the line of contrib/cron. Instead of Bybit's demo, which needs
# an account, an exchange of this machine is asked, by name and over TLS.
#
# Needs `make dist-armv7`, qemu-user-static, and a kernel whose namespaces have emulators of their own (6.7 or newer).
source "$(dirname "$0")/kit.sh"
MACHINE=armv7 CPU=cortex-a7
ARCHIVE=${RECOMPRA_DIST_OUT:-$ROOT/target/dist}/recompra-$MACHINE-linux-musl.tar.gz

# BusyBox for the board, from Debian.
busybox() {
  (
    source "$ROOT/contrib/dist/common.sh"
    source "$ROOT/contrib/dist/packages.sh"
    mkdir -p "$CACHE/root"
    unpack busybox-armhf busybox-static:armhf >&2
    echo "$CACHE/root/bin/busybox"
  )
}

# What an image for a small board holds: one program, its names, and a few lines below /etc.
furnish() {
  local board=$1
  mkdir -p "$board"/{bin,dev,etc,proc,tmp,root,usr/local/bin,var/spool/cron/crontabs,etc/recompra}
  cp "$(busybox)" "$board/bin/busybox"
  for name in sh tar gzip gunzip cp mv rm mkdir chmod sync uname dirname basename sed cat grep echo sleep crond ps kill; do
    ln -s busybox "$board/bin/$name"
  done
  echo 'root:x:0:0:root:/root:/bin/sh' >"$board/etc/passwd"
  echo '127.0.0.1 localhost exchange' >"$board/etc/hosts"
  cp "$ROOT/tests/tls/ca.pem" "$board/etc/recompra/ca.pem"
  cp "$ARCHIVE" "$board/root/recompra.tar.gz"
}

# What a person types.
first_hour() {
  cat <<SH
set -e
cd /root
gunzip -c recompra.tar.gz | tar -x
sh recompra-$MACHINE-linux-musl/install.sh
cp /root/recompra.toml /etc/recompra/recompra.toml
echo test >/etc/recompra/api_key; echo test >/etc/recompra/api_secret
chmod 600 /etc/recompra/api_*
cd /
echo '--- doctor'; recompra doctor --config /etc/recompra/recompra.toml
echo '--- plan'; recompra plan --config /etc/recompra/recompra.toml
echo '--- first cycle'; recompra run --config /etc/recompra/recompra.toml
sed '/max_cycles/d' /root/recompra.toml >/etc/recompra/recompra.toml
grep '^\* \* \* \* \* ' /root/recompra-$MACHINE-linux-musl/cron/recompra >/var/spool/cron/crontabs/root
echo '--- crond'; crond -b -L /root/crond.log -c /var/spool/cron/crontabs
SH
}

configure_board() {
  cat >"$BOARD/root/recompra.toml" <<TOML
bot = "board"
environment = "demo"
state_dir = "/root/state"
rest_url = "https://localhost:$PORT"
stream_url = "wss://localhost:$PORT/v5/private"
ca_file = "/etc/recompra/ca.pem"
api_key_file = "/etc/recompra/api_key"
api_secret_file = "/etc/recompra/api_secret"
$(cat "$ROOT/tests/machine/quick.toml")
max_cycles = 1
TOML
}

# An ARM program's first bytes, and who runs it: known in this namespace alone.
emulate() {
  local magic='\x7fELF\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x28\x00'
  local mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
  mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
  echo ":arm:M::$magic:$mask:$(command -v qemu-arm-static):FP" >/proc/sys/fs/binfmt_misc/register
}

namespace_of() { [ "$(readlink "/proc/$1/ns/user")" != "$(readlink /proc/self/ns/user)" ]; }

if [ -z "${ON_BOARD:-}" ]; then
  [ "$(id -u)" = 0 ] || skip "it makes a board's root: run it as root"
  [ -e "$ARCHIVE" ] || skip "there is no $ARCHIVE: make dist-$MACHINE"
  command -v qemu-arm-static >/dev/null || skip "there is no qemu-arm-static: apt-get install qemu-user-static"
  unshare --user --map-root-user --mount --pid --fork sh -c 'mount -t binfmt_misc none /proc/sys/fs/binfmt_misc' 2>/dev/null ||
    skip "this kernel has no emulators for namespaces"
  own_folder
  BOARD=$FOLDER/board
  furnish "$BOARD"
  serve --speed 60 --seed 5 "${KEYS[@]}" --tls-cert "$ROOT/tests/tls/server.pem" --tls-key "$ROOT/tests/tls/server.key"
  PORT=${ADDRESS##*:}
  configure_board
  first_hour >"$BOARD/root/first-hour.sh"
  export BOARD ON_BOARD=yes
  unshare --user --mount --pid --fork --kill-child timeout --kill-after=5 "${PATIENCE:-300}" "$0" &
  child=$!
  PIDS+=("$child")
  # Every user and group as it is: crond must be able to change to another, even if to root.
  until_true 10 "the namespace is there" namespace_of "$child"
  for map in uid_map gid_map; do echo 0 0 65536 >"/proc/$child/$map"; done
  wait "$child" || fail "the first hour went wrong"
  say "first hour on $MACHINE: installed, checked, planned, traded a cycle, and crond keeps it running"
  exit
fi

mapped() { grep -q . /proc/self/uid_map; }
until_true 10 "the namespace has users" mapped
emulate
mount --rbind /proc "$BOARD/proc"
mount --rbind /dev "$BOARD/dev"
chroot=$(command -v chroot)
env -i PATH=/usr/local/bin:/bin HOME=/root "QEMU_CPU=$CPU" "$chroot" "$BOARD" /bin/sh /root/first-hour.sh 2>&1 |
  tee "$BOARD/root/log"
grep -q 'cycle 1 closed' "$BOARD/root/log" || fail "no cycle was traded"
# crond starts it within a minute, and it trades on.
STATE=$BOARD/root/state
second() { [ "$(records started)" -gt 1 ] && [ "$(records cycle_closed)" -gt 1 ]; }
until_true 120 "crond starts the bot and it trades another cycle" second
