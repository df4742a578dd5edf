#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Builds sleepclock.c, as the program and as the library, and prints their folder.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/suspendd
out=$cache/sleepclock-$(cat "$0" "$here/sleepclock.c" | sha256sum | cut -c 1-16)
flags=(-std=gnu11 -O2 -Wall -Wextra)

if [ ! -e "$out/sleepclock.so" ]; then
	mkdir -p "$cache"
	new=$(mktemp -d "$cache/sleepclock.XXXXXX")
	trap 'rm -rf "$new"' EXIT
	${CC:-gcc} "${flags[@]}" -static -DPROGRAM -o "$new/sleepclock" "$here/sleepclock.c"
	${CC:-gcc} "${flags[@]}" -fPIC -shared -o "$new/sleepclock.so" "$here/sleepclock.c"
	chmod 755 "$new" "$new"/*
	mv -T "$new" "$out" 2>/dev/null || [ -e "$out/sleepclock.so" ]
fi
echo "$out"
