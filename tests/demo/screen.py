# SPDX-License-Identifier: LGPL-2.1-or-later
"""How the demo tells what it does: numbered steps with their times, alive on a terminal, plain lines elsewhere."""

import contextlib
import os
import shutil
import sys
import threading
import time

HEARTBEAT = 10  # seconds between two plain lines about the same wait
INDENT = " " * 6


def span(ns):
    """A length of time in the unit that reads best; its sign is dropped."""
    ns = abs(ns)
    if ns == 0:
        return "0 s"
    if ns >= 1e9:
        return "%.2f s" % (ns / 1e9)
    if ns >= 1e7:
        return "%.0f ms" % (ns / 1e6)
    return "%.1f ms" % (ns / 1e6) if ns >= 1e5 else "%.2f ms" % (ns / 1e6)


class _Notes:
    """Stands for stderr while a step runs: what is said there becomes the step's note."""

    def __init__(self, step):
        self.step = step

    def write(self, text):
        """The last line that says something is the note."""
        lines = text.split("\n")
        for line in lines:
            if line.strip():
                self.step.note(line.strip())
        return len(text)

    def flush(self):
        """Nothing is held back."""


class Step:
    """One step under way. The line on the screen is its own until it ends."""

    def __init__(self, screen, head):
        self.screen, self.head, self.text = screen, head, ""
        self.began = self._told = time.monotonic()
        self._over = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)
        self._ticker.start()

    def note(self, text):
        """What is going on now."""
        self.text = text
        self._show()

    def _tick(self):
        while not self._over.wait(0.2 if self.screen.is_live else HEARTBEAT):
            self._show() if self.screen.is_live else self._heartbeat()

    def _show(self):
        if self.screen.is_live and not self._over.is_set():
            self.screen.overwrite("%s%s … %.0f s" % (self.head, self.text, time.monotonic() - self.began))

    def _heartbeat(self):
        self.screen.say("%s… %s, %.0f s" % (INDENT, self.text, time.monotonic() - self.began))

    def end(self, text):
        """Leaves one line that says what was done, and how long it took."""
        self._over.set()
        self._ticker.join()
        self.screen.overwrite("")
        line = self.head + text
        width = min(self.screen.width(), 100) - 9
        self.screen.say("%-*s %6.1f s" % (width, line, time.monotonic() - self.began))


class Screen:
    """Standard output."""

    def __init__(self, n_steps):
        self.n_steps, self.n = n_steps, 0
        self.began = time.monotonic()
        self.is_live = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self.is_colourful = self.is_live and not os.environ.get("NO_COLOR")

    @staticmethod
    def width():
        """Columns."""
        return shutil.get_terminal_size().columns

    def say(self, text=""):
        """One line."""
        print(text, flush=True)

    def overwrite(self, text):
        """Replaces the line on which the cursor is; only on a terminal."""
        if self.is_live:
            sys.stdout.write("\r\033[K" + text[:self.width() - 1])
            sys.stdout.flush()

    def paint(self, code, text):
        """The text in a colour, where there are colours."""
        return "\033[%sm%s\033[0m" % (code, text) if self.is_colourful else text

    def heading(self, text):
        """A line that something begins with."""
        self.say("\n" + self.paint("1", text))

    @contextlib.contextmanager
    def step(self, title):
        """The next step. Its body sets .done to what shall be left of it on the screen."""
        self.n += 1
        step = Step(self, "[%d/%d] %-9s " % (self.n, self.n_steps, title))
        step.done = ""
        try:
            with contextlib.redirect_stderr(_Notes(step)):
                yield step
        except BaseException:
            step.end("did not succeed")
            raise
        step.end(step.done)
