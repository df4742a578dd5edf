#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later

# hook.sh stop|cont DIR
#
# A sleep hook as people write it: for each monitor in DIR one exchange by socat, one after the
# other. What suspendd is compared with.

set -euo pipefail

# One exchange, with the monitor on stdin and stdout: ends with the reply that follows the event.
exchange() {
        local line event=STOP has_seen=

        [[ $1 == stop ]] || event=RESUME
        echo '{"execute":"qmp_capabilities"}'
        echo "{\"execute\":\"$1\"}"
        while read -r -t 10 line; do
                [[ $line != *"\"$event\""* ]] || has_seen=1
                [[ -z $has_seen || $line != *'"return"'* ]] || return 0
        done
        return 1
}

if [[ $1 == exchange ]]; then
        exchange "$2"
        exit
fi

for monitor in "$2"/*.qmp; do
        socat -t 0 "UNIX-CONNECT:$monitor" "EXEC:$0 exchange $1"
done
