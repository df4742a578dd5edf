# SPDX-License-Identifier: LGPL-2.1-or-later
"""What happened, told from what was seen beside suspendd, and whether it is what should have happened.

Seen beside it: logind's signals, the events of QEMU on a monitor of the demo's own, the guests' own words on
their control lines. Its record is compared with these, it does not vouch for itself."""

import datetime

from lab import LabError
from lab.suspendd import of
from screen import INDENT, span

MS = 1000000
CLOCK_LIMIT = 5 * MS       # how right the clock of a guest with an agent must be
STAND_LIMIT = 250 * MS     # how far two ways to measure a stand may differ; the guests are emulated


def late(ns):
    """An error of a clock, in words."""
    return "%s %s" % (span(ns), "behind" if ns < 0 else "ahead")


class Witness:
    """What is seen of one guest from outside suspendd."""

    def __init__(self, guest):
        self.guest, self.name = guest, guest.name
        self.mark = guest.monitor.mark()
        self.before, self.error_before = guest.clocks(), guest.clock_error()
        self.asleep = self.status = self.after = self.error = None

    def look_asleep(self):
        """Notes what QEMU says while the host sleeps."""
        self.asleep = self.guest.status()

    def look_after(self):
        """Notes how the guest is once all is over. LabError if it cannot tell, for it does not run."""
        self.status = self.guest.status()
        if self.status != "running":
            raise LabError("%s is still %s" % (self.name, self.status))
        self.after, self.error = self.guest.clocks(), self.guest.clock_error()

    def event(self, name):
        """When QEMU told of it, CLOCK_REALTIME in s; None if it did not."""
        found = self.guest.monitor.find(name, self.mark)
        return found.realtime if found else None

    def lost(self):
        """How much less the guest's CLOCK_MONOTONIC counted than passed, ns."""
        return (self.after["host_realtime"] - self.before["host_realtime"]
                - self.after["monotonic"] + self.before["monotonic"])


def beginning(record, web):
    """When suspendd was told, CLOCK_REALTIME in s: counted back from web's stand, the one moment that QEMU dates too."""
    stood, after_usec = web.event("SUSPEND"), of(record, "web")["stood_after_usec"]
    if stood and after_usec:
        return stood - after_usec / 1e6
    return datetime.datetime.fromisoformat(record["began"].replace("Z", "+00:00")).timestamp()


def timeline(stage, record, web, db):
    """Lines of the story, in the order in which things happened."""
    began = beginning(record, web)
    told = stage.landmarks(began)
    told += [(began + record["released_after_usec"] / 1e6, "suspendd", "all stand, nothing keeps the host awake"),
             (db.event("STOP"), "db", "is paused: " + of(record, "db")["why"]),
             (db.event("RESUME"), "db", "runs again, stopped for " + span(of(record, "db")["stopped_ns"])),
             (web.event("SUSPEND"), "web", "has suspended itself (S3), asked through its agent"),
             (web.event("WAKEUP"), "web", "runs again, stopped for " + span(of(record, "web")["stopped_ns"]))]
    out = []
    for when, who, what in sorted((x for x in told if x[0] is not None), key=lambda x: x[0]):
        out.append("%s%8s  %-8s  %s" % (INDENT, span((when - began) * 1e9), who, what))
        if when == web.event("WAKEUP"):
            out += [" " * 26 + x for x in clock_words(of(record, "web")["time"])]
    return out


def clock_words(clock):
    """What became of web's clock by suspendd's record."""
    if clock["verdict"] != "set":
        return ["its clock: " + clock["verdict"]]
    return ["its clock was %s; it was set," % late(clock["before_ns"]),
            "and reads back %s ±%s" % (late(clock["after_ns"]), span(clock["after_uncertainty_ns"]))]


def verdicts(stage, record, web, db, sleep_seconds):
    """What must have held: (whether it did, who, what was seen)."""
    return [web_stood(web), web_clock(web), lost_time(web, of(record, "web")),
            db_stood(db), lost_time(db, of(record, "db")), db_clock(db),
            *stage.verdicts(), recorded(stage, record, sleep_seconds)]


def web_stood(web):
    """The guest with an agent suspended itself and is back."""
    held = (web.event("SUSPEND") and web.event("WAKEUP") and web.asleep == "suspended" and web.status == "running"
            and not web.event("STOP"))
    return held, "web", "QEMU told %s; %s in the sleep, %s now" % (events(web), web.asleep, web.status)


def db_stood(db):
    """The one without was paused and is back."""
    held = (db.event("STOP") and db.event("RESUME") and db.asleep == "paused" and db.status == "running"
            and not db.event("SUSPEND"))
    return held, "db", "QEMU told %s; %s in the sleep, %s now" % (events(db), db.asleep, db.status)


def events(witness):
    """The names of the events about its run state."""
    seen = [x.name for x in witness.guest.monitor.events[witness.mark:]]
    return ", ".join(x for x in seen if x in ("SUSPEND", "WAKEUP", "STOP", "RESUME")) or "nothing"


def web_clock(web):
    """With an agent the clock is right."""
    error, uncertainty = web.error
    return (abs(error) + uncertainty <= CLOCK_LIMIT, "web",
            "its clock is %s ±%s, 5 ms allowed" % (late(error), span(uncertainty)))


def db_clock(db):
    """Without an agent nobody sets the clock: it is late by the stand."""
    late_by = db.error_before[0] - db.error[0]
    return (abs(late_by - db.lost()) <= STAND_LIMIT, "db",
            "its clock is %s: no agent to set it" % late(db.error[0]))


def lost_time(witness, told):
    """Guests measure the stand themselves, and it is what the record says."""
    return (told["stopped_ns"] > 0 and abs(witness.lost() - told["stopped_ns"]) <= STAND_LIMIT, witness.name,
            "its CLOCK_MONOTONIC stood still for %s" % span(witness.lost()))


def recorded(stage, record, sleep_seconds):
    """The record tells the same story."""
    web, db = of(record, "web"), of(record, "db")
    slept = sleep_seconds * 1000 * MS if stage.kind == "sleep" else 0
    held = ((web["asked"], web["stood"], web["failed"]) == ("suspend", "suspended", False)
            and (db["asked"], db["stood"], db["failed"]) == ("pause", "paused", False)
            and (record["kind"], record["ended"]) == (stage.kind, "woke")
            and not record["overdue"] and record["released_after_usec"] < record["budget_usec"]
            and abs(record["slept_ns"] - slept) <= 1000 * MS)
    return held, "suspendd", "its record says %s: %s, %s asleep, ended: %s" % (
        "the same" if held else "otherwise", record["kind"], span(record["slept_ns"]), record["ended"])
