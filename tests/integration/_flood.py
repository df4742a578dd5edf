# SPDX-License-Identifier: LGPL-2.1-or-later
"""_flood.py MACHINE-PATH...: calls everything that suspendd has, as fast as the bus takes it, by many connections, until its
input ends. Most of them want no reply, for of those that want one the bus refuses what is too much. Says "going" once it is under way, then "enough", and at the end how
many calls it sent that wanted none.
A program of its own, so that it can be run as any user; the bus is spoken to byte by byte, as no library would be as quick."""

import select
import socket
import struct
import sys

BUS = "/run/dbus/system_bus_socket"
CONNECTIONS = 4
WANTING = 2  # more of them, that want replies
REPEATS = 10
STAGES = [(5000, "going"), (100000, "enough")]
NO_REPLY = 1
NAME, MANAGER = "org.suspendd1", "/org/suspendd1"

# member, interface, arguments
MANAGER_CALLS = [
    ("ListMachines", "org.suspendd1.Manager", ()), ("GetMachine", "org.suspendd1.Manager", ("a",)),
    ("GetHistory", "org.suspendd1.Manager", (0,)), ("Register", "org.suspendd1.Manager", ("", "", "/tmp/flood.qmp", "")),
    ("Unregister", "org.suspendd1.Manager", ("", "/tmp/flood.qmp")),
    ("Notify", "org.suspendd1.Manager", ("qmp", "started", "flood")), ("ListPages", "org.suspendd1.Manager", ()),
    ("RemovePage", "org.suspendd1.Manager", ("flood", True)), ("Reload", "org.suspendd1.Manager", ()),
    ("GetManagedObjects", "org.freedesktop.DBus.ObjectManager", ()),
    ("GetAll", "org.freedesktop.DBus.Properties", ("org.suspendd1.Manager",)),
    ("Introspect", "org.freedesktop.DBus.Introspectable", ()),
]
MACHINE_CALLS = [
    ("SetMode", "org.suspendd1.Machine", ("ignore",)), ("StoreMode", "org.suspendd1.Machine", ("ignore",)),
    ("Sync", "org.suspendd1.Machine", ()),
    ("GetAll", "org.freedesktop.DBus.Properties", ("org.suspendd1.Machine",)),
]


def padded(data, to):
    """Filled up with zeros to a multiple."""
    return data + b"\0" * (-len(data) % to)


def text(value):
    """A string or an object path."""
    return struct.pack("<I", len(value)) + value.encode() + b"\0"


def field(code, kind, value):
    """One field of a message's header."""
    value = bytes([len(value)]) + value.encode() + b"\0" if kind == "g" else text(value)
    return padded(bytes([code, 1]) + kind.encode() + b"\0" + value, 8)


def message(destination, path, interface, member, arguments, flags=0, serial=1):
    """A method call."""
    body, signature = b"", ""
    for value in arguments:
        body = padded(body, 4) + (text(value) if isinstance(value, str) else struct.pack("<I", value))
        signature += "s" if isinstance(value, str) else "b" if isinstance(value, bool) else "u"
    fields = field(1, "o", path) + field(2, "s", interface) + field(3, "s", member) + field(6, "s", destination)
    last = field(8, "g", signature) if signature else b""
    # The length is without the padding behind the last field; each field here is padded, so that it is cut off.
    fields += last
    length = len(fields.rstrip(b"\0")) + 1
    return padded(b"l\1" + bytes([flags, 1]) + struct.pack("<III", len(body), serial, length) + fields[:length], 8) + body


def connect(path=BUS):
    """A connection that has said hello."""
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    s.sendall(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")
    s.sendall(message("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello", ()))
    seen = b""
    while b"NameAcquired" not in seen:
        data = s.recv(4096)
        if not data:
            raise SystemExit("the bus does not want us: %r" % seen)
        seen += data
    s.setblocking(False)
    return s


class Sender:
    """One connection, and what is left of what it sends."""

    def __init__(self, calls, flags):
        self.socket, self.at = connect(), 0
        self.batch = memoryview(b"".join(message(NAME, *call, flags, 2 + i) for i, call in enumerate(calls)))
        self.counts = len(calls) if flags & NO_REPLY else 0

    def send(self):
        """Sends on. How many calls that want no reply are sent with that."""
        self.at += self.socket.send(self.batch[self.at:])
        if self.at < len(self.batch):
            return 0
        self.at = 0
        return self.counts


def main():
    calls = [(MANAGER, i, m, a) for m, i, a in MANAGER_CALLS]
    calls += [(path, i, m, a) for path in sys.argv[1:] for m, i, a in MACHINE_CALLS]
    flags = [NO_REPLY] * CONNECTIONS + [0] * WANTING
    senders = {s.socket: s for s in (Sender(calls * REPEATS, f) for f in flags)}
    n, stages = 0, list(STAGES)
    while True:
        readable, writable, _ = select.select([sys.stdin] + list(senders), list(senders), [])
        if sys.stdin in readable:
            break
        for s in readable:
            if not s.recv(65536):
                raise SystemExit("thrown out after %d calls" % n)
        n += sum(senders[s].send() for s in writable)
        if stages and n >= stages[0][0]:
            print(stages.pop(0)[1], flush=True)
    print(n, flush=True)


if __name__ == "__main__":
    main()
