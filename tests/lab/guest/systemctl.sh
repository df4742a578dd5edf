#!/bin/busybox sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Stands for systemctl as the guest agent uses it: `status systemd-suspend`
# asks whether suspend is there, `suspend` suspends. Like the real one it comes
# back before the guest sleeps if /run/suspend-delay says to be late.
case $1 in
status) exit 3 ;;
suspend)
	delay=$(cat /run/suspend-delay)
	if [ "$delay" = 0 ]; then
		echo mem >/sys/power/state
	else
		(sleep "$delay"; echo mem >/sys/power/state) </dev/null >/dev/null 2>&1 &
	fi
	;;
*) exit 4 ;;
esac
