# SPDX-License-Identifier: LGPL-2.1-or-later
"""A drift page in a file, written as suspendd writes it."""

import os
import socket
import struct
import threading
import time

SIZE = 4096
RECORD = 0x800
ANSWER = 0xc00
MAGIC = 0x5446524450535553
VMCLOCK_MAGIC = 0x4b4c4356
NO_COUNTER = 0xff
FLAG_NOTIFIES = 1 << 9
LOWER_BOUND, STOPPING = 1, 2
LAYOUT = "<QIIIIQQQQQQqqqQ"
SEQUENCE = 16  # in the record

NAMES = ("magic", "revision", "size", "sequence", "flags", "epoch", "cycles", "unseen", "seen", "last_unseen", "last_seen",
         "host_realtime", "host_boottime", "host_stepped", "publishings")


class GuestPage:
    """The host's side of a page, in whatever file backs it."""

    def __init__(self, path, epoch=0x1234, notifies=False):
        self.path = path
        self.flags = FLAG_NOTIFIES if notifies else 0
        self.moves = 0
        self.values = dict.fromkeys(NAMES, 0)
        self.values.update(magic=MAGIC, revision=1, size=struct.calcsize(LAYOUT), epoch=epoch)
        with open(path, "wb") as f:
            f.write(b"\0" * SIZE)
        self.publish()

    def publish(self, flags=0, **changes):
        """Writes the record anew, with the host's clocks of now."""
        self.values.update(changes, flags=flags, host_realtime=time.time_ns(), host_boottime=time.clock_gettime_ns(time.CLOCK_BOOTTIME))
        self.values["publishings"] += 1
        with open(self.path, "r+b", buffering=0) as f:
            f.seek(RECORD + SEQUENCE)
            f.write(struct.pack("<I", self.values["sequence"] + 1))
            f.seek(RECORD)
            f.write(struct.pack(LAYOUT, *(dict(self.values, sequence=self.values["sequence"] + 1)[x] for x in NAMES)))
            self.values["sequence"] += 2
            f.seek(RECORD + SEQUENCE)
            f.write(struct.pack("<I", self.values["sequence"]))
        self.move()

    def move(self):
        """Writes the VMClock part anew: something has happened."""
        self.moves += 1
        self.poke(0, struct.pack("<IIHBBIQQ", VMCLOCK_MAGIC, SIZE, 1, NO_COUNTER, 0, 2 * self.moves, self.moves, self.flags))

    def lose(self, nanoseconds, flags=0, new_cycle=True):
        """Publishes a loss."""
        values = self.values
        if new_cycle:
            values.update(cycles=values["cycles"] + 1, last_unseen=0, last_seen=0)
        self.publish(flags, unseen=values["unseen"] + nanoseconds, last_unseen=values["last_unseen"] + nanoseconds)

    def sleep(self, nanoseconds):
        """Publishes a suspend of the guest's own."""
        values = self.values
        values.update(cycles=values["cycles"] + 1, last_unseen=0)
        self.publish(0, seen=values["seen"] + nanoseconds, last_seen=nanoseconds)

    def answer(self):
        """What the guest answers, or None: dict of epoch, applied, corrects, refused, publishings."""
        with open(self.path, "rb") as f:
            f.seek(ANSWER)
            magic, *rest = struct.unpack("<QQQQQQ", f.read(48))
        return dict(zip(("epoch", "applied", "corrects", "refused", "publishings"), rest)) if magic == 0x4b43414450535553 else None

    def poke(self, offset, data):
        """Overwrites bytes."""
        with open(self.path, "r+b", buffering=0) as f:
            f.seek(offset)
            f.write(data)


class Doorbell:
    """An ivshmem server for one page: whoever connects gets the page's memory and interrupts."""

    def __init__(self, path, page, vectors=2):
        self.events = [os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) for _ in range(vectors)]
        self.memory = os.open(page.path, os.O_RDWR | os.O_CLOEXEC)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(path)
        self.socket.listen(4)
        self.clients = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                client = self.socket.accept()[0]
            except OSError:
                return
            self.clients.append(client)
            client.sendall(struct.pack("<qq", 0, 1))  # the protocol's version, the client's number
            socket.send_fds(client, [struct.pack("<q", -1)], [self.memory])
            for event in self.events:
                socket.send_fds(client, [struct.pack("<q", 1)], [event])

    def ring(self):
        """Raises the first interrupt."""
        os.eventfd_write(self.events[0], 1)

    def close(self):
        """Lets go of all."""
        self.socket.shutdown(socket.SHUT_RDWR)
        for one in (self.socket, *self.clients):
            one.close()
        for fd in (self.memory, *self.events):
            os.close(fd)
