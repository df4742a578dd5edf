# SPDX-License-Identifier: LGPL-2.1-or-later
"""Child processes that end in time and leave nobody behind."""

import os
import signal
import subprocess
import tempfile


def end_group(process):
    """Ends a child and whatever it started in its process group."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def run(command, timeout, env=None, cwd=None):
    """(exit code, output) of a command; the code is None if it took too long. Output is stdout and stderr."""
    # A file, not a pipe: a grandchild that lives on must not keep us waiting for the end of its output.
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                                   env=dict(os.environ, **(env or {})), cwd=cwd, start_new_session=True)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            code = None
        end_group(process)
        output.seek(0)
        return code, output.read().decode(errors="backslashreplace")
