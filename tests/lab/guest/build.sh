#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# build.sh [ARCH [KERNEL]]
#
# Builds one of the lab's Linux guests (kernel + initramfs) and prints the folder
# that holds it: vmlinuz, initrd, key. ARCH is amd64 or arm64. KERNEL is "own", the
# cloud kernel of this machine's own Debian, or "7", that of a later one, which has
# the driver ptp_vmclock. Nothing is installed: kernel and guest agent come from the
# mirrors of the machine's own apt, by an apt state of our own where they are of
# another architecture or release, and are unpacked.
#
# The result is kept in ${XDG_CACHE_HOME:-~/.cache}/suspendd, under a name made
# from everything that went into it, so that a change builds a new one.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

here=$(cd "$(dirname "$0")" && pwd)
source=$here/../../../src
cache=${XDG_CACHE_HOME:-$HOME/.cache}/suspendd
arch=${1:-amd64}
kind=${2:-own}
modules=(virtio_pci virtio_console virtio_blk)
# What tests of the drift page need, as modules where the kernel has not built them in.
modules_if_there=(ptp_vmclock vfio_iommu_type1 vfio-pci rtc_pl031)
# Releases with such a kernel, the one with the smallest index first.
later_releases=(trixie-backports forky sid)
# So long is what a mirror says believed.
index_days=14

die() { echo "guest image: $*" >&2; exit 1; }

# apt

# The Debian mirrors of the machine's apt, as "URI RELEASE".
mirrors() {
	apt-get indextargets --format '$(ORIGIN) $(COMPONENT) $(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
		awk '$1 == "Debian" && $2 == "main" { print $3, $4 }'
}

# Prints the lines of a sources.list: the machine's own releases, or another one of its first mirror.
sources() {
	local key=/usr/share/keyrings/debian-archive-keyring.gpg options=
	[ ! -e "$key" ] || options="[signed-by=$key] "
	mirrors | awk -v release="$1" -v options="$options" '
		release == "own" { print "deb " options $1, $2, "main" }
		release != "own" && NR == 1 { print "deb " options $1, release, "main" }'
}

# Sets apt to the options of an apt that knows another architecture or release, whose index it
# fetches if there is none or an old one. The machine's own is left as it is.
use_apt_of() {
	local dir=$cache/apt-$1-$arch
	release=$1 apt=()
	[ "$release $arch" != "own amd64" ] || return 0
	mkdir -p "$dir"/{state/lists/partial,cache/archives/partial}
	: >"$dir/status"
	sources "$release" >"$dir/sources.list"
	[ -s "$dir/sources.list" ] || die "apt has no Debian mirror"
	apt=(-o "APT::Architecture=$arch" -o "APT::Architectures=$arch" -o "Dir::State=$dir/state"
		-o "Dir::State::status=$dir/status" -o "Dir::Cache=$dir/cache" -o "Dir::Etc::sourcelist=$dir/sources.list"
		-o Dir::Etc::sourceparts=/dev/null -o Acquire::Check-Valid-Until=false -o Acquire::Languages=none)
	if cmp -s "$dir/sources.list" "$dir/fetched" && [ -n "$(find "$dir/fetched" -mtime -$index_days)" ]; then
		return 0
	elif apt-get -qq "${apt[@]}" -o APT::Sandbox::User=root update >&2; then
		cp "$dir/sources.list" "$dir/fetched"
	else
		[ -e "$dir/fetched" ] # an old one will do
	fi
}

# The version apt would install, empty where apt does not know the package.
candidate() {
	LC_ALL=C apt-cache "${apt[@]}" policy "$1" | sed -n 's/^  Candidate: \(.*\)/\1/p' | grep -v none || true
}

# What a package depends on and has a name that begins so.
depends() {
	LC_ALL=C apt-cache "${apt[@]}" depends --important "$1" 2>/dev/null | sed -n "s/^ *|\?Depends: \($2.*\)/\1/p"
}

# The package with the kernel itself, which the meta package depends on.
kernel_package() { depends "linux-image-cloud-$arch" 'linux-image-[0-9]' | head -n 1; }

