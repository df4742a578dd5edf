#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# build-root.sh [NAME]
#
# Bootstraps a Debian root and prints its folder. NAME is one of
#   debian13            for the lab's host: a newer systemd than Debian 12's under
#                       the same tests. It holds what our programs load, no
#                       compiler: what Debian 12 built runs there (same sonames).
#                       QEMU stays on the machine, see Qemu in qemu.py
#   outer12, outer13    for the whole-system tests: a machine that boots, with a
#                       kernel, QEMU and libvirt of its own
#
# The mirror, its keys and a proxy are those of this machine's own apt. Kept in
# ${XDG_CACHE_HOME:-~/.cache}/suspendd under a name made from script and packages.
set -euo pipefail

cache=${XDG_CACHE_HOME:-$HOME/.cache}/suspendd
name=${1:-debian13}
loaded=libjson-c5,libinih1,libsmartcols1,libsystemd0,libvirt0,libxml2
host=systemd,systemd-sysv,dbus,libpam-systemd,util-linux,procps,$loaded
outer=$host,kmod,udev,polkitd,python3,qemu-guest-agent,qemu-system-x86,linux-image-cloud-amd64,libvirt-clients
outer=$outer,libvirt-daemon-system,libvirt-daemon-driver-qemu,libxml2

die() { echo "root $name: $*" >&2; exit 1; }

case $name in
debian13) suite=trixie packages=$host ;;
outer12) suite=bookworm packages=$outer ;;
outer13) suite=trixie packages=$outer ;;
*) die "there is none" ;;
esac

# The first Debian mirror in the machine's apt sources.
mirror() {
	apt-get indextargets --format '$(ORIGIN) $(COMPONENT) $(LABEL) $(REPO_URI)' 'Created-By: Packages' |
		awk '$1 == "Debian" && $2 == "main" && $3 == "Debian" { print $4; exit }'
}

build() {
	local uri option options=()
	uri=$(mirror)
	if [ -z "$uri" ]; then
		apt-get -qq update >&2 || die "apt-get update failed"
		uri=$(mirror)
	fi
	[ -n "$uri" ] || die "apt has no Debian mirror"
	while read -r option; do options+=("--aptopt=$option"); done < <(
		apt-config dump | grep -E '^Acquire::(https?::(Proxy|CAInfo)|Check-Valid-Until)' || true)
	rm -rf "$out" "$out.new"
	mmdebstrap --quiet --variant=minbase --mode=root --format=directory --architectures=amd64 \
		--aptopt='APT::Install-Recommends "false"' "${options[@]}" \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		--include="$packages" "$suite" "$out.new" "deb $uri $suite main" >&2 || die "mmdebstrap failed"
	echo "$packages" >"$out.new/etc/suspendd-lab-root"
	mv "$out.new" "$out"
}

[ "$(id -u)" = 0 ] || die "needs root"
command -v mmdebstrap >/dev/null || die "mmdebstrap is missing"
mkdir -p "$cache"
exec 9>"$cache/root.lock"
flock -w 1200 9 || die "another build holds the lock"
out=$cache/root-$name-$({ cat "$0"; echo "$packages"; } | sha256sum | cut -c 1-16)
[ -e "$out/etc/suspendd-lab-root" ] || { echo "bootstrapping the root $name" >&2; build; }
echo "$out"
