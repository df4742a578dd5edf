# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Completes suspend-guest(8) in fish.

complete -c suspend-guest -f
complete -c suspend-guest -s h -l help -d 'Show a short help'
complete -c suspend-guest -l version -d 'Show the version'
complete -c suspend-guest -l once -d 'Look once, do what is to be done, and leave'
complete -c suspend-guest -l show -d 'Print the page, and what would be done'
complete -c suspend-guest -l json -d 'Print that as JSON'
complete -c suspend-guest -l dry-run -d 'Say what would be done, and do not'
complete -c suspend-guest -l page -rF -d 'The page is this file'
complete -c suspend-guest -l device -xa '(path basename /sys/bus/pci/devices/*)' -d 'The page is the memory of this device'
complete -c suspend-guest -l vfio -d 'Have vfio-pci take the device'
complete -c suspend-guest -l interval -x -d 'Look so often'
complete -c suspend-guest -l wait -x -d 'Wait so long for a page'
complete -c suspend-guest -l state -xa '(__fish_complete_directories)' -d 'Keep what was applied there'
complete -c suspend-guest -l no-hooks -d 'Run no hooks'
complete -c suspend-guest -l debug -d 'Say more'
