#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sleeps, failures, crashes, at random and without end, on some hosts at once: "./dev soak TIME [SEED]".

After each cycle: every machine that ran runs, what its user stopped is stopped, what is ignored was not touched, the
journal is empty, the lock is held, the records are true. Whatever is not so is told with the seed and the step, and the
logs are kept. Exit status 0 only if there was nothing of that kind."""

import argparse
import multiprocessing
import os
import queue
import random
import re
import signal
import sys
import time
import traceback

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "integration")]
from house import UNIT_NICE, House, Violation  # noqa: E402
from meter import Meter  # noqa: E402
from stalls import Stalls  # noqa: E402
from steps import EMPTY_EVERY, Steps  # noqa: E402

HOSTS = 4
VIOLATIONS_MAX = 3
TELL_EVERY = 60
UNITS = {"": 1, "s": 1, "min": 60, "m": 60, "h": 3600}


def span(text):
    """Seconds of 90, 90s, 2min, 1h."""
    match = re.fullmatch(r"(\d+)(s|m|min|h)?", text)
    if not match:
        raise argparse.ArgumentTypeError("%r is no span of time such as 90s, 2min or 1h" % text)
    return int(match.group(1)) * UNITS[match.group(2) or ""]


def interrupted(*_):
    """As ^C, once: what was started is ended first."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


class Host:
    """One of the hosts, in a process of its own; what it has to say goes into a queue."""

    def __init__(self, number, seed, end, told, stalls, is_verbose):
        self.number, self.seed, self.end, self.told = number, "%s/%d" % (seed, number), end, told
        self.stalls = stalls
        self.is_verbose = is_verbose
        self.is_steady = number == 0
        self.totals = {"cycles": 0, "records": 0, "starved": 0}
        self.counts, self.n_violations = {}, 0
        self.meter = Meter()

    def run(self):
        """House after house, each until a violation, until the time is over."""
        first = 0
        signal.signal(signal.SIGTERM, interrupted)
        try:
            while time.monotonic() < self.end and self.n_violations < VIOLATIONS_MAX:
                first = self.live(first)
        except KeyboardInterrupt:
            pass
        self.tell("done", self.totals, self.counts, self.meter.tell() if self.is_steady else None)

    def live(self, first):
        """One house; the number of its last step."""
        house = House()
        self.meter = Meter()
        steps = Steps(house, self.stalls, self.seed, self.is_steady)
        steps.number = first
        try:
            while time.monotonic() < self.end:
                if steps.number % EMPTY_EVERY == 0:
                    self.measure(steps)
                steps.step()
                if self.is_verbose:
                    self.tell("step", steps.number, steps.told)
                self.tell("cycles", self.totals["cycles"] + steps.n_cycles)
            self.measure(steps)
            self.meter.check()
        except KeyboardInterrupt:
            raise
        except Exception as error:  # whatever it is, it was not to be
            self.violated(house, steps, error)
        finally:
            self.count(steps)
            house.close()
        return steps.number

    def measure(self, steps):
        """What the daemon keeps when no machine is there."""
        steps.empty()
        if self.is_steady:
            self.meter.add(steps.house.daemon.pid)

    def count(self, steps):
        """Adds a house's figures."""
        self.totals["cycles"] += steps.n_cycles
        self.totals["records"] += steps.checks.n_records
        self.totals["starved"] += steps.checks.starved
        for what, n in steps.counts.items():
            self.counts[what] = self.counts.get(what, 0) + n

    def violated(self, house, steps, error):
        """Tells of it, and keeps the logs."""
        self.n_violations += 1
        house.scratch.keep = True
        text = str(error) if isinstance(error, Violation) else traceback.format_exc()
        machines = ", ".join("%s (%s, mode %s)" % (m.describe(), m.expected, m.mode) for m in house.machines.values())
        self.tell("violation", "seed %s, step %d: %s\n    machines: %s\n    %s\n    logs: %s" % (
            self.seed, steps.number, "; ".join(steps.told), machines, text, house.scratch.path))

    def tell(self, *words):
        """Something for the parent."""
        self.told.put((self.number,) + words)


class Soak:
    """All hosts, and what they say."""

    def __init__(self, args):
        self.args = args
        self.n_violations, self.cycles, self.totals, self.counts, self.steady = 0, {}, {}, {}, None

    def run(self):
        """True if there was no violation and there were cycles."""
        args, told, stalls = self.args, multiprocessing.Queue(), Stalls(UNIT_NICE)
        started = time.monotonic()
        print("soak: seed %s, %d s, %d hosts" % (args.seed, args.time, args.hosts), flush=True)
        hosts = [multiprocessing.Process(target=Host(i, args.seed, started + args.time, told, stalls, args.verbose).run)
                 for i in range(args.hosts)]
        for host in hosts:
            host.start()
        signal.signal(signal.SIGTERM, lambda *_: [host.terminate() for host in hosts])
        self.listen(hosts, told, started)
        for host in hosts:
            host.join()
        stalls.stop()
        return self.sum_up(time.monotonic() - started)

    def listen(self, hosts, told, started):
        """Until all are done."""
        n_done, next_line = 0, started + TELL_EVERY
        while n_done < len(hosts):
            if time.monotonic() > next_line:
                next_line += TELL_EVERY
                print("soak: %4d s, %d cycles, %d violations" % (
                    time.monotonic() - started, sum(self.cycles.values()), self.n_violations), flush=True)
            try:
                number, kind, *words = told.get(timeout=1)
            except queue.Empty:
                if not any(x.is_alive() for x in hosts):
                    self.n_violations += 1
                    print("soak: a host has ended without a word", flush=True)
                    return
                continue
            except KeyboardInterrupt:
                continue
            n_done += kind == "done"
            getattr(self, "on_" + kind)(number, *words)

    def on_cycles(self, number, n):
        self.cycles[number] = n

    def on_step(self, number, step, told):
        print("soak: host %d, step %d: %s" % (number, step, "; ".join(told)), flush=True)

    def on_violation(self, number, text):
        self.n_violations += 1
        print("VIOLATION: " + text, flush=True)

    def on_done(self, number, totals, counts, steady):
        self.steady = steady or self.steady
        for into, more in ((self.totals, totals), (self.counts, counts)):
            for what, n in more.items():
                into[what] = into.get(what, 0) + n

    def sum_up(self, seconds):
        """The last lines."""
        print("soak: " + ", ".join("%d %s" % (n, what) for what, n in sorted(self.counts.items())))
        print("soak: what a daemon keeps that was never ended: %s" % self.steady)
        print("soak: seed %s: %d cycles in %d s, %d records, %d times late for want of a CPU, %d violations" % (
            self.args.seed, self.totals.get("cycles", 0), seconds, self.totals.get("records", 0),
            self.totals.get("starved", 0), self.n_violations), flush=True)
        return self.n_violations == 0 and self.totals.get("cycles", 0) > 0


def main():
    parser = argparse.ArgumentParser(prog="./dev soak", description=__doc__.split("\n")[0])
    parser.add_argument("time", type=span, metavar="TIME", help="such as 90s, 2min, 1h")
    parser.add_argument("seed", nargs="?", metavar="SEED", help="the sequence of an earlier run")
    parser.add_argument("--hosts", type=int, default=HOSTS, help="how many at once (%(default)s)")
    parser.add_argument("--verbose", action="store_true", help="tell each step")
    args = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("soak: only root may own the daemon's name")
    args.seed = args.seed or "%08x" % random.SystemRandom().getrandbits(32)
    return 0 if Soak(args).run() else 1


if __name__ == "__main__":
    sys.exit(main())
