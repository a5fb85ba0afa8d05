#!/usr/bin/env bash
# openssl.sh MACHINE: a static OpenSSL with what TLS 1.2 and 1.3 over TCP need and little else, in the cache.
#
# The sources are those of the crate `openssl-src` that Cargo.lock names with its checksum; its own build takes no
# options, so they are built here. Prints the folder, for OPENSSL_DIR.
source "$(dirname "$0")/common.sh"
machine "$1"

# Nobody here uses these: other protocols, old or national ciphers and digests, file formats of authorities, loading of
# code at run time; curves beside the ones every server of TLS 1.3 must know. `no-filenames` keeps the paths of this machine out.
WITHOUT=(
  shared module dso engine dgram tests apps docs filenames autoload-config
  ssl3 tls1 tls1_1 dtls quic psk srp srtp nextprotoneg ct ocsp ssl-trace comp zlib sslkeylog http tfo
  legacy rc2 rc4 rc5 md2 md4 mdc2 rmd160 whirlpool blake2 bf cast idea seed camellia aria des
  gost sm2 sm3 sm4 siphash siv ocb scrypt argon2 cmac dsa ec2m ecx ml-kem ml-dsa slh-dsa lms
  cms cmp ts rfc3779 ui-console afalgeng async thread-pool default-thread-pool secure-memory
  tls-deprecated-ec integrity-only-ciphers multiblock
)
# Small before quick: the ciphers themselves are assembler.
OPTIONS=(-Os -ffunction-sections -fdata-sections -fno-unwind-tables -fno-asynchronous-unwind-tables)
# shellcheck disable=SC2206
OPTIONS+=($SSL_FLAGS)

# Cargo knows where it keeps the sources, and fetches them when it does not have them.
sources() {
  (cd "$ROOT" && cargo fetch --locked --quiet && cargo metadata --locked --offline --features vendored-openssl --format-version 1) |
    grep -o '"manifest_path":"[^"]*/openssl-src-[^"/]*/Cargo.toml"' | head -n 1 | sed 's/.*:"//; s/Cargo.toml"$/openssl/'
}

# What only the newest of these processors have, and one connection has no use for: 700 KB of AES. It is written only where
# the assembler says that it knows the instructions, so here an old one answers.
without_avx512() {
  [ "$NAME" != x86_64 ] || make CC='echo GNU assembler version 2.25; :' crypto/modes/aes-gcm-avx512.s
}

# What is offered without an option to leave it out, and neither TLS nor reading a certificate and a key ever asks for:
# writers of key files, key encapsulation, keys and random numbers made for other protocols, and what is peculiar to
# certificates of attributes.
without_other_offers() {
  sed -i -E 's/return (deflt|base)_(encoder|asym_kem);/return NULL;/
    /^ +\{ PROV_NAMES_(SSKDF|PKCS12KDF|SSHKDF|KBKDF|X942KDF_ASN1|X963KDF|KRB5KDF|HASH_DRBG|TEST_RAND),.*\},$/d' \
    providers/{deflt,base}prov.c
  sed -i -E '/&ossl_v3_(sxnet|audit_identity|targeting_information|pci),$/d
    /&ossl_v3_utf8_list\[0\],$/,/&ossl_v3_associated_info,$/d' crypto/x509/standard_exts.h
}

source_folder=$(sources) || true
[ -d "$source_folder" ] || fail "Cargo has no sources of OpenSSL: cargo fetch --locked"
version=$(basename "$(dirname "$source_folder")")
key=$(
  {
    declare -f without_avx512 without_other_offers
    printf '%s\n' "${WITHOUT[@]}" "${OPTIONS[@]}" "$FLAGS" "$("$GCC-gcc" --version | head -n 1)"
  } | sha256sum | cut -c1-12
)
result=$CACHE/openssl/$version-$NAME-$key
mkdir -p "$CACHE/openssl"
exec 9>"$result.lock"
flock 9
if [ ! -e "$result/lib/libssl.a" ]; then
  work=$result.build
  rm -rf "$work" "$result.new"
  cp -r "$source_folder" "$work"
  (
    cd "$work"
    # Names without a path, and no date of today: both end up in the library.
    export PATH=$CACHE/bin:$PATH CC=$NAME-gcc AR=$GCC-ar RANLIB=$GCC-ranlib SOURCE_DATE_EPOCH=0
    say "OpenSSL for $NAME" >&2
    {
      ./Configure "$SSL" --prefix=/usr --libdir=lib --openssldir=/etc/ssl "${WITHOUT[@]/#/no-}" "${OPTIONS[@]}" &&
        without_other_offers &&
        without_avx512 &&
        make -j"$(nproc)" build_libs &&
        make install_dev DESTDIR="$result.new"
    } >"$result.log" 2>&1 || fail "OpenSSL for $NAME cannot be built: the end of $result.log says why"
  )
  mv "$result.new/usr" "$result"
  rm -rf "$work" "$result.new"
fi
echo "$result"
