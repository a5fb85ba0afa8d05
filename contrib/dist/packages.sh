# Debian packages of any architecture, unpacked into the cache and not installed. Sourced, after common.sh.

# An apt of our own: the archives this machine already trusts, and other architectures beside its own. The security
# archive is asked for this architecture alone: of the others nothing is wanted from there.
own_apt() {
  local apt=$CACHE/apt key=/usr/share/keyrings/debian-archive-keyring.gpg
  local here options
  here=$(dpkg --print-architecture)
  mkdir -p "$apt"/{lists,cache/archives}/partial "$apt/sources"
  [ -e $key ] && options="signed-by=$key " || options=
  apt-get indextargets --format '$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(LABEL)' 'Created-By: Packages' 'Origin: Debian' |
    sort -u | while IFS='|' read -r uri release component label; do
      archs=$here,amd64,arm64,armhf,armel
      [ "$label" = Debian ] || archs=$here
      echo "deb [${options}arch=$archs] $uri $release $component"
    done >"$apt/sources/debian.list"
  [ -s "$apt/sources/debian.list" ] ||
    fail "apt knows no Debian archive: on Debian run apt-get update; elsewhere install the targets with rustup target add"
  cat >"$apt/conf" <<CONF
APT::Architectures { "$here"; "amd64"; "arm64"; "armhf"; "armel"; };
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::State::Lists "$apt/lists";
Dir::Cache "$apt/cache";
Dir::Etc::SourceList "/dev/null";
Dir::Etc::SourceParts "$apt/sources";
CONF
  export APT_CONFIG=$apt/conf
  apt-get -qq update
}

# unpack STAMP PACKAGE…: fetches Debian packages and unpacks them below root/, once.
unpack() {
  local stamp=$CACHE/root/.$1 debs
  shift
  [ -e "$stamp" ] && return
  [ -n "${APT_CONFIG:-}" ] || own_apt
  debs=$(mktemp -d "$CACHE/debs.XXXXXX")
  say "fetching $*"
  (cd "$debs" && apt-get -qq -o Dpkg::Use-Pty=0 download "$@")
  for deb in "$debs"/*.deb; do dpkg-deb -x "$deb" "$CACHE/root"; done
  rm -rf "$debs"
  printf '%s\n' "$@" >"$stamp"
}
