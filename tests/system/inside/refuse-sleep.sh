#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# A hook of systemd-sleep(8) by which the kernel refuses the sleep, as it does where a
# network's file system hangs: a process waits for a frozen disk, and cannot be frozen
# itself. That is before any device sleeps.
disk=/media/lab
case $1 in
pre)
	echo 1000 >/sys/power/pm_freeze_timeout
	fsfreeze -f $disk
	touch $disk/file &
	until grep -q '^State:.D' /proc/$!/status; do :; done
	;;
post)
	fsfreeze -u $disk
	;;
esac
