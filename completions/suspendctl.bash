# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# Completes suspendctl(1) in bash, with the functions of bash-completion.

# __suspendctl_ask WHAT KEY: that key of all that suspendctl tells of. It is quiet and over at once, whatever is wrong
# with suspendd. JSON writes a quote in a text as \", so no machine's name can look like a key; a name in which anything
# must be written so is left out.
__suspendctl_ask() {
	timeout 2 suspendctl "$1" --json=short 2>/dev/null | grep -oE "\"$2\":(\"[^\"\\\\]*\"|[0-9]+)" |
		cut -d : -f 2- | tr -d '"'
}

# Lines from stdin that begin with the current word are offered, quoted where the shell wants it.
__suspendctl_offer() {
	local line
	while IFS= read -r line; do
		[[ -z $line || $line != "$cur"* ]] || COMPREPLY+=("$(printf '%q' "$line")")
	done
	declare -F __ltrim_colon_completions >/dev/null && __ltrim_colon_completions "$cur"
}

# The value of an option. False if the word before is none that has one.
__suspendctl_value() {
	case $1 in
	--json) __suspendctl_offer <<<$'pretty\nshort\noff' ;;
	--lines | -n) __suspendctl_offer <<<$'0\n10\n50' ;;
	--for) __suspendctl_offer <<<$'5s\n10s\n1min' ;;
	--plugin) __suspendctl_offer <<<$'qmp\nlibvirt' ;;
	--owner) __suspendctl_offer < <(compgen -u) ;;
	--vectors) __suspendctl_offer <<<$'0\n1\n2\n4\n8\n16' ;;
	--acpi | --devicetree) _filedir ;;
	--name | --address) ;;
	*) return 1 ;;
	esac
}

# The options of a verb, one a line.
__suspendctl_options() {
	case $1 in
	status | list | rehearse | mode | sync) printf '%s\n' --json= --no-legend ;;
	show | monitor) printf '%s\n' --json= ;;
	history) printf '%s\n' --json= --no-legend --lines= -n ;;
	page) printf '%s\n' --json= --no-legend --owner= --vectors= --notify --acpi= --devicetree= --address= --force ;;
	register) printf '%s\n' --plugin= --name= ;;
	unregister) printf '%s\n' --plugin= ;;
	esac
	case $1 in
	rehearse) printf '%s\n' --for= ;;
	mode) printf '%s\n' --persistent ;;
	esac
	case $1 in
	rehearse | mode | sync | register | unregister | page) printf '%s\n' --no-ask-password ;;
	'') printf '%s\n' --help -h --version ;;
	esac
	printf '%s\n' --quiet -q
}

# __suspendctl_argument VERB NUMBER: what may stand there, one a line.
__suspendctl_argument() {
	case $1 in
	list | show | sync) __suspendctl_ask list id ;;
	mode)
		__suspendctl_ask list id
		[ "$2" = 1 ] || printf '%s\n' auto suspend pause ignore block default
		;;
	history) [ "$2" != 1 ] || __suspendctl_ask history number ;;
	unregister) [ "$2" != 1 ] || __suspendctl_ask list id ;;
	notify)
		case $2 in
		1) printf '%s\n' libvirt ;;
		2) printf '%s\n' prepare started stopped ;;
		esac
		;;
	page)
		case $2,$verb_argument in
		1,*) printf '%s\n' list create show remove ;;
		2,create) __suspendctl_ask list id ;;
		2,show | 2,remove) __suspendctl_ask page name ;;
		esac
		;;
	esac
}

_suspendctl() {
	local verbs='status list show history monitor rehearse mode sync register unregister notify page'
	# shellcheck disable=SC2034
	local cur prev words cword split i verb='' verb_argument='' n=1
	_init_completion -s -n : || return

	for ((i = 1; i < cword; i++)); do
		case ${words[i]} in
		-n) ((i++)) ;;
		--lines | --for | --plugin | --name | --owner | --vectors | --acpi | --devicetree | --address) ((i++)) ;;
		-*) ;;
		*)
			if [ -z "$verb" ]; then
				verb=${words[i]}
			else
				verb_argument=${verb_argument:-${words[i]}}
				((n++))
			fi
			;;
		esac
	done

	if [[ $split = true || $prev = -n || ($prev = --* && $prev != --json) ]] && __suspendctl_value "$prev"; then
		return
	fi
	if [[ $cur = -* ]]; then
		__suspendctl_offer < <(__suspendctl_options "$verb")
		[[ ${COMPREPLY[0]-} != *= ]] || compopt -o nospace
	elif [ -z "$verb" ]; then
		__suspendctl_offer <<<"${verbs// /$'\n'}"
	elif [ "$verb" = register ]; then
		_filedir
	else
		__suspendctl_offer < <(__suspendctl_argument "$verb" "$n")
	fi
} && complete -F _suspendctl suspendctl
