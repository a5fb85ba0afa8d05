#!/usr/bin/env bash
# units.sh: systemd understands the units of contrib, and rates what they leave open at no more than 1.5 of 10.
source "$(dirname "$0")/kit.sh"
command -v systemd-analyze >/dev/null || skip "there is no systemd-analyze: apt-get install systemd"
own_folder
mkdir -p "$FOLDER/etc/systemd/system" "$FOLDER/usr/local/bin"
cp "$ROOT"/contrib/systemd/* "$FOLDER/etc/systemd/system/"
printf '#!/bin/sh\n' >"$FOLDER/usr/local/bin/recompra" && chmod +x "$FOLDER/usr/local/bin/recompra"
cp "$FOLDER/etc/systemd/system/recompra@.service" "$FOLDER/etc/systemd/system/recompra@btc.service"
for unit in recompra.service recompra@btc.service; do
  systemd-analyze security --offline=true --threshold=15 --no-pager --root="$FOLDER" "$unit" >"$FOLDER/rating" 2>&1 ||
    fail "$unit: $(grep -E '✗|Overall' "$FOLDER/rating")"
  say "$unit: $(tail -n 1 "$FOLDER/rating")"
done
# Words that systemd does not know would be passed over in silence when the unit runs.
systemd-analyze verify --man=no "$ROOT"/contrib/systemd/recompra.service >"$FOLDER/verify" 2>&1 || true
! grep -E 'Unknown|Invalid|Failed to parse' "$FOLDER/verify" || fail "see above"
