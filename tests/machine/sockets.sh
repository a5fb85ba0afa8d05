#!/usr/bin/env bash
# sockets.sh: what the bot asks of the kernel for its connections, as the kernel hears it: TCP_NODELAY on each, and one write
# for each request.
source "$(dirname "$0")/kit.sh"
command -v strace >/dev/null || skip "there is no strace: apt-get install strace"
strace -qq -o /dev/null true 2>/dev/null || skip "this machine lets nobody trace its own programs"
own_folder
serve --speed 600 --seed 5 "${KEYS[@]}"
configure 'max_cycles = 2'
strace -f -qq -s 20 -e trace=connect,setsockopt,sendto,sendmsg,write,writev -e signal=none -o "$FOLDER/trace" \
  "$RECOMPRA" run --config "$CONFIG" >"$FOLDER/run" 2>&1 || fail "it ended with $?: $(tail -n 5 "$FOLDER/run")"
audit
awk '
  # What a system call is told first: its file.
  { call = $0; sub(/^[0-9]+ +/, "", call); name = call; sub(/\(.*/, "", name); file = call; sub(/^[a-z]+\(/, "", file); file += 0 }
  name == "connect" && /sa_family=AF_INET/ { connections++; kind[file] = "new" }
  name == "setsockopt" && /TCP_NODELAY, \[1\]/ { undelayed++ }
  name ~ /^(send|write)/ && file in kind {
    begins = call ~ /"(GET|POST) \//
    if (kind[file] == "new") kind[file] = call ~ /"GET \/v5\/private/ ? "stream" : "requests"
    if (kind[file] == "requests" && ++requests && !begins) { print "a request in pieces: " call; pieces++ }
  }
  END {
    printf "%d connections, %d with TCP_NODELAY; %d writes, %d of them pieces\n", connections, undelayed, requests, pieces
    exit !(connections >= 2 && connections == undelayed && requests > 10 && !pieces)
  }' "$FOLDER/trace" >"$FOLDER/found" || fail "$(cat "$FOLDER/found")"
say "$(cat "$FOLDER/found")"
