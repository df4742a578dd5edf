#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Builds the lab's Linux guest (kernel + initramfs) and prints the folder that
# holds it: vmlinuz, initrd, key. Nothing is installed: the kernel and the guest
# agent are downloaded from the machine's own apt sources and unpacked.
#
# The result is kept in ${XDG_CACHE_HOME:-~/.cache}/suspendd, under a name made
# from everything that went into it, so that a change builds a new one.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/suspendd
modules=(virtio_pci virtio_console virtio_blk)

die() { echo "guest image: $*" >&2; exit 1; }

# The version apt would install, empty where apt does not know the package.
candidate() {
	LC_ALL=C apt-cache policy "$1" | sed -n 's/^  Candidate: \(.*\)/\1/p' | grep -v none || true
}

# The package with the kernel itself, which the meta package depends on.
kernel_package() {
	LC_ALL=C apt-cache depends linux-image-cloud-amd64 2>/dev/null |
		sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1
}

find_packages() {
	kernel=$(kernel_package)
	if [ -z "$kernel" ] || [ -z "$(candidate qemu-guest-agent)" ]; then
		apt-get -qq update >&2 || die "apt-get update failed"
		kernel=$(kernel_package)
	fi
	[ -n "$kernel" ] || die "apt knows no linux-image-cloud-amd64"
	[ -n "$(candidate qemu-guest-agent)" ] || die "apt knows no qemu-guest-agent"
}

hash_of_input() { sha256sum | cut -c 1-16; }

own_input() { cat "$here"/build.sh "$here"/init.sh "$here"/systemctl.sh "$here"/guest-control.c /bin/busybox; }

make_key() {
	{
		own_input
		echo "$kernel $(candidate "$kernel")"
		echo "qemu-guest-agent $(candidate qemu-guest-agent)"
	} | hash_of_input
}

# Stands for all that, quickly: apt is only asked if its lists have changed since.
make_quick_key() { { own_input; stat -c '%n %Y' /var/lib/apt/lists /var/lib/dpkg/status; } | hash_of_input; }

# A dynamic program with all its libraries, at the same paths as here.
put_program() {
	local lib
	install -D -m 755 "$1" "$2"
	for lib in $(ldd "$1" | grep -o '/[^ ]*'); do
		install -D -m 755 "$lib" "$root$lib"
	done
}

# Modules uncompressed and in loading order, so that the guest needs insmod only.
put_modules() {
	local release=$1 name file
	depmod -b "$work/pkg" "$release"
	for name in "${modules[@]}"; do
		modprobe -d "$work/pkg" -S "$release" --show-depends "$name" | awk '$1 == "insmod" { print $2 }'
	done | awk '!seen[$0]++' | while read -r file; do
		case $file in
		*.xz) xz -dc "$file" >"$root/lib/modules/$(basename "${file%.xz}")" ;;
		*) cp "$file" "$root/lib/modules/" ;;
		esac
		basename "${file%.xz}" >>"$root/lib/modules/order"
	done
}

build() {
	local release applet
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	root=$work/root
	(cd "$work" && apt-get -qq -o APT::Sandbox::User=root download "$kernel" qemu-guest-agent >&2) ||
		die "download failed"
	for deb in "$work"/*.deb; do dpkg-deb -x "$deb" "$work/pkg"; done
	release=$(basename "$work"/pkg/boot/vmlinuz-*)
	release=${release#vmlinuz-}

	mkdir -p "$root"/{bin,sbin,usr/bin,usr/sbin,proc,sys,dev,run,tmp,etc,lib/modules,var/lib,var/log}
	ln -s ../run "$root/var/run"
	install -m 755 /bin/busybox "$root/bin/busybox"
	for applet in $(/bin/busybox --list-full); do
		mkdir -p "$root/$(dirname "$applet")"
		[ -e "$root/$applet" ] || ln -s /bin/busybox "$root/$applet"
	done
	install -m 755 "$here/init.sh" "$root/init"
	rm -f "$root/usr/bin/systemctl" "$root/bin/systemctl"
	install -m 755 "$here/systemctl.sh" "$root/usr/bin/systemctl"
	${CC:-gcc} -O2 -Wall -Wextra -static -o "$root/usr/bin/guest-control" "$here/guest-control.c"
	put_program "$work/pkg/usr/sbin/qemu-ga" "$root/usr/sbin/qemu-ga"
	put_modules "$release"

	mkdir -p "$out.new"
	(cd "$root" && find . | cpio --quiet -o -H newc) >"$out.new/initrd"
	cp "$work/pkg/boot/vmlinuz-$release" "$out.new/vmlinuz"
	echo "$kernel $(candidate "$kernel")" >"$out.new/key"
	rm -rf "$out"
	mv "$out.new" "$out"
	find "$cache" -maxdepth 1 -name 'guest-*' -mtime +14 ! -path "$out" -exec rm -rf {} +
}

for tool in apt-get dpkg-deb cpio depmod modprobe xz "${CC:-gcc}"; do
	command -v "$tool" >/dev/null || die "$tool is missing"
done
[ "$(dpkg --print-architecture)" = amd64 ] || die "made for amd64 alone"
/bin/busybox --list >/dev/null 2>&1 || die "busybox-static is missing"
ldd /bin/busybox >/dev/null 2>&1 && die "busybox-static is missing, /bin/busybox is a dynamic one"
mkdir -p "$cache"
exec 9>"$cache/guest.lock"
flock -w 600 9 || die "another build holds the lock"
quick=$(make_quick_key)
out=$(sed -n "s/^$quick //p" "$cache/guest.last" 2>/dev/null || true)
if [ -z "$out" ] || [ ! -e "$out/key" ]; then
	find_packages
	out=$cache/guest-$(make_key)
	[ -e "$out/key" ] || { echo "building the guest image ($kernel)" >&2; build; }
	quick=$(make_quick_key)
	echo "$quick $out" >"$cache/guest.last"
fi
echo "$out"
