#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# enter.sh ROOT RUNDIR CGROUP [BIND...]
#
# Becomes the PID 1 (systemd) of a host of its own: mount, pid, ipc, uts, net and
# cgroup namespaces over ROOT, which stays as it is (an overlay whose upper layer
# is a tmpfs). dbus and logind are real, the sleep is fake-sleep.sh. Each BIND is
# a folder seen at the same path inside. Started by sleephost.py, ended by
# killing its child, the PID 1; all mounts end with it.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)

# Units that a target of the boot may pull in; all others are masked.
wanted=" systemd-journald.service systemd-tmpfiles-setup.service dbus.socket \
systemd-journald.socket systemd-journald-dev-log.socket "

mount_kernel_files() {
	mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$new/sys"
	mount -t tmpfs -o mode=755 power "$new/sys/power"
	echo "freeze mem" >"$new/sys/power/state"
	echo "s2idle [deep]" >"$new/sys/power/mem_sleep"
	echo "platform [shutdown]" >"$new/sys/power/disk"
	mkdir "$new/sys/power/suspend_stats"
	echo 0 >"$new/sys/power/suspend_stats/success"
	echo 0 >"$new/sys/power/suspend_stats/fail"
	mount -t cgroup2 cgroup2 "$new/sys/fs/cgroup"
}

make_devices() {
	local name
	mount -t tmpfs -o mode=755 dev "$new/dev"
	for name in null zero full random urandom tty; do
		touch "$new/dev/$name"
		mount --bind "/dev/$name" "$new/dev/$name"
	done
	mkdir "$new/dev/pts" "$new/dev/shm"
	mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$new/dev/pts"
	mount -t tmpfs -o mode=1777 shm "$new/dev/shm"
	ln -s pts/ptmx "$new/dev/ptmx"
	ln -s /proc/self/fd "$new/dev/fd"
	ln -s /proc/self/fd/0 "$new/dev/stdin"
	ln -s /proc/self/fd/1 "$new/dev/stdout"
	ln -s /proc/self/fd/2 "$new/dev/stderr"
}

mount_folders() {
	local path
	mount -t tmpfs -o mode=755 run "$new/run"
	mount -t tmpfs -o mode=1777 tmp "$new/tmp"
	mkdir -p "$new/run/lab" "$new/run/dbus"
	for path in "$@"; do
		mkdir -p "$new$path"
		mount --rbind "$path" "$new$path"
	done
}

# The boot reaches journal, bus and logind, and nothing else of ROOT's services.
configure_units() {
	local etc=$new/etc/systemd unit link
	rm -f "$etc/system/default.target"
	printf '[Unit]\nRequires=basic.target dbus.service systemd-logind.service\nAfter=basic.target dbus.service systemd-logind.service\nAllowIsolate=yes\n' \
		>"$etc/system/default.target"
	for link in "$new"/{etc,usr/lib}/systemd/system/{sysinit,sockets,local-fs,timers,basic}.target.wants/*; do
		unit=$(basename "$link")
		case $wanted in *" $unit "*) continue ;; esac
		ln -sf /dev/null "$etc/system/$unit"
	done
	for unit in systemd-udevd.service systemd-udevd-control.socket systemd-udevd-kernel.socket \
		systemd-udev-trigger.service systemd-remount-fs.service modprobe@.service timers.target getty.target; do
		ln -sf /dev/null "$etc/system/$unit"
	done
	mkdir -p "$etc/system/systemd-suspend.service.d" "$etc/journald.conf.d" "$etc/logind.conf.d" "$etc/system.conf.d"
	printf '[Service]\nExecStart=\nExecStart=/run/lab/systemd-sleep suspend\n' >"$etc/system/systemd-suspend.service.d/zz-lab.conf"
	printf '[Journal]\nStorage=volatile\nRateLimitBurst=0\n' >"$etc/journald.conf.d/zz-lab.conf"
	printf '[Manager]\nShowStatus=no\nDefaultTimeoutStopSec=20s\n' >"$etc/system.conf.d/zz-lab.conf"
	install -m 755 "$here/fake-sleep.sh" "$new/run/lab/systemd-sleep"
	mkfifo "$new/run/lab/wake"
}

configure_root() {
	tr -d - </proc/sys/kernel/random/uuid >"$new/etc/machine-id"
	echo lab >"$new/etc/hostname"
	: >"$new/etc/fstab"
	touch -d '1 hour' "$new/etc/.updated" "$new/var/.updated" 2>/dev/null || true
}

# In the mount namespace: puts the new root together, then makes the pid namespace.
prepare() {
	local root=$1 dir=$2
	shift 2
	mkdir -p "$dir/layers"
	mount -t tmpfs -o mode=755 layers "$dir/layers"
	mkdir "$dir/layers/upper" "$dir/layers/work" "$dir/layers/new"
	new=$dir/layers/new
	mount -t overlay -o "lowerdir=$root,upperdir=$dir/layers/upper,workdir=$dir/layers/work" overlay "$new"
	[ -d "$new/sys/power" ] || mkdir -p "$new/sys" "$new/proc" "$new/dev" "$new/run" "$new/tmp"
	mount_kernel_files
	make_devices
	mount_folders "$@"
	configure_units
	configure_root
	hostname lab
	mkdir -p "$new/old"
	cd "$new"
	exec unshare --pid --fork --kill-child=KILL --mount-proc="$new/proc" "$here/enter.sh" --init
}

# PID 1 of the new pid namespace: the machine's knobs read-only, then systemd.
become_init() {
	local path
	for path in proc/sys proc/sysrq-trigger; do
		[ -e "$path" ] || continue
		mount --bind "$path" "$path"
		mount -o remount,bind,ro "$path"
	done
	pivot_root . old
	umount -l /old
	# As systemd does on a machine, but not in a container: what is mounted later reaches its services.
	mount --make-rshared /
	exec env -i container=lab PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		setpriv --bounding-set -sys_time,-sys_module,-sys_rawio,-syslog \
		/sbin/init --log-target=console --log-level=info
}

case $1 in
--prepare)
	shift
	prepare "$@"
	;;
--init) become_init ;;
*)
	root=$1 dir=$2 cgroup=$3
	shift 3
	if ! awk '$5 == "/" { found = 1 } END { exit !found }' /proc/self/mountinfo; then
		echo "the root folder is no mount point (a chroot? bind it onto itself before)" >&2
		exit 1
	fi
	mkdir "$cgroup"
	echo $$ >"$cgroup/cgroup.procs"
	exec unshare --mount --propagation private --ipc --uts --net --cgroup \
		"$here/enter.sh" --prepare "$root" "$dir" "$@"
	;;
esac