# That and what else it has its files in.
kernel_packages() { echo "$1"; depends "$1" 'linux-\(base\|binary\|modules\)-[0-9]'; }

# The guest agent, and for another architecture what it runs on.
agent_packages() {
	local package
	echo qemu-guest-agent
	[ "$arch" != amd64 ] || return 0
	echo busybox-static
	for package in $(depends qemu-guest-agent lib); do
		echo "$package"
		depends "$package" lib
	done | sort -u
}

find_own_kernel() {
	use_apt_of own || die "apt-get update failed for $arch"
	kernel=$(kernel_package)
	if [ -z "$kernel" ] && [ ${#apt[@]} = 0 ]; then
		apt-get -qq update >&2 || die "apt-get update failed"
		kernel=$(kernel_package)
	fi
	[ -n "$kernel" ] || die "apt knows no linux-image-cloud-$arch"
}

find_later_kernel() {
	local later
	for later in "${later_releases[@]}"; do
		use_apt_of "$later" || continue
		kernel=$(kernel_package)
		case $kernel in linux-image-[7-9].* | linux-image-[1-9][0-9].*) return 0 ;; esac
	done
	die "no mirror with a kernel 7 for $arch"
}

# Prints "RELEASE PACKAGE VERSION" for each package, as the apt of now knows them.
list_versions() {
	local package
	while read -r package; do
		[ -n "$(candidate "$package")" ] || die "apt knows no $package for $arch"
		echo "$release $package $(candidate "$package")"
	done
}

# Sets kernel and packages, the latter as list_versions prints them.
find_packages() {
	find_own_kernel
	packages=$(agent_packages | list_versions)
	[ "$kind" = own ] || find_later_kernel
	packages+=$'\n'$(kernel_packages "$kernel" | list_versions)
}

hash_of_input() { sha256sum | cut -c 1-16; }

own_input() {
	echo "$arch $kind"
	cat "$here"/*.sh "$here"/*.c "$source/common/page-layout.h" /bin/busybox
}

make_key() { { own_input; echo "$packages"; } | hash_of_input; }

# Stands for all that, quickly: apt is only asked if what it says may have changed.
make_quick_key() {
	{
		own_input
		find "$cache" -path "*-$arch/fetched" -mtime -$index_days -printf '%p %T@\n' | sort
		stat -c '%n %Y' /var/lib/apt/lists /var/lib/dpkg/status
	} | hash_of_input
}

# building

# All packages are unpacked into pkg.
download() {
	local names
	for release in $(echo "$packages" | cut -d ' ' -f 1 | sort -u); do
		use_apt_of "$release" || return 1
		mapfile -t names < <(echo "$packages" | awk -v release="$release" '$1 == release { print $2 "=" $3 }')
		(cd "$work" && apt-get -qq "${apt[@]}" -o APT::Sandbox::User=root download "${names[@]}" >&2) || return 1
	done
	for deb in "$work"/*.deb; do dpkg-deb -x "$deb" "$work/pkg"; done
	# modules where depmod looks for them, as on a system whose /lib is /usr/lib
	[ ! -d "$work/pkg/usr/lib/modules" ] || { mkdir -p "$work/pkg/lib" && mv "$work/pkg/usr/lib/modules" "$work/pkg/lib/"; }
}

# A dynamic program of this machine's kind with all its libraries, at the same paths as here.
put_program() {
	local lib
	install -D -m 755 "$1" "$2"
	for lib in $(ldd "$1" | grep -o '/[^ ]*'); do
		install -D -m 755 "$lib" "$root$lib"
	done
}

# The libraries of one of another architecture, from the packages.
put_libraries() {
	local name file
	for name in $(LC_ALL=C readelf -dl "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p; s,.*interpreter: .*/\(.*\)\],\1,p'); do
		[ ! -e "$root/lib/$name" ] || continue
		file=$(find "$work/pkg" -name "$name" ! -type d | head -n 1)
		[ -n "$file" ] || die "no library $name"
		install -m 755 "$(realpath "$file")" "$root/lib/$name"
		put_libraries "$root/lib/$name"
	done
}

module_files() { modprobe -d "$work/pkg" -S "$1" --show-depends "$2" | awk '$1 == "insmod" { print $2 }'; }

