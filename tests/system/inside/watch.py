#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""watch.py FOLDER: runs in the outer machine and writes to FOLDER/events, a line of JSON each, what happens there:
the events of all QEMUs whose monitors are FOLDER/*/NAME.mon, the kernel's lines about sleep, logind's signals.

What each line's moment is counted by is its source's clock; `clocks` are those of this process when it was read."""

import glob
import json
import os
import re
import selectors
import socket
import subprocess
import sys
import time

KERNEL = re.compile(r"PM: suspend (entry|exit)|hibernation (entry|exit)|Freezing|Restarting tasks|Low-level resume|lab-")
SIGNALS = "type='signal',sender='org.freedesktop.login1',member='PrepareForSleep'"
CONSOLE = "/dev/ttyS0"
LOOK_AGAIN = 0.5


def clocks():
    """[CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_REALTIME], in nanoseconds."""
    return [time.clock_gettime_ns(x) for x in (time.CLOCK_MONOTONIC, time.CLOCK_BOOTTIME, time.CLOCK_REALTIME)]


class Watch:
    """All that is watched, and where it is written."""

    def __init__(self, folder):
        self.folder = folder
        self.out = open(os.path.join(folder, "events"), "a", buffering=1)
        self.selector = selectors.DefaultSelector()
        self.monitors = {}
        self.marks = 0

    def write(self, source, what, stamp=None):
        """Adds a line."""
        self.out.write(json.dumps({"source": source, "what": what, "stamp": stamp, "clocks": clocks()}) + "\n")

    # the kernel

    def watch_kernel(self):
        """From now on."""
        fd = os.open("/dev/kmsg", os.O_RDWR | os.O_NONBLOCK)
        os.lseek(fd, 0, os.SEEK_END)
        self.selector.register(fd, selectors.EVENT_READ, self.read_kernel)
        self.mark(fd)
        self.read_kernel(fd)

    def mark(self, fd):
        """Has the kernel stamp a line of ours, so that its clock can be compared with ours."""
        self.marks += 1
        self.write("mark", "lab-mark %d" % self.marks, clocks()[0])
        os.write(fd, b"lab-mark %d\n" % self.marks)

    def tell_outside(self):
        """Says on the console that the kernel is awake. What is sent into a machine before that may be lost."""
        with open(CONSOLE, "w") as console:
            console.write("lab-awake\n")

    def read_kernel(self, fd):
        """All lines that there are, stamped in microseconds of the kernel's own clock."""
        while True:
            try:
                head, text = os.read(fd, 8192).decode(errors="replace").split(";", 1)
            except BlockingIOError:
                return
            text = text.split("\n")[0]
            if KERNEL.search(text):
                self.write("kernel", text, int(head.split(",")[2]) * 1000)
            if text.startswith("PM:") and text.endswith(" exit"):
                self.mark(fd)
                self.tell_outside()

    # logind

    def watch_logind(self):
        """Its signals."""
        self.bus = subprocess.Popen(["busctl", "monitor", "--json=short", "--match=" + SIGNALS],
                                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.watch_lines(self.bus.stdout.fileno(), self.take_signal, lambda: None)

    def take_signal(self, message):
        """A signal, stamped with CLOCK_REALTIME."""
        if message.get("member") == "PrepareForSleep":
            self.write("logind", "PrepareForSleep(%s)" % str(message["payload"]["data"][0]).lower(),
                       message["timestamp-realtime"] * 1000)

    # QEMU

    def watch_monitors(self):
        """Those that are new, and old enough for a QEMU that would lose its monitor to a client too soon."""
        for path in set(glob.glob(self.folder + "/*/*.mon")) - set(self.monitors):
            if 0 <= time.time() - os.stat(path).st_mtime < 0.25:
                continue
            s = socket.socket(socket.AF_UNIX)
            try:
                s.connect(path)
            except OSError:
                s.close()
                continue
            self.monitors[path] = s
            s.sendall(b'{"execute": "qmp_capabilities"}\n')
            name = os.path.basename(path)[:-len(".mon")]
            self.watch_lines(s.fileno(), lambda x, n=name: self.take_event(n, x), lambda n=name, p=path: self.end(n, p))
            self.write(name, "watched")

    def take_event(self, name, message):
        """An event, stamped with CLOCK_REALTIME by its QEMU."""
        if "event" in message:
            stamp = message["timestamp"]
            self.write(name, message["event"], stamp["seconds"] * 1000000000 + stamp["microseconds"] * 1000)

    def end(self, name, path):
        """That QEMU has ended."""
        self.write(name, "gone")
        self.monitors.pop(path).close()

    def watch_lines(self, fd, take, end):
        """Calls take() with each line of JSON, and end() when there are no more."""
        kept = [b""]

        def read(fd):
            data = os.read(fd, 65536)
            *lines, kept[0] = (kept[0] + data).split(b"\n")
            for line in lines:
                take(json.loads(line))
            if not data:
                self.selector.unregister(fd)
                end()
        self.selector.register(fd, selectors.EVENT_READ, read)

    def run(self):
        """For ever."""
        self.watch_kernel()
        self.watch_logind()
        self.write("watch", "begun")
        while True:
            self.watch_monitors()
            for key, _ in self.selector.select(LOOK_AGAIN):
                key.data(key.fileobj)


if __name__ == "__main__":
    Watch(sys.argv[1]).run()
