# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tests in Python: each file in a process of its own, its outcomes read while it runs."""

import concurrent.futures
import glob
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

from . import process
from .results import FAILED, SKIPPED

HERE = os.path.dirname(os.path.abspath(__file__))
FILE_TIMEOUT = 420
CLEANUP_TIMEOUT = 30


def files_in(folder):
    """The test files of a folder, in order."""
    return sorted(x for x in glob.glob(folder + "/*.py") if not os.path.basename(x).startswith("_"))


def wait_and_tell(child, events, report, failures, timeout):
    """Waits for the child's end and shows each outcome as it comes; what failed is added to @failures.
    False if it took too long."""
    end = time.monotonic() + timeout
    while True:
        ended = child.poll() is not None
        for line in events:
            outcome = json.loads(line)
            report.add_line(*outcome)
            if outcome[1] == FAILED:
                failures.append(outcome[0])
        if ended:
            return True
        if time.monotonic() >= end:
            return False
        try:
            child.wait(0.2)
        except subprocess.TimeoutExpired:
            pass


def run_file(report, path, args, env, timeout):
    """Runs one file into @report."""
    failures = []
    with tempfile.NamedTemporaryFile("r", prefix="suspendd-events-") as events, tempfile.TemporaryFile() as output:
        child = subprocess.Popen([sys.executable, os.path.join(HERE, "child.py"), path, events.name] + args,
                                 stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                                 env=dict(os.environ, **env), start_new_session=True)
        in_time = wait_and_tell(child, events, report, failures, timeout)
        if not in_time:
            # As if by hand, so that the test cleans up after itself.
            child.send_signal(signal.SIGINT)
            wait_and_tell(child, events, report, failures, CLEANUP_TIMEOUT)
        process.end_group(child)
        output.seek(0)
        text = output.read().decode(errors="backslashreplace")

    name = os.path.basename(path)
    if not in_time:
        report.add_line(name, FAILED, text + "\nnot done within %d s" % timeout)
    elif child.returncode != 0:
        report.add_line(name, FAILED, text + "\nexit code %d" % child.returncode)
    elif failures and text.strip():
        print("\n".join("          | " + x for x in text.strip().splitlines()[-40:]))


def run(report, files, quick, only, env, jobs=1, timeout=FILE_TIMEOUT):
    """Runs all files into @report, @jobs of them at a time: most of their time they wait."""
    args = ["--prefix", report.title + ":"] + (["--quick"] if quick else []) + (["--only", only] if only else [])
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for running in [pool.submit(run_file, report, path, args, env, timeout) for path in files]:
            running.result()


def skip(report, reason):
    """Counts the whole suite as one test skipped."""
    report.add_line(report.title, SKIPPED, reason)
