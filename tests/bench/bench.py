#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""suspendd's figures against their floors, on real QEMUs and a fake logind on a private bus.

Prints a table and writes BUILD/bench.json: a list of {name, value, unit, floor, ratio, n} with the
limits they were held to. Values are medians, or the 95th of 100 (…_p95); those with a floor are
measured in turns with it on the same processes. Exits with 1 if a limit is exceeded, with 2 if a figure could not be had.
"""

import argparse
import json
import math
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import clock_parts
import libvirt_parts
import parts
from parts import BenchError

SLEEP_USEC = 700000
# The journal of what is held is on a tmpfs on every host: /run.
TMPFS = "/dev/shm" if os.path.ismount("/dev/shm") else None
# Connections and threads a connection with which libvirt-floor is quickest on two cores.
LIBVIRT_FLOOR = (4, 5)
MIB, KIB = 1024 * 1024, 1024
# Bytes of heap that a byte of input may take, where others than root send it to what waits for nobody.
FUZZ_HEAP_MAX = {x: 4 for x in ("bus", "command", "history", "journal", "names", "page", "page-reader", "qmp",
                              "vm")}
# What keeps or needs a tree is told, and bounded by its own limit on bytes: root's own files; the definition of a domain,
# by libxml2, of whoever may make libvirt run anything; a record in suspendctl, which is for whoever called it.
FUZZ_HEAP_MAX.update({x: None for x in ("config", "runtime-state", "libvirt-definition", "record")})
CORPORA = pathlib.Path(__file__).resolve().parents[1] / "fuzz" / "corpus"
# An input counts as no shorter: a directory that is read, or a stream, has a buffer whatever its length.
FUZZ_HEAP_LEAST = 32 * KIB


class Result:
    """One line of the table. The limit is on the ratio where there is a floor."""

    def __init__(self, name, values, unit, floor=None, limit=None, of=statistics.median):
        values, floor = list(values), list(floor or [])
        self.name, self.unit, self.n, self.limit = name, unit, len(values), limit
        self.value, self.least = of(values), min(values)
        self.floor_least = min(floor) if floor else None
        self.floor = statistics.median(floor) if floor else None
        self.ratio = self.value / self.floor if floor else None

    @property
    def is_over(self):
        held = self.value if self.ratio is None else self.ratio
        return self.limit is not None and held > self.limit

    def as_json(self):
        return {"name": self.name, "value": self.value, "unit": self.unit, "floor": self.floor,
                "ratio": self.ratio, "n": self.n, "limit": self.limit, "ok": not self.is_over,
                "least": self.least, "floor_least": self.floor_least}

    def as_row(self):
        def number(x):
            return "-" if x is None else "%.3g" % x if x < 100 else "%.0f" % x
        verdict = "-" if self.limit is None else "OVER" if self.is_over else "ok"
        return (self.name, number(self.value), self.unit, number(self.floor), number(self.ratio),
                number(self.limit), str(self.n), number(self.least), number(self.floor_least),
                verdict)


def p95(values):
    """That of the values which 95 of 100 do not exceed."""
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


def both(name, values, unit, limits=(None, None)):
    """Median and p95 of the same values."""
    return [Result(name, values, unit, limit=limits[0]),
            Result(name + "_p95", values, unit, limit=limits[1], of=p95)]


def milliseconds(values):
    return [ns / 1e6 for ns in values]


class Stage:
    """The bus, N machines, the floor and suspendd, all connected and at rest."""

    # QEMU stamps its events itself.
    stamp_lag_ns = 0

    def __init__(self, bench, count):
        self.bench, self.count = bench, count
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="suspendd-bench-", dir=TMPFS))
        self.open = []

    def __enter__(self):
        build = self.bench.build
        try:
            self.bus = self._add(parts.Bus(build, self.directory))
            self.machines = self._add(parts.Machines(self.directory, self.count))
            self.floor = self._add(parts.Floor(build, self.machines.floor_pattern)) \
                if self.count else None
            if self.floor:
                self.floor.act("cont")
            self.daemon = self._add(
                parts.Daemon(build, self.bus, self.directory, self.machines.directory))
            self.daemon.wait_connected(self.count)
            self.bus.call("WaitLocks", "u", 1)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _add(self, part):
        self.open.append(part)
        return part

    def __exit__(self, *_):
        for part in reversed(self.open):
            part.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def floor_round(self):
        """The floor alone, as suspendd is alone in its turn: (stop, cont), see Floor.act().

        It acts after the same rests as suspendd, with the same looks at the fake logind between:
        caches that are still warm from the stop make a cont faster.
        """
        self.daemon.freeze()
        self.bus.cycle()
        time.sleep(parts.QUIET_USEC / 1e6)
        stop = self.floor.act("stop")
        time.sleep(0.45)
        self.bus.cycle()
        time.sleep(SLEEP_USEC / 1e6 - 0.45)
        cont = self.floor.act("cont")
        self.daemon.thaw()
        return stop, cont

    def cycle_round(self):
        """One host sleep; its stamps, and those of the last STOP and RESUME as QEMU tells them."""
        self.bus.call("WaitLocks", "u", 1)
        self.floor.order("clear")
        cycle = self.bus.sleep(SLEEP_USEC)
        n, cycle["last_stop_ns"] = self.floor.last("STOP")
        if n != self.count or cycle["last_stop_ns"] > cycle["released_ns"] + self.stamp_lag_ns:
            raise BenchError("%d of %d stood, the last %d us after the lock went" % (
                n, self.count, (cycle["last_stop_ns"] - cycle["released_ns"]) / 1000))
        if cycle["overrun"]:
            raise BenchError("the lock was held too long")
        cycle["last_resume_ns"] = self.floor.wait_last("RESUME")
        return cycle


class LibvirtStage(Stage):
    """The same with N domains of a real libvirtd."""

    # libvirt's events have no stamp: they are stamped when they have come through to the floor.
    stamp_lag_ns = 25000000

    def __init__(self, bench, count, keepalive=True):
        super().__init__(bench, count)
        self.keepalive = keepalive

    def __enter__(self):
        build = self.bench.build
        try:
            self.bus = self._add(parts.Bus(build, self.directory))
            self.machines = self._add(libvirt_parts.Domains(build, self.count, self.keepalive))
            self.uri = self.machines.uri
            self.floor = self._add(libvirt_parts.LibvirtFloor(build, self.uri, *LIBVIRT_FLOOR))
            self.daemon = self._add(
                libvirt_parts.LibvirtDaemon(build, self.bus, self.directory, self.uri))
            self.daemon.wait_machines(self.bus, self.count)
            self.bus.call("WaitLocks", "u", 1)
        except BaseException:
            self.__exit__()
            raise
        return self


class Bench:
    """The measurements, each a method that returns its results."""

    def __init__(self, build, quick):
        self.build, self.quick = build, quick

    def runs(self, n):
        return min(n, 5) if self.quick else n

    def cycles(self, count, n):
        """release_N and resume_N."""
        release, resume, stops, conts = [], [], [], []
        with Stage(self, count) as stage:
            stage.floor_round()
            stage.cycle_round()
            for _ in range(self.runs(n)):
                stop, cont = stage.floor_round()
                cycle = stage.cycle_round()
                stage.daemon.settle()
                stops.append(stop[0])
                conts.append(cont[1])
                release.append(cycle["released_ns"] - cycle["sent_true_ns"])
                resume.append(cycle["last_resume_ns"] - cycle["sent_false_ns"])
            results = [
                Result("release_%d" % count, milliseconds(release), "ms", milliseconds(stops),
                       1.25),
                Result("resume_%d" % count, milliseconds(resume), "ms", milliseconds(conts), 1.25),
            ]
            if count == 100:
                results += self.script(stage, milliseconds(stops))
        return results

    def script(self, stage, stops):
        """The usual answer: a sleep hook that asks one monitor after the other."""
        stage.daemon.close()
        stage.floor.close()
        hook = pathlib.Path(__file__).with_name("hook.sh")
        times = []
        for _ in range(3):
            for verb in ("stop", "cont"):
                start = time.monotonic()
                subprocess.run([hook, verb, stage.machines.directory], check=True,
                               stdin=subprocess.DEVNULL, timeout=120)
                if verb == "stop":
                    times.append((time.monotonic() - start) * 1e3)
        return [Result("script", times, "ms", stops)]

    def cycles_100(self):
        return self.cycles(100, 25)

    def cycles_500(self):
        return self.cycles(500, 9)

    def isolation(self):
        """When 64 healthy machines stood, with three bad ones beside them and without."""
        with Stage(self, 64) as stage:
            stage.bus.call("SetDelayMax", "t", 2000000)
            alone, beside = [], []
            stage.cycle_round()
            for _ in range(self.runs(15)):
                alone.append(self.stood(stage))
                with parts.Fakes(self.build, stage.machines.directory, "bad0=hung", "bad1=flood",
                                 "bad2=drip"):
                    # a flooded daemon never rests: it has a second to take them in
                    time.sleep(1)
                    beside.append(self.stood(stage))
                stage.daemon.settle()
        return [Result("isolation", milliseconds(beside), "ms", milliseconds(alone), 1.1)]

    @staticmethod
    def stood(stage):
        """One cycle: when the last healthy machine stood after `true` was sent, in ns."""
        cycle = stage.cycle_round()
        return cycle["last_stop_ns"] - cycle["sent_true_ns"]

    def idle(self):
        """Wake-ups with 100 machines, memory without any and with 100."""
        seconds = 10 if self.quick else 60
        with Stage(self, 0) as stage:
            stage.daemon.settle()
            rss, pss = parts.memory_on_host(self.build) or stage.daemon.memory()
            rss_0 = stage.daemon.memory()[0]
        with Stage(self, 100) as stage:
            stage.daemon.settle()
            before = stage.daemon.switches()
            time.sleep(seconds)
            wakeups = stage.daemon.switches() - before
            rss_100 = stage.daemon.memory()[0]
        return [
            Result("idle_wakeups", [wakeups * 60 / seconds], "in 60 s", limit=0),
            Result("idle_pss", [pss / MIB], "MiB", limit=1.3),
            Result("idle_rss", [rss / MIB], "MiB", limit=3.8),
            Result("rss_per_machine", [(rss_100 - rss_0) / 100 / KIB], "KiB", limit=24),
        ]

    def libvirt(self):
        """Release and resume of 50 domains beside a threaded client's, the usual loop around virsh, memory."""
        release, resume, stops, conts = [], [], [], []
        with LibvirtStage(self, 50) as stage:
            rss = stage.daemon.memory()[0]
            bare = libvirt_parts.bare_client_rss(self.build, stage.uri)
            stage.floor_round()
            stage.cycle_round()
            for _ in range(self.runs(51)):
                stop, cont = stage.floor_round()
                cycle = stage.cycle_round()
                stage.daemon.settle()
                stops.append(stop[0])
                conts.append(cont[1])
                release.append(cycle["released_ns"] - cycle["sent_true_ns"])
                resume.append(cycle["last_resume_ns"] - cycle["sent_false_ns"])
            stage.daemon.close()
            loop = []
            for _ in range(3):
                loop.append(libvirt_parts.virsh_loop(stage.uri, "suspend") * 1e3)
                libvirt_parts.virsh_loop(stage.uri, "resume")
        return [
            Result("libvirt_release_50", milliseconds(release), "ms", milliseconds(stops), 1.25),
            Result("libvirt_resume_50", milliseconds(resume), "ms", milliseconds(conts), 1.25),
            Result("libvirt_virsh_50", milliseconds(release), "ms", loop, 0.1),
            Result("libvirt_rss", [rss / MIB], "MiB", [bare / MIB], 1.25),
        ]

    def libvirt_idle(self):
        """Context switches with 50 domains: libvirtd's own pings, and nothing where it sends none."""
        seconds = 10 if self.quick else 60
        wakeups = []
        for keepalive in (True, False):
            with LibvirtStage(self, 50, keepalive) as stage:
                stage.daemon.settle(still=3)
                before = stage.daemon.switches()
                time.sleep(seconds)
                wakeups.append((stage.daemon.switches() - before) * 60 / seconds)
        return [
            # Twelve pings, each with a wake-up, its answer, and what the answer wakes.
            Result("libvirt_idle_pinged", wakeups[:1], "in 60 s", limit=48),
            Result("libvirt_idle_wakeups", wakeups[1:], "in 60 s", limit=0),
        ]

    def start(self):
        """From exec to READY=1, in turns with a bare service."""
        count = self.runs(101)
        with Stage(self, 0) as stage:
            stage.daemon.close()
            result = subprocess.run(
                [str(self.build.find("start")), str(count), *map(str, stage.daemon.argv), "--",
                 str(self.build.find("bare"))], env=stage.daemon.env, check=False,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                text=True)
            if result.returncode != 0:
                raise BenchError(result.stderr.strip()[-300:])
        pairs = [tuple(map(int, line.split())) for line in result.stdout.splitlines()]
        return [Result("start", milliseconds(a for a, _ in pairs), "ms",
                       milliseconds(b for _, b in pairs), 1.5)]

    def residual(self):
        """How wrong a guest's clock is after a pause, put right by suspendd and its agent, by its page, by virsh domtime
        and by guest-set-time; and from RESUME to a right clock."""
        cycles, peers = (5, 3) if self.quick else (30, 12)
        with clock_parts.ClockHost(self.build) as host:
            with clock_parts.Clock(host, "agent") as clock:
                seen = clock_parts.Seen("agent")
                seen.cycles(clock, cycles, warm_up=1)
                others = clock_parts.others(clock, peers)
            results = self.residuals(seen, 100)
            for other in others:
                results += both("residual_" + other.name, milliseconds(other.residuals), "ms")
            with clock_parts.PagedClock(host, "page") as clock:
                for plugin, name in (("qmp", "page"), ("libvirt", "page_libvirt")):
                    host.use(plugin)
                    clock.wait_managed()
                    seen = clock_parts.Seen(name)
                    seen.cycles(clock, cycles, warm_up=1)
                    results += self.residuals(seen, 20)
        return results

    @staticmethod
    def residuals(seen, limit):
        """What is told of suspendd's own."""
        return both("residual_" + seen.name, milliseconds(seen.residuals), "ms", (0.5, 2)) + [
            Result("residual_%s_known_to" % seen.name, milliseconds(seen.doubts), "ms", limit=0.25, of=max),
        ] + both("right_after_" + seen.name, milliseconds(seen.rights), "ms", (limit, None)) + [
            Result("never_right_" + seen.name, [seen.n_never], "cycles")]

    def fuzz_heap(self):
        """Heap a byte of input, of the worst file in each corpus."""
        results = []
        for name, limit in FUZZ_HEAP_MAX.items():
            program = self.build.find("heap-" + name)
            corpus = CORPORA / name
            done = subprocess.run([str(program), str(corpus)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  stdin=subprocess.DEVNULL, check=False, timeout=120, text=True)
            if done.returncode != 0:
                raise BenchError("heap-%s: %s" % (name, done.stderr.strip()[-300:]))
            figures = [tuple(map(int, line.split()[-2:])) for line in done.stdout.splitlines()]
            alone = figures[0][1]
            results.append(Result("fuzz_heap_" + name, [
                max(0, heap - alone) / max(size, FUZZ_HEAP_LEAST) for size, heap in figures[1:]], "B/B", limit=limit,
                of=max))
        return results


MEASUREMENTS = {
    "start": Bench.start,
    "idle": Bench.idle,
    "isolation": Bench.isolation,
    "cycles_100": Bench.cycles_100,
    "cycles_500": Bench.cycles_500,
    "libvirt": Bench.libvirt,
    "libvirt_idle": Bench.libvirt_idle,
    "residual": Bench.residual,
    "fuzz_heap": Bench.fuzz_heap,
}
GIVES = {  # which measurement a single figure comes from
    "release_100": "cycles_100", "resume_100": "cycles_100", "script": "cycles_100",
    "release_500": "cycles_500", "resume_500": "cycles_500", "idle_wakeups": "idle",
    "idle_pss": "idle", "idle_rss": "idle", "rss_per_machine": "idle",
    "libvirt_release_50": "libvirt", "libvirt_resume_50": "libvirt", "libvirt_virsh_50": "libvirt",
    "libvirt_rss": "libvirt", "libvirt_idle_pinged": "libvirt_idle",
    "libvirt_idle_wakeups": "libvirt_idle",
}


def print_table(results):
    rows = [("figure", "median", "unit", "floor", "ratio", "limit", "n", "least",
             "least floor", "")]
    rows += [r.as_row() for r in results]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [cell.ljust(w) if i in (0, 2) else cell.rjust(w)
                 for i, (cell, w) in enumerate(zip(row, widths))]
        print("  ".join(cells).rstrip())


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--build", default="build", help="meson's build directory")
    p.add_argument("--only", metavar="NAME", action="append", default=[],
                   choices=sorted([*MEASUREMENTS, *GIVES]), help="one figure or measurement")
    p.add_argument("--quick", action="store_true", help="fewer runs, no 500 machines")
    args = p.parse_args()

    names = [GIVES.get(name, name) for name in args.only] or \
        [name for name in MEASUREMENTS if not (args.quick and name == "cycles_500")]
    bench = Bench(parts.Build(args.build), args.quick)
    results, failures = [], 0
    for name in dict.fromkeys(names):
        print("measuring %s ..." % name, file=sys.stderr, flush=True)
        try:
            results += MEASUREMENTS[name](bench)
        except (BenchError, OSError, subprocess.SubprocessError) as e:
            print("%s: %s" % (name, e), file=sys.stderr)
            failures += 1

    print_table(results)
    out = bench.build.directory / "bench.json"
    out.write_text(json.dumps([r.as_json() for r in results], indent=2) + "\n")
    if failures:
        return 2
    return 1 if any(r.is_over for r in results) else 0


if __name__ == "__main__":
    sys.exit(main())
