# SPDX-License-Identifier: LGPL-2.1-or-later
"""The files that are checked, and what a check answers."""

import os
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Unavailable(Exception):
    """The check cannot be made here; the text says why."""


class Tree:
    """The project's files below a root: what git knows or would add; without git, all but build folders."""

    def __init__(self, root=ROOT):
        self.root = root
        self.files = sorted(x for x in self._list() if os.path.isfile(self.path(x)))

    def path(self, name):
        """The path of a file."""
        return os.path.join(self.root, name)

    def text(self, name):
        """A file's content; empty if it is not text."""
        with open(self.path(name), "rb") as f:
            content = f.read()
        return "" if b"\0" in content else content.decode(errors="replace")

    def lines(self, name):
        """(number, line) of a file, without the ends of line."""
        return enumerate(self.text(name).split("\n"), 1)

    def ending(self, *endings):
        """The files whose names end so."""
        return [x for x in self.files if x.endswith(endings)]

    def scripts(self, *interpreters):
        """The files that one of these interpreters runs, by their first line."""
        found = []
        for name in self.files:
            first = self.text(name).split("\n", 1)[0]
            if first.startswith("#!") and os.path.basename(first.split()[-1]) in interpreters:
                found.append(name)
        return found

    def _list(self):
        if os.path.exists(self.path(".git")):
            try:
                listed = subprocess.run(["git", "-c", "safe.directory=*", "-C", self.root, "ls-files", "-z",
                                         "--cached", "--others", "--exclude-standard"],
                                        stdout=subprocess.PIPE, check=True, timeout=60).stdout
                return listed.decode().strip("\0").split("\0")
            except (OSError, subprocess.CalledProcessError):
                pass
        return list(self._walk())

    def _walk(self):
        for folder, folders, files in os.walk(self.root):
            folders[:] = [x for x in folders if x not in (".git", "__pycache__") and not x.startswith("build")]
            for name in files:
                yield os.path.relpath(os.path.join(folder, name), self.root)
