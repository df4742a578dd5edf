#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Stands for systemd-sleep in the lab: what a sleep does is read from
# /run/lab/sleep at each sleep, so that a test can change it at any time.
#
#   SECONDS   sleeps that long (a fraction is fine)
#   hold      sleeps until a line is written to /run/lab/wake
#   fail      does not sleep, and fails
#
# A line written to /run/lab/wake ends any sleep. Hooks take as many seconds after it as /run/lab/hooks says. /run/lab/asleep exists while it
# sleeps, /run/lab/sleeps holds how often it slept, /sys/power/suspend_stats counts too.
# For processes that run with sleepclock.c their CLOCK_MONOTONIC stands still meanwhile.
set -u

count() {
	local n
	read -r n <"$1" || n=0
	echo $((n + 1)) >"$1.new"
	mv "$1.new" "$1"
}

read -r mode </run/lab/sleep || mode=1
exec 3<>/run/lab/wake
while read -r -t 0.01 -u 3 _; do :; done

case $mode in
fail)
	count /sys/power/suspend_stats/fail
	echo "fake-sleep: fails as told" >&2
	exit 1
	;;
hold) limit=600 ;;
*) limit=$mode ;;
esac

[ -e /run/lab/sleeps ] || echo 0 >/run/lab/sleeps
/run/lab/sleepclock begin
touch /run/lab/asleep
read -r -t "$limit" -u 3 _
rm -f /run/lab/asleep
/run/lab/sleepclock end
count /run/lab/sleeps
count /sys/power/suspend_stats/success
[ ! -e /run/lab/hooks ] || sleep "$(cat /run/lab/hooks)"
