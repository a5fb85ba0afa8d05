#!/usr/bin/env bash
# size.sh MACHINE: what is in its binary, by crate, from the symbols of one that is not stripped; OpenSSL and musl by library.
source "$(dirname "$0")/common.sh"
HERE=$(cd "$(dirname "$0")" && pwd)
machine "$1"
CARGO_PROFILE_RELEASE_STRIP=none "$HERE/compile.sh" "$NAME" >&2
program=$OUT/build/$TRIPLE/release/recompra
symbols=$(mktemp)
trap 'rm -f "$symbols"' EXIT

# LIBRARY NAME: which symbols come from which of the C libraries.
libraries() {
  local library
  for library in "$("$HERE/openssl.sh" "$NAME")"/lib/lib{ssl,crypto}.a "$CACHE/root/usr/lib/$MUSL/libc.a"; do
    "$GCC-nm" --defined-only "$library" 2>/dev/null | awk -v of="$(basename "$library" .a)" 'NF == 3 { print of, $3 }'
  done
}

# Symbols of Rust are named after the crate that they were made for; constants without a name are counted apart.
libraries >"$symbols"
say "$NAME: $(stat -c %s "$program") bytes with symbols; bytes by crate or library:"
paste -d' ' <("$GCC-nm" --size-sort -S -t d "$program" | awk '{ print $2, $3, $4 }') \
  <("$GCC-nm" --size-sort -S -t d -C "$program" | cut -d' ' -f4-) |
  awk -v table="$symbols" '
    BEGIN { while ((getline line < table) > 0) { split(line, part, " "); library[part[2]] = part[1] } }
    $2 ~ /^[bB]$/ { next }
    {
      raw = $3
      name = substr($0, index($0, raw) + length(raw) + 1)
      if (raw in library) of = library[raw]
      else if (match(name, /[A-Za-z_][A-Za-z_0-9]*::/)) of = substr(name, RSTART, RLENGTH - 2)
      else of = "(constants and the like)"
      bytes[of] += $1; all += $1
    }
    END { for (of in bytes) printf "%9d  %s\n", bytes[of], of | "sort -rn | head -n 30"; close("sort -rn | head -n 30")
          printf "%9d  together\n", all }'
