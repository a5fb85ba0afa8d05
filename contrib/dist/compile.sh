#!/usr/bin/env bash
# compile.sh MACHINE: the program for this machine, in target/dist/build, with what that needs fetched and built before.
source "$(dirname "$0")/common.sh"
HERE=$(cd "$(dirname "$0")" && pwd)
machine "$1"
"$HERE/toolchain.sh" "$NAME"

upper=${TRIPLE//-/_}
upper=${upper^^}
std=()
ssl=$("$HERE/openssl.sh" "$NAME")
if ! rustup target list --installed 2>/dev/null | grep -qx "$TRIPLE"; then
  export RUSTC=$CACHE/bin/rustc
  # Without the part that prints backtraces: a stripped program has no names to print.
  std=(-Zbuild-std=std,panic_abort -Zbuild-std-features=optimize_for_size)
fi
cd "$ROOT"
export "CARGO_TARGET_${upper}_LINKER=$CACHE/bin/$NAME-gcc" "CC_${TRIPLE//-/_}=$CACHE/bin/$NAME-gcc"
export OPENSSL_STATIC=1 OPENSSL_DIR=$ssl CARGO_INCREMENTAL=0
# Cargo builds the library only where it may use what is not stable yet.
[ ${#std[@]} -eq 0 ] || export RUSTC_BOOTSTRAP=1
# A panic ends the process: nothing is ever unwound.
export RUSTFLAGS="-C link-self-contained=no -C target-feature=+crt-static -L native=$CACHE/lib/$NAME
  -C force-unwind-tables=no $RUST_FLAGS
  --remap-path-prefix=$ROOT=/recompra --remap-path-prefix=$OUT=/recompra/target
  --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo --remap-path-prefix=$CACHE=/toolchain"
small=()
for package in "${SMALL[@]}"; do small+=(--config "profile.release.package.$package.opt-level=\"s\""); done
cargo build --locked --release "${small[@]}" "${std[@]}" --target "$TRIPLE" --target-dir "$OUT/build"