# Modules uncompressed and in loading order, so that the guest needs insmod only.
put_modules() {
	local version=$1 name file
	depmod -b "$work/pkg" "$version"
	{
		for name in "${modules[@]}"; do module_files "$version" "$name"; done
		for name in "${modules_if_there[@]}"; do module_files "$version" "$name" 2>/dev/null || true; done
	} | awk '!seen[$0]++' | while read -r file; do
		case $file in
		*.xz) xz -dc "$file" >"$root/lib/modules/$(basename "${file%.xz}")" ;;
		*) cp "$file" "$root/lib/modules/" ;;
		esac
		basename "${file%.xz}" >>"$root/lib/modules/order"
	done
}

put_busybox() {
	local applet
	install -m 755 "$1" "$root/bin/busybox"
	for applet in $(/bin/busybox --list-full); do
		mkdir -p "$root/$(dirname "$applet")"
		[ -e "$root/$applet" ] || ln -s /bin/busybox "$root/$applet"
	done
}

put_programs() {
	local program
	for program in "$here"/*.c; do
		"$cc" -std=gnu11 -O2 -Wall -Wextra -static -I "$source" -o "$root/usr/bin/$(basename "${program%.c}")" "$program"
	done
	if [ "$arch" = amd64 ]; then
		put_busybox /bin/busybox
		put_program "$work/pkg/usr/sbin/qemu-ga" "$root/usr/sbin/qemu-ga"
	else
		put_busybox "$work/pkg/bin/busybox"
		install -m 755 "$work/pkg/usr/sbin/qemu-ga" "$root/usr/sbin/qemu-ga"
		put_libraries "$root/usr/sbin/qemu-ga"
	fi
}

build() {
	local version
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	root=$work/root
	download || die "download failed"
	version=$(basename "$work"/pkg/lib/modules/*)

	mkdir -p "$root"/{bin,sbin,usr/bin,usr/sbin,proc,sys,dev,run,tmp,etc,lib/modules,var/lib,var/log}
	ln -s ../run "$root/var/run"
	put_programs
	install -m 755 "$here/init.sh" "$root/init"
	rm -f "$root/usr/bin/systemctl" "$root/bin/systemctl"
	install -m 755 "$here/systemctl.sh" "$root/usr/bin/systemctl"
	put_modules "$version"

	mkdir -p "$out.new"
	(cd "$root" && find . | cpio --quiet -o -H newc) >"$out.new/initrd"
	cp "$(find "$work/pkg" -name 'vmlinuz*' -type f | head -n 1)" "$out.new/vmlinuz"
	echo "$packages" >"$out.new/key"
	rm -rf "$out"
	mv "$out.new" "$out"
	find "$cache" -maxdepth 1 -name 'guest-*' -mtime +14 ! -path "$out" -exec rm -rf {} +
}

case $arch in
amd64) cc=${CC:-gcc} ;;
arm64) cc=aarch64-linux-gnu-gcc ;;
*) die "no guest of architecture $arch" ;;
esac
case $kind in own | 7) ;; *) die "no such kernel: $kind" ;; esac
for tool in apt-get dpkg-deb cpio depmod modprobe xz readelf "$cc"; do
	command -v "$tool" >/dev/null || die "$tool is missing"
done
[ "$(dpkg --print-architecture)" = amd64 ] || die "made on amd64 alone"
/bin/busybox --list >/dev/null 2>&1 || die "busybox-static is missing"
ldd /bin/busybox >/dev/null 2>&1 && die "busybox-static is missing, /bin/busybox is a dynamic one"
mkdir -p "$cache"
exec 9>"$cache/guest.lock"
flock -w 600 9 || die "another build holds the lock"
last=$cache/guest.last-$arch-$kind
quick=$(make_quick_key)
out=$(sed -n "s/^$quick //p" "$last" 2>/dev/null || true)
if [ -z "$out" ] || [ ! -e "$out/key" ]; then
	find_packages
	out=$cache/guest-$arch-$kind-$(make_key)
	[ -e "$out/key" ] || { echo "building the guest image ($kernel)" >&2; build; }
	echo "$(make_quick_key) $out" >"$last"
fi
echo "$out"
