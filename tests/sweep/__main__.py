# SPDX-License-Identifier: LGPL-2.1-or-later
"""Kills suspendd, or gives it an error, at each of its system calls: "./dev sweep"."""

import argparse
import os
import signal
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from _world import SKIPPED, World, why_not  # noqa: E402


def main():
    parser = argparse.ArgumentParser(prog="./dev sweep", description=__doc__)
    parser.add_argument("--seconds", type=int, help="a sample of points, for that long; without it, all of them")
    parser.add_argument("--seed", type=int, help="of the sample")
    parser.add_argument("--scenario", help="sleep, sleep-late, start-asleep, start-awake or stop alone")
    parser.add_argument("--fault", help="death, ENOSPC, EMFILE, ENOMEM, EIO or EINTR alone")
    parser.add_argument("--nth", type=int, help="one call alone: the N-th at which the fault is possible")
    args = parser.parse_args()

    reason = why_not()
    if reason:
        print("skipped: " + reason)
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # not without ending what was started
    world = World()
    try:
        done = world.run(*("--%s=%s" % x for x in vars(args).items() if x[1] is not None))
    finally:
        world.stop()
    if done.returncode == SKIPPED:
        print("skipped: no process may be followed here")
        return 0
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
