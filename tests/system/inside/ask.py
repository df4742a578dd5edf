#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""ask.py SOCKET COMMAND...: runs in the outer machine and gives commands to a QEMU's monitor; query-status prints the state.

A command "agent-set" or "agent-error" is for a guest agent at SOCKET: sets the guest's clock by the host's, or prints how
many milliseconds it is ahead. Waits for answers as long as it takes."""

import json
import socket
import sys
import time


def talk(stream, name, **arguments):
    """The answer to a command."""
    stream.write(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")
    stream.flush()
    while True:
        answer = json.loads(stream.readline().lstrip(b"\xff"))
        if "return" in answer:
            return answer["return"]
        if "error" in answer:
            sys.exit("%s: %s" % (name, answer["error"]["desc"]))


def agent_error(stream):
    """How far the guest is ahead, from the quickest of five readings."""
    best = None
    for _ in range(5):
        before = time.time_ns()
        guest = talk(stream, "guest-get-time")
        after = time.time_ns()
        if not best or after - before < best[0]:
            best = (after - before, guest - (before + after) // 2)
    return best[1]


def main():
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    stream = s.makefile("rwb")
    if not sys.argv[2].startswith("agent-"):
        talk(stream, "qmp_capabilities")
    for command in sys.argv[2:]:
        if command == "agent-set":
            talk(stream, "guest-set-time", time=time.time_ns())
        elif command == "agent-error":
            print("%.1f" % (agent_error(stream) / 1e6))
        elif command == "query-status":
            print(talk(stream, command)["status"])
        else:
            talk(stream, command)


if __name__ == "__main__":
    main()
