#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A host goes to sleep with two virtual machines on it, and wakes up again: "./dev demo".

As root everything is real but the sleep itself: systemd, logind, D-Bus, suspendd as its service, QEMU, Linux.
Not as root it is a rehearsal, with a logind that is played. Exit status 0 only if all that must hold did."""

import argparse
import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(1, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from lab import LabError, LabUnavailable, guest_image, wait_for  # noqa: E402
from screen import INDENT, Screen  # noqa: E402
from stages import SLEEP, HostStage, UserStage  # noqa: E402
from story import Witness, timeline, verdicts  # noqa: E402

HALF_LIMIT_NS = 2500000


class Demo:
    """One run of it."""

    def __init__(self, stage):
        self.stage, self.screen = stage, Screen(4)
        self.guests = []

    def run(self):
        """All of it. True if all held."""
        screen = self.screen
        screen.say(screen.paint("1", "Two virtual machines on a host that goes to sleep") +
                   ("" if self.stage.kind == "sleep" else ": a rehearsal" + (", without root" if os.geteuid() else "")))
        self.prepare()
        record, web, db = self.sleep()
        for line in timeline(self.stage, record, web, db):
            screen.say(line)
        screen.heading("Checked from outside suspendd")
        results = verdicts(self.stage, record, web, db, SLEEP)
        for held, who, what in results:
            word = screen.paint("32", "ok") if held else screen.paint("31", "NO")
            screen.say("%s%s  %-8s  %s" % (" " * 4, word, who, what))
        screen.heading("suspendd's own record: suspendctl history 1")
        self.stage.show("history", "1")
        return all(x[0] for x in results)

    def prepare(self):
        """Host, daemon, guests."""
        with self.screen.step(self.stage.title) as step:
            step.note("starting")
            step.done = self.stage.start()
        with self.screen.step("suspendd") as step:
            step.note("installing and starting")
            step.done = self.stage.start_suspendd()
        with self.screen.step("guests") as step:
            step.done = self.start_guests(step)

    def start_guests(self, step):
        """Starts both and waits until suspendd knows what it would do with each."""
        step.note("looking for their image")
        guest_image()
        self.guests = [self.stage.guest("web"), self.stage.guest("db", channel=False, agent=False)]
        step.note("web and db boot Linux, emulated")
        for guest in self.guests:
            guest.wait_up()
            self.right_clock(guest)
        step.note("suspendd gets to know them")
        wait_for(self.plans_are_right, 30, "suspendctl list: web suspend, db pause", interval=0.1)
        linux = ".".join(self.guests[0].console().split("GUEST-UP ")[1].split(".")[:2])
        qemu = self.guests[0].monitor.greeting["QMP"]["version"]["qemu"]
        return "web with a guest agent, db without: Linux %s, QEMU %d.%d" % (linux, qemu["major"], qemu["minor"])

    @staticmethod
    def right_clock(guest):
        """Guests have their time from a clock of whole seconds: sets it right, so that what is wrong later is the sleep's."""
        guest.set_clock_error(0)
        wait_for(lambda: abs(guest.clock_error()[0]) < HALF_LIMIT_NS or guest.set_clock_error(0), 10, "clock right")

    def plans_are_right(self):
        """Whether suspendd would do what we came to see."""
        rows = [x.split() for x in self.stage.ctl("list").splitlines()]
        plans = {x[0]: x[3] for x in rows if len(x) > 3}
        return plans.get("web") == "suspend" and plans.get("db") == "pause"

    def sleep(self):
        """The sleep. (record, witness of web, witness of db)"""
        with self.screen.step("sleep") as step:
            step.note(self.stage.command)
            web, db = [Witness(guest) for guest in self.guests]
            self.stage.sleep_begin(*self.guests)
            for witness in (web, db):
                witness.look_asleep()
            step.note("%s for %d s: web %s, db %s" % (
                "the host sleeps" if self.stage.kind == "sleep" else "rehearsing", SLEEP, web.asleep, db.asleep))
            self.stage.sleep_end()
            step.note("waking")
            record = self.stage.record()
            for witness in (web, db):
                witness.look_after()
            step.done = self.stage.words
        return record, web, db

    def keep(self):
        """Leaves all as it is until Enter or Ctrl-C."""
        self.screen.say("\nAll of it runs on. To look around, in another terminal:\n%s%s" % (
            INDENT, self.stage.entrance()))
        self.screen.say("Enter ends it.")
        try:
            sys.stdin.readline()
        except KeyboardInterrupt:
            pass

    def stop(self):
        """Ends guests and stage."""
        for guest in self.guests:
            guest.kill()
        self.stage.stop()


def main():
    parser = argparse.ArgumentParser(prog="./dev demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave all running until Enter, and tell how to enter it")
    parser.add_argument("--rehearse", action="store_true", help="do what is done without root")
    args = parser.parse_args()

    demo = Demo(UserStage() if os.geteuid() or args.rehearse else HostStage())
    paint = demo.screen.paint
    held, keep_logs, reason = False, True, "see NO above"
    try:
        held = demo.run()
        if args.keep:
            demo.keep()
    except LabUnavailable as error:
        keep_logs, reason = False, "this machine cannot show it: %s%s" % (
            error, "; try --rehearse" if demo.stage.kind == "sleep" else "")
    except LabError as error:
        reason = str(error)
    except KeyboardInterrupt:
        keep_logs, reason = False, "interrupted"
    finally:
        if not held and keep_logs:
            demo.stage.keep_logs()
        demo.stop()
    print()
    if held:
        print(paint("1;32", "All of it held.") + " %.0f s" % (time.monotonic() - demo.screen.began))
        return 0
    print(paint("1;31", "It did not hold: ") + reason)
    return 1


if __name__ == "__main__":
    sys.exit(main())
