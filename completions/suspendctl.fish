# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Completes suspendctl(1) in fish.

set -l verbs status list show history monitor rehearse mode sync register unregister notify page
set -l prints status list show history monitor rehearse mode sync page
set -l tables status list history rehearse mode sync page
set -l asks rehearse mode sync register unregister page

# __suspendctl_ask WHAT KEY: that key of all that suspendctl tells of. It is quiet and over at once, whatever is wrong
# with suspendd. JSON writes a quote in a text as \", so no machine's name can look like a key; a name in which anything
# must be written so is left out.
function __suspendctl_ask
    timeout 2 suspendctl $argv[1] --json=short 2>/dev/null |
        string match -rag '"'$argv[2]'":(?:"([^"\\\\]*)"|(\d+))' | string match -v ''
end

# __suspendctl_at VERB [NUMBER]: whether an argument of that verb is completed, the one of that number.
function __suspendctl_at
    set -l words (commandline -opc | string match -v -- '-*')
    test "$words[2]" = $argv[1]; and begin
        not set -q argv[2]; or test (count $words) = (math $argv[2] + 1)
    end
end

complete -c suspendctl -f
complete -c suspendctl -s h -l help -d 'Show a short help'
complete -c suspendctl -l version -d 'Show the version'
complete -c suspendctl -s q -l quiet -d 'Print nothing that was not asked for'

function __suspendctl_verb -V verbs -a name description
    complete -c suspendctl -n "not __fish_seen_subcommand_from $verbs" -a $name -d $description
end
__suspendctl_verb status 'How things are, on one screen'
__suspendctl_verb list 'Machines, and what a sleep does to them'
__suspendctl_verb show 'All that is known of machines'
__suspendctl_verb history 'The last cycles, or one of them in full'
__suspendctl_verb monitor 'What happens, as it happens'
__suspendctl_verb rehearse "A whole cycle, but the host's sleep"
__suspendctl_verb mode 'Set what a sleep does to machines'
__suspendctl_verb sync "Set machines' clocks by the host's"
__suspendctl_verb register 'Take care of a machine from now on'
__suspendctl_verb unregister 'Forget a machine that was registered'
__suspendctl_verb notify 'Tell a plugin that a VM came or went'
__suspendctl_verb page 'Drift pages'
functions -e __suspendctl_verb

complete -c suspendctl -n "__fish_seen_subcommand_from $prints" -l json -xa 'pretty short off' -d 'Print JSON'
complete -c suspendctl -n "__fish_seen_subcommand_from $tables" -l no-legend -d 'Print no headings'
complete -c suspendctl -n "__fish_seen_subcommand_from $asks" -l no-ask-password -d 'Have nobody asked for a password'
complete -c suspendctl -n '__suspendctl_at history' -s n -l lines -x -d 'How many cycles'
complete -c suspendctl -n '__suspendctl_at rehearse' -l for -xa '5s 10s 1min' -d 'How long the sleep takes'
complete -c suspendctl -n '__suspendctl_at mode' -l persistent -d "Write it into the VMs' own definitions"
complete -c suspendctl -n '__suspendctl_at register; or __suspendctl_at unregister' -l plugin -xa 'qmp libvirt' \
    -d 'What reaches the machine'
complete -c suspendctl -n '__suspendctl_at register' -l name -x -d 'What to call it'
complete -c suspendctl -n '__suspendctl_at page' -l owner -xa '(__fish_complete_users)' -d 'Whom its VMM runs as'
complete -c suspendctl -n '__suspendctl_at page' -l vectors -x -d 'Interrupts of its doorbell'
complete -c suspendctl -n '__suspendctl_at page' -l notify -d 'Its ACPI table looks each second'
complete -c suspendctl -n '__suspendctl_at page' -l acpi -rF -d 'Write the ACPI table'
complete -c suspendctl -n '__suspendctl_at page' -l devicetree -rF -d "Write the tree's node"
complete -c suspendctl -n '__suspendctl_at page' -l address -x -d 'Where it is in the guest'
complete -c suspendctl -n '__suspendctl_at page' -l force -d 'Remove it although it is used'

for verb in list show mode sync
    complete -c suspendctl -n "__suspendctl_at $verb" -a '(__suspendctl_ask list id)'
end
complete -c suspendctl -n '__suspendctl_at mode; and not __suspendctl_at mode 1' \
    -a 'auto suspend pause ignore block default' -d Mode
complete -c suspendctl -n '__suspendctl_at history 1' -a '(__suspendctl_ask history number)'
complete -c suspendctl -n '__suspendctl_at register' -F
complete -c suspendctl -n '__suspendctl_at unregister 1' -a '(__suspendctl_ask list id)'
complete -c suspendctl -n '__suspendctl_at notify 1' -a libvirt
complete -c suspendctl -n '__suspendctl_at notify 2' -a 'prepare started stopped'
complete -c suspendctl -n '__suspendctl_at page 1' -a 'list create show remove'
complete -c suspendctl -n '__suspendctl_at page 2; and __fish_seen_subcommand_from create' \
    -a '(__suspendctl_ask list id)'
complete -c suspendctl -n '__suspendctl_at page 2; and __fish_seen_subcommand_from show remove' \
    -a '(__suspendctl_ask page name)'
