# SPDX-License-Identifier: LGPL-2.1-or-later
"""A QMP client and a guest agent client for the tests' own use."""

import itertools
import json
import os
import socket
import threading
import time

from .util import LabError, wait_for

YOUTH = 0.25


def connect(path, timeout=10):
    """A stream connected to a unix socket, as soon as somebody listens there."""
    def attempt():
        s = socket.socket(socket.AF_UNIX)
        try:
            s.connect(path)
            return s
        except OSError:
            s.close()
            return None
    s = wait_for(attempt, timeout, "connection to " + path)
    s.settimeout(timeout)
    return s


def outwait_youth(path):
    """Waits until a monitor's socket is so old that QEMU has made the thread that serves it: 7.2 may lose its monitor
    to a client that comes before that."""
    wait_for(lambda: os.path.exists(path), 10, path)
    time.sleep(max(0, min(YOUTH, os.stat(path).st_mtime + YOUTH - time.time())))


class Event:
    """One QMP event: name, data, QEMU's own stamp (CLOCK_REALTIME, s), when it was read (CLOCK_MONOTONIC, s)."""

    def __init__(self, message):
        self.name = message["event"]
        self.data = message.get("data", {})
        stamp = message["timestamp"]
        self.realtime = stamp["seconds"] + stamp["microseconds"] / 1e6
        self.monotonic = time.monotonic()

    def __repr__(self):
        return "%s@%.6f" % (self.name, self.realtime)


class Qmp:
    """A monitor connection. A thread reads it; all events since the connection are in .events."""

    def __init__(self, path, timeout=10):
        self.path = path
        self.events = []
        self.closed = False
        self._replies = {}
        self._ids = itertools.count()
        self._changed = threading.Condition()
        outwait_youth(path)
        self._socket = connect(path, timeout)
        self._file = self._socket.makefile("rb")
        try:
            self.greeting = json.loads(self._file.readline())
        except (OSError, ValueError) as error:
            self._file.close()
            self._socket.close()
            raise LabError("%s: no greeting (%s)" % (path, error)) from None
        self._socket.settimeout(None)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.command("qmp_capabilities")

    def _read(self):
        try:
            for line in self._file:
                message = json.loads(line)
                with self._changed:
                    if "event" in message:
                        self.events.append(Event(message))
                    else:
                        self._replies[message.get("id")] = message
                    self._changed.notify_all()
        except (OSError, ValueError):
            pass
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def raw(self, name, timeout=10, **arguments):
        """The whole reply to a command, an error included."""
        key = next(self._ids)
        message = {"execute": name, "id": key}
        if arguments:
            message["arguments"] = arguments
        self._socket.sendall(json.dumps(message).encode() + b"\n")
        with self._changed:
            self._changed.wait_for(lambda: key in self._replies or self.closed, timeout)
            if key not in self._replies:
                raise LabError("%s: no reply to %s" % (self.path, name))
            return self._replies.pop(key)

    def command(self, name, timeout=10, **arguments):
        """What a command returns; LabError if it is refused."""
        reply = self.raw(name, timeout, **arguments)
        if "error" in reply:
            raise LabError("%s: %s" % (name, reply["error"]["desc"]))
        return reply["return"]

    def mark(self):
        """How many events there were until now, for since= of the others."""
        return len(self.events)

    def find(self, name, since=0):
        """The first event of that name after the mark, or None."""
        return next((e for e in self.events[since:] if e.name == name), None)

    def wait_event(self, name, timeout, since=0):
        """The first event of that name after the mark; waits for it. LabError if it does not come."""
        with self._changed:
            self._changed.wait_for(lambda: self.find(name, since) or self.closed, timeout)
        event = self.find(name, since)
        if not event:
            raise LabError("%s: no %s within %g s, events: %s" % (self.path, name, timeout, self.events[since:]))
        return event

    def close(self):
        """Ends the connection."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._reader.join(5)
        self._file.close()
        self._socket.close()


class Agent:
    """A connection to a guest agent's channel. Holds the channel: the daemon cannot use it meanwhile."""

    def __init__(self, path, timeout=10):
        self._socket = connect(path, timeout)
        self._buffer = b""
        try:
            self.sync(timeout)
        except LabError:
            self.close()
            raise

    def _line(self, end):
        while b"\n" not in self._buffer:
            left = end - time.monotonic()
            if left <= 0:
                raise LabError("the guest agent does not answer")
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                continue
            if not data:
                raise LabError("the guest agent's channel was closed")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line

    def sync(self, timeout=10):
        """Drops what is old in the channel; asks again each second until the agent answers."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            key = time.monotonic_ns() & 0x7fffffff
            self.send("guest-sync-delimited", id=key, prefix=b"\xff")
            try:
                while True:
                    line = self._line(min(end, time.monotonic() + 1))
                    if b"\xff" in line and json.loads(line.rsplit(b"\xff", 1)[1]).get("return") == key:
                        return
            except (LabError, ValueError):
                continue
        raise LabError("the guest agent does not answer to sync")

    def send(self, name, prefix=b"", **arguments):
        """Sends a command and awaits nothing (guest-suspend-ram has no answer)."""
        message = {"execute": name}
        if arguments:
            message["arguments"] = arguments
        self._socket.sendall(prefix + json.dumps(message).encode() + b"\n")

    def command(self, name, timeout=10, **arguments):
        """What a command returns; LabError if it is refused or late."""
        self.send(name, **arguments)
        reply = json.loads(self._line(time.monotonic() + timeout).lstrip(b"\xff"))
        if "error" in reply:
            raise LabError("%s: %s" % (name, reply["error"]["desc"]))
        return reply["return"]

    def close(self):
        """Lets go of the channel."""
        self._socket.close()
