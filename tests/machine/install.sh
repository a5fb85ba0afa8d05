#!/usr/bin/env bash
# install.sh: contrib/install.sh leaves an edited unit alone and says so; killed at random moments of an upgrade, leaves the old program or the new one, whole; a
# program that does not run here replaces nothing.
source "$(dirname "$0")/kit.sh"
KILLS=${KILLS:-40}
own_folder

# version TEXT: an archive's folder whose program says TEXT, long enough that copying takes a while.
version() {
  local folder=$FOLDER/$1
  mkdir -p "$folder/completions" "$folder/systemd"
  cp "$ROOT"/contrib/systemd/* "$folder/systemd/"
  cp "$ROOT/contrib/install.sh" "$ROOT/contrib/recompra.1" "$folder"
  cp "$ROOT"/contrib/completions/* "$folder/completions/"
  { printf '#!/bin/sh\necho "recompra %s"\nexit\n' "$1"; head -c 20000000 /dev/zero; } >"$folder/recompra"
  chmod +x "$folder/recompra"
}
version old
version new
prefix=$FOLDER/usr
sum() { sha256sum <"$1"; }
export ETC=$FOLDER/etc
edited=$ETC/systemd/system/recompra.service
mkdir -p "$(dirname "$edited")"
sed 's/ run / run --real-money /' "$ROOT/contrib/systemd/recompra.service" >"$edited"
before=$(sum "$edited")
sh "$FOLDER/old/install.sh" "$prefix" >"$FOLDER/said"
[ "$(sum "$edited")" = "$before" ] || fail "an edited unit was overwritten"
grep -q "$edited is kept" "$FOLDER/said" || fail "an edited unit was not spoken of: $(cat "$FOLDER/said")"
cmp -s "$ROOT/contrib/systemd/recompra.service" "$prefix/lib/systemd/system/recompra.service" || fail "the unit is not installed"
killed=0
for ((kill = 0; kill < KILLS; kill++)); do
  setsid sh "$FOLDER/new/install.sh" "$prefix" >/dev/null 2>&1 &
  pid=$!
  sleep "0.0$((RANDOM % 90 + 10))"
  kill -KILL -- "-$pid" 2>/dev/null && killed=$((killed + 1))
  wait "$pid" 2>/dev/null || true
  found=$(sum "$prefix/bin/recompra")
  [ "$found" = "$(sum "$FOLDER/old/recompra")" ] || [ "$found" = "$(sum "$FOLDER/new/recompra")" ] ||
    fail "half a program after kill $kill"
  "$prefix/bin/recompra" | grep -qE '^recompra (old|new)$' || fail "it does not run after kill $kill"
  cp "$FOLDER/old/recompra" "$FOLDER/again" && mv "$FOLDER/again" "$prefix/bin/recompra"
done
[ "$killed" -gt 0 ] || fail "nothing was killed in time"
sh "$FOLDER/new/install.sh" "$prefix" >"$FOLDER/said"
grep -q 'recompra new (before: recompra old)' "$FOLDER/said" || fail "$(cat "$FOLDER/said")"

printf '\177ELF of another processor' >"$FOLDER/old/recompra"
! sh "$FOLDER/old/install.sh" "$prefix" >"$FOLDER/said" 2>&1 || fail "a program that does not run was installed"
grep -q 'does not run on this machine' "$FOLDER/said" || fail "$(cat "$FOLDER/said")"
[ "$("$prefix/bin/recompra")" = "recompra new" ] || fail "the program that ran is gone"
say "$killed kills: always the old program or the new one; one for another processor is refused"
