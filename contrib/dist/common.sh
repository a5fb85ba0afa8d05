# What the scripts of this folder share: the four machines, the folders, and how something missing is told. Sourced.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# Pieces of toolchains, fetched and built once, outside the source tree.
CACHE=${RECOMPRA_DIST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/recompra-dist}
# What is built.
OUT=${RECOMPRA_DIST_OUT:-$ROOT/target/dist}
MACHINES=(x86_64 aarch64 armv7 armv6)

say() { printf 'dist: %s\n' "$*"; }
fail() {
  printf 'dist: %s\n' "$*" >&2
  exit 1
}

# What is known of a machine, as variables.
#   TRIPLE   Rust's name of the target            DEBIAN  Debian's name of the architecture
#   MUSL     folder of its musl in Debian         GCC     name of its C compiler, without `-gcc`
#   FLAGS    what that compiler must be told      SSL     OpenSSL's name of the target
#   MOST     the most bytes the binary may have   CPU     the smallest processor it must run on; empty: this machine
#   RUST_FLAGS, SSL_FLAGS, SMALL (packages): how Rust and OpenSSL are kept within that
machine() {
  NAME=$1 FLAGS='' CPU='' QEMU='' RUST_FLAGS='' SSL_FLAGS='' SMALL=()
  case $NAME in
    x86_64)
      TRIPLE=x86_64-unknown-linux-musl DEBIAN=amd64 MUSL=x86_64-linux-musl GCC=x86_64-linux-gnu
      SSL=linux-x86_64 MOST=6000000
      RUST_FLAGS='-C relocation-model=static -C llvm-args=-inline-threshold=100'
      ;;
    aarch64)
      TRIPLE=aarch64-unknown-linux-musl DEBIAN=arm64 MUSL=aarch64-linux-musl GCC=aarch64-linux-gnu
      SSL=linux-aarch64 MOST=5000000 CPU=cortex-a53 QEMU=qemu-aarch64-static
      RUST_FLAGS='-C relocation-model=static -C llvm-args=-inline-threshold=50 -C llvm-args=-enable-machine-outliner'
      ;;
    armv7)
      TRIPLE=armv7-unknown-linux-musleabihf DEBIAN=armhf MUSL=arm-linux-musleabihf GCC=arm-linux-gnueabihf
      SSL=linux-armv4 MOST=4000000 CPU=cortex-a7 QEMU=qemu-arm-static
      # In Thumb's instructions the program is a quarter smaller.
      RUST_FLAGS='-C target-feature=+thumb-mode -C relocation-model=static -C llvm-args=-inline-threshold=50' SSL_FLAGS=no-pic
      ;;
    armv6)
      # The Pi Zero and the Pi 1. Debian's compiler for soft floats makes ARMv5 unless it is told more.
      TRIPLE=arm-unknown-linux-musleabi DEBIAN=armel MUSL=arm-linux-musleabi GCC=arm-linux-gnueabi
      FLAGS='-march=armv6' SSL=linux-armv4 MOST=4000000 CPU=arm1176 QEMU=qemu-arm-static
      # Its first Thumb takes more instructions than ARM's, and a sixth less room. Its jumps are short: LLVM gives up where it
      # has taken a function that keeps no return address for smaller than it is; one with a frame pointer keeps it. And
      # P-256 goes without its table of 150 KB, which saves some ten milliseconds of a handshake.
      RUST_FLAGS='-C target-feature=+thumb-mode -C force-frame-pointers=yes -C relocation-model=static
        -C llvm-args=-inline-threshold=50'
      SSL_FLAGS='no-pic -mthumb -UECP_NISTZ256_ASM'
      # Packages that only read the command line, the configuration, and what travels: small before quick.
      SMALL=(bpaf toml toml_parser http httparse ureq ureq-proto tungstenite data-encoding flate2 miniz_oxide humantime)
      ;;
    *) fail "there is no machine $NAME; there are ${MACHINES[*]}" ;;
  esac
  BINARY=$OUT/recompra-$NAME-linux-musl
}

# The machine's programs, run here: alone if they can be, else under the emulator. Words of a command in EMULATE.
emulation() {
  EMULATE=()
  [ "$NAME" != "$(uname -m)" ] || return 0
  need "$QEMU" qemu-user-static
  EMULATE=("$QEMU" -cpu "$CPU")
}

# need COMMAND PACKAGE: notes what is missing; `all_there` tells of everything at once.
LACKING=()
need() { command -v "$1" >/dev/null || LACKING+=("$2"); }
all_there() {
  [ ${#LACKING[@]} -eq 0 ] && return
  local packages
  packages=$(printf '%s\n' "${LACKING[@]}" | sort -u | tr '\n' ' ')
  fail "missing: $packages
      sudo apt-get install -y --no-install-recommends $packages"
}
