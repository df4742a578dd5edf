#!/bin/busybox sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The initramfs of the outer machine: a few modules, the root disk, systemd.
b=/bin/busybox
$b mkdir -p /proc /sys /dev /new
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs dev /dev
while read -r module; do $b insmod "/modules/$module"; done </modules/order
tries=0
while [ ! -b /dev/vda ] && [ $tries -lt 100 ]; do
	$b usleep 100000
	tries=$((tries + 1))
done
$b mount -t ext4 -o noatime /dev/vda /new
$b umount /proc
$b mount --move /sys /new/sys
$b mount --move /dev /new/dev
exec $b switch_root /new /sbin/init
