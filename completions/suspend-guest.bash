# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# Completes suspend-guest(8) in bash, with the functions of bash-completion.

_suspend_guest() {
	# shellcheck disable=SC2034
	local cur prev words cword split
	_init_completion -s || return

	case $prev in
	--page)
		_filedir
		return
		;;
	--state)
		_filedir -d
		return
		;;
	--device)
		mapfile -t COMPREPLY < <(compgen -W "$(command ls /sys/bus/pci/devices 2>/dev/null)" -- "$cur")
		return
		;;
	--interval | --wait) return ;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "-h --help --version --once --show --json --dry-run --page= --device= --vfio
		--interval= --wait= --state= --no-hooks --debug" -- "$cur")
	[[ ${COMPREPLY[0]-} != *= ]] || compopt -o nospace
} && complete -F _suspend_guest suspend-guest
