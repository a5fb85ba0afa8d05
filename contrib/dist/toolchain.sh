#!/usr/bin/env bash
# toolchain.sh MACHINE…: what compiles for these machines, in the cache. Writes nothing outside it and needs no root.
#
# Two routes to Rust's standard library for a musl target:
# - rustup has the target installed: then it is used as it is;
# - else Debian's `rustc-web` with its exactly matching sources, `rust-web-src`, of which Cargo builds the library.
# On both the C side is Debian's: its musl of that architecture, and its cross gcc, which must be installed.
source "$(dirname "$0")/common.sh"
source "$(dirname "$0")/packages.sh"
HERE=$(cd "$(dirname "$0")" && pwd)

# From so much on a Debian compiler is new enough.
OLDEST_RUST=1.89

rustup_has() { rustup target list --installed 2>/dev/null | grep -qx "$1"; }

# Compiler, library sources and LLVM must be of one version: they are asked for by it.
fetch_rust() {
  [ -e "$CACHE/root/.rust" ] && return
  own_apt
  local version minor llvm here
  version=$(apt-cache policy rustc-web | awk '/Candidate:/ { print $2 }')
  [ -n "$version" ] && [ "$version" != "(none)" ] ||
    fail "this Debian has no rustc-web: install the target with rustup: rustup target add $TRIPLE"
  dpkg --compare-versions "$version" ge "$OLDEST_RUST" ||
    fail "rustc-web $version is older than $OLDEST_RUST: install the target with rustup: rustup target add $TRIPLE"
  minor=$(cut -d. -f1,2 <<<"$version")
  llvm=$(apt-cache depends "libstd-rust-web-$minor=$version" | awk '/libllvm/ { print $2; exit }')
  here=$(dpkg --print-architecture)
  unpack rust "rustc-web=$version" "libstd-rust-web-$minor=$version" "libstd-rust-web-dev=$version" \
    "rust-web-src=$version" "$llvm:$here"
}

# A compiler that works from where it was unpacked. It makes ARMv6's helpers of arithmetic out of ARM's instructions even
# where all else is Thumb: they are assembler, which LLVM reads without knowing that this target has Thumb.
rustc_wrapper() {
  local libraries arm
  libraries=$(dirname "$(find "$CACHE/root/usr/lib" -name 'librustc_driver-*.so' | head -n 1)")
  arm='*" --crate-name compiler_builtins "*" --target arm-unknown-linux-musleabi "*'
  wrapper rustc "case \" \$* \" in $arm) set -- \"\$@\" -C target-feature=-thumb-mode ;; esac
LD_LIBRARY_PATH=$libraries\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH} exec $CACHE/root/usr/bin/rustc \"\$@\""
}

# wrapper NAME LINE: a command of the cache.
wrapper() {
  mkdir -p "$CACHE/bin"
  printf '#!/bin/sh\n%s\n' "$2" >"$CACHE/bin/$1.new"
  chmod +x "$CACHE/bin/$1.new"
  mv "$CACHE/bin/$1.new" "$CACHE/bin/$1"
}

# Debian's gcc with musl instead of its own C library: musl's specs file, with the paths of the cache.
musl_gcc() {
  local root=$CACHE/root specs=$CACHE/$NAME.specs
  sed "s#/usr/lib/$MUSL#$root&#g; s#/usr/include/$MUSL#$root&#g" "$root/usr/lib/$MUSL/musl-gcc.specs" >"$specs"
  wrapper "$NAME-gcc" "exec $GCC-gcc $FLAGS \"\$@\" -specs $specs"
}

# The library that Rust unwinds with: gcc's, and with it the helpers that gcc's code calls. It asks the C library for a frame
# by _dl_find_object, which only glibc has: an answer of "not found" sends it to the way that works everywhere.
unwinder() {
  local folder=$CACHE/lib/$NAME
  mkdir -p "$folder"
  echo 'int _dl_find_object(void *address, void *result) { (void)address; (void)result; return -1; }' >"$folder/absent.c"
  "$CACHE/bin/$NAME-gcc" -Os -c "$folder/absent.c" -o "$folder/absent.o"
  # shellcheck disable=SC2086
  "$GCC-ar" -M <<MRI
create $folder/libunwind.a
addlib $("$GCC-gcc" $FLAGS -print-file-name=libgcc_eh.a)
addlib $("$GCC-gcc" $FLAGS -print-libgcc-file-name)
addmod $folder/absent.o
save
end
MRI
}

# What is linked as libatomic, before the compiler's own.
atomics() {
  local folder=$CACHE/lib/$NAME
  "$CACHE/bin/$NAME-gcc" -Os -ffunction-sections -c "$HERE/atomics.c" -o "$folder/atomics.o"
  rm -f "$folder/libatomic.a"
  "$GCC-ar" rcD "$folder/libatomic.a" "$folder/atomics.o"
}

command -v cargo >/dev/null || fail "missing: Rust 1.89 or newer (that of your distribution may be older): https://rustup.rs"
for name in "$@"; do
  machine "$name"
  if [ "$DEBIAN" = "$(dpkg --print-architecture)" ]; then
    need "$GCC-gcc" gcc
  else
    need "$GCC-gcc" "gcc-${GCC//_/-}"
    [ -e "/usr/$GCC/lib/libc.so.6" ] || LACKING+=("libc6-dev-$DEBIAN-cross")
  fi
done
for tool in apt-get:apt dpkg-deb:dpkg make:make perl:perl flock:util-linux; do need "${tool%:*}" "${tool#*:}"; done
all_there

mkdir -p "$CACHE/root"
# Two builds at once fetch once.
exec 9>"$CACHE/lock"
flock 9
for name in "$@"; do
  machine "$name"
  if rustup_has "$TRIPLE"; then
    say "$name: rustup has $TRIPLE"
  else
    fetch_rust
    rustc_wrapper
  fi
  unpack "musl-$DEBIAN" "musl-dev:$DEBIAN"
  musl_gcc
  unwinder
  [ "$NAME" != armv6 ] || atomics
done
