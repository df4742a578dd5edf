#!/bin/busybox sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# PID 1 of the lab's guest. Prints GUEST-UP on the console when the
# guest agent listens and the control port (lab.control, guest-control.c) is served.
#
# Kernel command line:
#   lab.agent=0              no guest agent
#   lab.suspend-delay=SECS   `systemctl suspend` says yes at once, sleeps SECS, then suspends
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev 2>/dev/null
mount -t tmpfs run /run
agent=1
echo 0 >/run/suspend-delay
for word in $(cat /proc/cmdline); do
	case $word in
	lab.agent=*) agent=${word#*=} ;;
	lab.suspend-delay=*) echo "${word#*=}" >/run/suspend-delay ;;
	esac
done

while read -r module; do
	insmod "/lib/modules/$module"
done </lib/modules/order

# The device of the virtio port with that name; waits for it, it comes soon after its module.
port() {
	tries=0
	while [ $tries -lt 100 ]; do
		for name in /sys/class/virtio-ports/*/name; do
			[ -r "$name" ] || continue
			[ "$(cat "$name")" = "$1" ] || continue
			name=${name%/name}
			echo "/dev/${name##*/}"
			return
		done
		usleep 20000
		tries=$((tries + 1))
	done
}

guest-control "$(port lab.control)" &
if [ "$agent" != 0 ]; then
	qemu-ga -m virtio-serial -p "$(port org.qemu.guest_agent.0)" -t /run -f /run/qga.pid -l /run/qga.log -d ||
		echo "GUEST-ERROR no guest agent"
fi
echo "GUEST-UP $(uname -r) clocksource=$(cat /sys/devices/system/clocksource/clocksource0/current_clocksource) mem_sleep=$(cat /sys/power/mem_sleep)"
while :; do wait; sleep 3600; done
