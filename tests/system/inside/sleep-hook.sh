#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What is done where there is no suspendd: a script for systemd-sleep(8) that pauses all
# that runs before the host sleeps, and runs it again after. Of the careful kind: it notes
# what it has paused.
noted=/run/lab/hook
ask() { python3 /media/lab/inside/ask.py "$@"; }

case $1 in
pre)
	: >$noted
	for domain in $(virsh list --name); do
		virsh suspend "$domain" && echo "domain $domain" >>$noted
	done
	for socket in /run/lab/*/*.ask; do
		[ "$(ask "$socket" query-status)" != running ] || { ask "$socket" stop && echo "qemu $socket" >>$noted; }
	done
	;;
post)
	while read -r kind name; do
		case $kind in
		domain) virsh resume "$name" ;;
		qemu) ask "$name" cont ;;
		esac
	done <$noted
	;;
esac
