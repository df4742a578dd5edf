#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# build.sh VERSION
#
# Builds the machine of the whole-system tests from the root of that Debian version
# ("12", "13"; lab/host/build-root.sh) and prints the folder that holds it: vmlinuz,
# initrd and root.ext4. Nothing of ours is in it but what makes it boot quickly and
# be reached: the guest agent as the tests' line, and a place for their disk, /media/lab.
#
# Kept in ${XDG_CACHE_HOME:-~/.cache}/suspendd under a name made from these scripts
# and the root.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/suspendd
modules=(virtio_pci virtio_blk virtio_console virtio_rng ext4)
# What such a machine has no use for, and would take its time: it is emulated.
masked=(apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service
	fstrim.timer systemd-tmpfiles-clean.timer getty@tty1.service serial-getty@ttyS0.service
	systemd-networkd.service systemd-resolved.service systemd-timesyncd.service
	systemd-udevd.service systemd-udev-trigger.service systemd-udevd-control.socket systemd-udevd-kernel.socket
	systemd-update-utmp.service systemd-update-utmp-runlevel.service systemd-journal-catalog-update.service
	systemd-hwdb-update.service systemd-binfmt.service systemd-firstboot.service systemd-sysusers.service
	systemd-tpm2-setup.service systemd-tpm2-setup-early.service systemd-pcrphase.service systemd-pcrmachine.service
	systemd-random-seed.service systemd-machine-id-commit.service
	sys-fs-fuse-connections.mount dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount
	modprobe@drm.service modprobe@fuse.service modprobe@configfs.service modprobe@dm_mod.service modprobe@loop.service
	modprobe@efi_pstore.service qemu-guest-agent.service libvirt-guests.service)

die() { echo "outer machine: $*" >&2; exit 1; }

# A copy of the root, made what it shall be.
configure() {
	local unit etc=$root/etc/systemd
	rm -rf "${root:?}"/boot/* "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*
	echo outer >"$root/etc/hostname"
	: >"$root/etc/fstab"
	mkdir -p "$root/media/lab"
	echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
	for unit in "${masked[@]}"; do ln -sf /dev/null "$etc/system/$unit"; done
	mkdir -p "$etc/system/basic.target.wants" "$etc/journald.conf.d"
	install -m 644 "$here/lab-line.service" "$etc/system/lab-line.service"
	ln -s ../lab-line.service "$etc/system/basic.target.wants/lab-line.service"
	ln -sf /usr/lib/systemd/system/multi-user.target "$etc/system/default.target"
	printf '[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\n' >"$etc/journald.conf.d/lab.conf"
	# No run of ldconfig, hwdb and their kin at the first boot.
	touch -d '1 day' "$root/etc/.updated" "$root/var/.updated"
}

# A busybox and the modules of the disk, in loading order.
make_initrd() {
	local version=$1 dir=$work/initrd name file
	mkdir -p "$dir/bin" "$dir/modules"
	install -m 755 /bin/busybox "$dir/bin/busybox"
	install -m 755 "$here/init.sh" "$dir/init"
	depmod -b "$root" "$version"
	for name in "${modules[@]}"; do modprobe -d "$root" -S "$version" --show-depends "$name"; done |
		awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r file; do
		name=$(basename "${file%.xz}")
		case $file in
		*.xz) xz -dc "$file" >"$dir/modules/$name" ;;
		*) cp "$file" "$dir/modules/$name" ;;
		esac
		echo "$name" >>"$dir/modules/order"
	done
	(cd "$dir" && find . | cpio --quiet -o -H newc) >"$out.new/initrd"
}

build() {
	local version
	work=$(mktemp -d -p "$cache")
	trap 'rm -rf "$work"' EXIT
	root=$work/root
	cp -a "$from" "$root"
	rm -rf "$out" "$out.new"
	mkdir -p "$out.new"
	cp "$root"/boot/vmlinuz-* "$out.new/vmlinuz"
	version=$(basename "$root"/usr/lib/modules/*)
	configure
	make_initrd "$version"
	rm -rf "$root/usr/lib/modules/$version"
	mke2fs -q -t ext4 -d "$root" -E lazy_itable_init=1 -O ^has_journal -m 0 "$out.new/root.ext4" \
		"$(($(du -xsm "$root" | cut -f 1) + 500))M" >&2
	mv "$out.new" "$out"
}

[ $# = 1 ] || die "which version of Debian?"
for tool in mke2fs cpio depmod modprobe xz; do
	command -v "$tool" >/dev/null || die "$tool is missing"
done
/bin/busybox --list >/dev/null 2>&1 || die "busybox-static is missing"
ldd /bin/busybox >/dev/null 2>&1 && die "busybox-static is missing, /bin/busybox is a dynamic one"
from=$("$here/../../lab/host/build-root.sh" "outer$1")
exec 9>"$cache/outer.lock"
flock -w 1200 9 || die "another build holds the lock"
out=$cache/outer-$1-$({ cat "$here"/*; echo "$from"; } | sha256sum | cut -c 1-16)
[ -e "$out/root.ext4" ] || { echo "building the outer machine, Debian $1" >&2; build; }
echo "$out"
