# SPDX-License-Identifier: LGPL-2.1-or-later
"""suspend-guest in real Linux guests: pauses, freezes, their own suspend, agents that come first or last, and pages
that are none. The host's side is played: its pages are written here, as suspendd writes them."""

import json
import os
import shutil
import subprocess
import time

from lab import LabCase, LabUnavailable, Qemu, wait_for
from lab.qmp import connect
from lab.util import Scratch
from _guestpage import LOWER_BOUND, RECORD, STOPPING, Doorbell, GuestPage

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("SUSPENDD_BUILD", os.path.join(SOURCE, "build"))
S, MS = 10 ** 9, 10 ** 6
COMPILERS = {"amd64": "gcc", "arm64": "aarch64-linux-gnu-gcc"}
LOG = "/run/reader.log"

# What stamps may leave open before all is done once more; what they do is added to the limits.
DOUBT_MAX = MS
TRIES = 3
# Of the time in which something waited for a CPU: above it a guest is not run when it could.
BUSY_SHARE = 0.1


def waited_for_cpu():
    """How long, in seconds, some process had to wait for a CPU since the machine runs; 0 if the kernel does not tell."""
    try:
        with open("/proc/pressure/cpu") as f:
            return int(f.readline().rsplit("total=", 1)[1]) / 1e6
    except (OSError, IndexError, ValueError):
        return 0


def program(arch, folder):
    """The reader for guests of that architecture: what was built, if it is static and of theirs."""
    path = os.path.join(folder, "suspend-guest-" + arch)
    built = os.path.join(BUILD, "src/guest/suspend-guest")
    if arch == "amd64" and not os.path.basename(BUILD) == "asan":
        shutil.copy(built, path)
        subprocess.run(["strip", path], check=False)
        return path
    if not shutil.which(COMPILERS[arch]):
        raise LabUnavailable("no %s (package gcc-aarch64-linux-gnu)" % COMPILERS[arch])
    sources = [os.path.join(SOURCE, "src/guest", x) for x in sorted(os.listdir(os.path.join(SOURCE, "src/guest"))) if x.endswith(".c")]
    subprocess.run([COMPILERS[arch], "-std=gnu11", "-O2", "-s", "-static", "-D_GNU_SOURCE", '-DSUSPENDD_VERSION="lab"',
                    "-I", os.path.join(SOURCE, "src"), "-o", path, *sources], check=True, timeout=120)
    return path


class Switch:
    """A monitor connection that tells when a guest's clock stops and goes on, and how far that is in doubt.

    Under TCG it stops when QEMU begins with the command, and the event is 0.4 ms late, seen here, or as late as
    the vCPU's thread was to notice. But a command that goes with it, before it, is answered when that one begins. It goes
    on soon after the event, and before the answer."""

    def __init__(self, path):
        self.socket = connect(path)
        self.lines = self.socket.makefile("rb")
        self.lines.readline()
        self.socket.sendall(b'{"execute":"qmp_capabilities"}')
        self.lines.readline()

    def _run(self, *names):
        """Has QEMU do these in a row. Returns: when each was answered, and the stamp of the last event."""
        answered, stamp = [], None
        self.socket.sendall(b"".join(json.dumps({"execute": x, "id": i}).encode() for i, x in enumerate(names)))
        while len(answered) < len(names):
            message = json.loads(self.lines.readline())
            if "id" in message:
                answered.append(time.time_ns())
            elif message["event"] in ("STOP", "RESUME"):
                stamp = message["timestamp"]["seconds"] * S + message["timestamp"]["microseconds"] * 1000
        return answered, stamp

    def stop(self):
        """Returns: when it stopped, and by how much later that may have been."""
        answered, stamp = self._run("query-name", "stop")
        return answered[0], max(0, stamp - answered[0] - MS // 2)

    def cont(self):
        """The same of its going on."""
        answered, stamp = self._run("cont")
        return stamp, max(0, answered[0] - stamp - MS)


class Guest(Qemu):
    """A guest with the reader in its initramfs."""

    def _linux_arguments(self, own):
        arguments = super()._linux_arguments(own)
        at = arguments.index("-initrd") + 1
        root = self.scratch.sub("root-" + self.name)
        os.makedirs(os.path.join(root, "usr/sbin"), exist_ok=True)
        shutil.copy(program(self.board.arch, self.scratch.path), os.path.join(root, "usr/sbin/suspend-guest"))
        more = subprocess.run("find . | cpio --quiet -o -H newc", shell=True, cwd=root, stdout=subprocess.PIPE, check=True)
        with open(own + ".initrd", "wb") as new, open(arguments[at], "rb") as old:
            shutil.copyfileobj(old, new)
            new.write(more.stdout)
        arguments[at] = own + ".initrd"
        return arguments


class Reader(LabCase):
    """One guest for all tests of a class. It is told of changes by a doorbell, or looks at its page by a timer."""

    guest_options = None
    page_as = None  # what carries the page: an argument of Qemu
    reader_options = ""
    answers = True
    notifies = False

    @classmethod
    def setUpClass(cls):
        cls.scratch = Scratch()
        cls.addClassCleanup(cls.scratch.remove)
        folder = cls.scratch.sub("page")
        cls.page = GuestPage(os.path.join(folder, "page"), notifies=cls.notifies)
        cls.bell = Doorbell(os.path.join(folder, "bell"), cls.page)
        cls.addClassCleanup(cls.bell.close)
        carried = os.path.join(folder, "bell" if cls.page_as == "doorbell" else "page")
        cls.guest = Guest(cls.scratch, "guest", **{cls.page_as: carried}, **cls.guest_options)
        cls.addClassCleanup(cls.guest.kill)
        cls.guest.page_table = cls.make_table(folder)
        cls.guest.start().wait_up(120)
        cls.switch = Switch(cls.guest.qmp_path)
        cls.start_reader()

    @classmethod
    def make_table(cls, folder):
        """What the guest finds the page by, where that takes a table. Returns: its file."""
        return None

    def keep_logs(self):
        self.scratch.keep = True

    @classmethod
    def start_reader(cls):
        """Starts it, and waits until it has looked."""
        cls.guest.shell("suspend-guest %s --no-hooks >>%s 2>&1 &" % (cls.reader_options, LOG))
        wait_for(lambda: "<6>" in cls.log() or "<3>" in cls.log(), 20, "the reader's first word")

    @classmethod
    def log(cls):
        """All that it has said."""
        return cls.guest.shell("cat %s" % LOG)[1]

    def said(self, text, limit=10):
        """Waits for a word of it that was not there when the test began."""
        wait_for(lambda: text in self.log()[self.mark:], limit, "%r; it said: %s" % (text, self.log()[self.mark:]))

    def setUp(self):
        self.begin()

    def begin(self):
        """A clock that is right, and nothing said yet."""
        self.mark = len(self.log())
        self.guest.set_clock_error(0)
        self.before = self.error()
        self.ahead = self.behind = 0  # so far may it be, for a busy machine does not tell when it stood

    # what the host does

    def error(self):
        """How far its clock is from the host's."""
        return self.guest.clock_error(20)[0]

    def answered(self, limit=10):
        """Waits until the reader has taken note of all that was published."""
        if not self.answers:
            time.sleep(2.5)
            return
        wait_for(lambda: self.page.answer() and self.page.answer()["publishings"] == self.page.values["publishings"], limit,
                 "an answer; it said: %s" % self.log()[self.mark:], interval=0.001)

    def publish(self, flags=0, **changes):
        """A publishing that rings."""
        self.page.publish(flags, **changes)
        self.bell.ring()

    def lose(self, *arguments):
        """The same, of a loss."""
        self.page.lose(*arguments)
        self.bell.ring()

    def stop(self):
        """Brings it to a stand, announced. Returns: since when it stands."""
        self.publish(STOPPING)
        self.answered()
        stood, doubt = self.switch.stop()
        self.ahead += doubt
        return stood

    def cont(self, stood):
        """Lets it run, with a lower bound in the page. Returns: what is still to be added."""
        now = time.time_ns()
        self.page.lose(now - stood, LOWER_BOUND)
        ran, doubt = self.switch.cont()
        self.behind += doubt
        return ran - now

    def pause(self, seconds):
        """A whole pause."""
        stood = self.stop()
        time.sleep(seconds)
        self.lose(self.cont(stood), 0, False)
        self.answered()

    def certainly(self, act):
        """Does what stops the guest, and once more where the machine was too busy to tell when it stood; one that stays so
        shows nothing."""
        for _ in range(TRIES):
            self.begin()
            act()
            if self.ahead + self.behind < DOUBT_MAX:
                return
        self.skipTest("too busy a machine to know when its guest stood: %.1f ms in doubt" % ((self.ahead + self.behind) / MS))

    def agent_sets(self):
        """What suspendd's push does."""
        agent = self.guest.agent()
        try:
            agent.command("guest-set-time", time=time.time_ns())
        finally:
            agent.close()

    # what must hold

    def assert_right(self, limit=2 * MS):
        """Its clock is where it was, to the limit."""
        moved = self.error() - self.before
        print("%s: off by %.3f ms (known to -%.1f, +%.1f)" % (self.id().split(".", 1)[-1], moved / MS, self.behind / MS,
                                                              self.ahead / MS), flush=True)
        self.assertLess(moved, limit + self.ahead, self.log()[self.mark:])
        self.assertGreater(moved, -limit - self.behind, self.log()[self.mark:])

    def assert_all_applied(self):
        """All is taken note of, and nothing refused in this test."""
        if self.answers:
            self.assertEqual(self.page.answer()["applied"], self.page.values["unseen"])
        self.assertNotIn("refused", self.log()[self.mark:])


class Pauses:
    """What every carrier does."""

    def test_pauses_of_20_seconds(self):
        self.certainly(lambda: self.pause(20))
        self.assert_right()
        self.assert_all_applied()

    def test_pages_that_are_none_are_refused(self):
        for bad, text in ((dict(magic=0x1122334455667788), "no record of suspendd"),
                          (dict(revision=7), "of a revision"),
                          (dict(size=8), "of a revision")):
            good = {x: self.page.values[x] for x in bad}
            self.publish(unseen=self.page.values["unseen"] + 3600 * S, **bad)
            self.said(text)
            self.publish(unseen=self.page.values["unseen"] - 3600 * S, **good)
            self.said("read again")
            self.mark = len(self.log())
        self.page.poke(RECORD, b"\xff" * 1024)
        self.page.move()
        self.bell.ring()
        self.said("refused")
        self.page.poke(RECORD, b"\0" * 1024)
        self.publish()
        self.said("read again")
        self.assert_right()

    def test_another_page_is_counted_from_where_it_is(self):
        self.publish(epoch=self.page.values["epoch"] + 1, unseen=9000 * S)
        self.said("counting from here; nothing applied")
        self.assert_right()
        self.certainly(lambda: self.pause(2))
        self.assert_right()
        self.assert_all_applied()

    def test_a_file_cut_off_is_refused(self):
        made = "dd if=/dev/zero of=/run/page bs=%d count=1 2>/dev/null; " % 2048
        status, said = self.guest.shell(made + "suspend-guest --once --page=/run/page --state=/run/other 2>&1")
        self.assertEqual(status, 4)
        self.assertIn("shorter than a page", said)
        self.assert_right()


class Answering(Pauses):
    """What can be asserted to the letter, for the reader answers."""

    def test_20_cycles_in_a_row(self):
        self.certainly(lambda: [self.pause(1) for _ in range(20)])
        self.assert_right(5 * MS)
        self.assert_all_applied()

    def test_what_is_published_is_applied_to_the_microsecond(self):
        stood = self.stop()
        time.sleep(1)
        rest = self.cont(stood)
        before = self.page.values["last_unseen"]
        self.lose(rest, 0, False)
        self.answered()
        total = self.page.values["last_unseen"]
        self.assertEqual(before + rest, total)
        applied = [float(x.split(" by ")[1].split(" s")[0]) for x in self.log()[self.mark:].splitlines() if "Stepped" in x]
        self.assertAlmostEqual(sum(applied), total / S, delta=3e-6)

    def test_agent_first(self):
        stood = self.stop()
        time.sleep(5)
        rest = self.cont(stood)
        self.agent_sets()
        time.sleep(1.5)
        self.lose(rest, 0, False)
        self.answered()
        self.said("has set CLOCK_REALTIME already")
        self.assertNotIn("Stepped", self.log()[self.mark:])
        self.assert_right(50 * MS)
        self.assert_all_applied()

    def test_page_first(self):
        self.pause(5)
        self.agent_sets()
        self.publish()
        self.answered()
        self.assertEqual(self.log()[self.mark:].count("Stepped"), self.log()[self.mark:].count("missed"))
        self.assert_right(50 * MS)
        self.assert_all_applied()

    def test_agent_between_lower_bound_and_rest(self):
        stood = self.stop()
        time.sleep(5)
        rest = self.cont(stood)
        self.bell.ring()
        self.answered()
        self.agent_sets()
        self.lose(rest + 200 * MS, 0, False)  # as if it had taken so long to run
        self.answered()
        self.said("has set CLOCK_REALTIME already")
        self.assert_right(50 * MS)

    def test_a_dead_readers_state_is_its_successors(self):
        self.certainly(self.die_in_a_pause)
        self.assert_right()
        self.assert_all_applied()

    def die_in_a_pause(self):
        """The lower bound is one reader's, the rest another's."""
        stood = self.stop()
        time.sleep(3)
        rest = self.cont(stood)
        self.bell.ring()
        self.answered()
        self.guest.shell("kill -9 $(pidof suspend-guest)")
        self.lose(rest, 0, False)
        self.start_reader()
        self.answered()

    def test_a_loss_that_it_did_not_have_is_refused(self):
        for told_late in (False, True):
            self.publish(STOPPING)
            self.answered()
            self.guest.freeze()
            began = time.time_ns()
            time.sleep(6)
            if not told_late:
                self.page.lose(time.time_ns() - began, LOWER_BOUND)
            self.guest.thaw()
            if told_late:
                time.sleep(1.5)
                self.page.lose(6 * S)
            self.lose(MS, 0, False)
            self.answered()
            self.said("this machine's clock ran on; refused")
            self.mark = len(self.log())
        self.assertGreater(self.page.answer()["refused"], 11 * S)
        self.assert_right()
        self.certainly(lambda: self.pause(2))
        self.assert_right()


class OwnSuspend:
    """Guests that have S3."""

    def test_own_suspend_is_left_to_its_kernel(self):
        self.publish(STOPPING)
        self.answered()
        self.guest.shell("(sleep 0.2; echo mem >/sys/power/state) >/dev/null 2>&1 &")
        self.guest.wait_status("suspended", 20)
        began = time.time_ns()
        time.sleep(5)
        self.guest.stop()  # a pause on top is seen as well
        time.sleep(2)
        self.page.sleep(time.time_ns() - began)
        self.guest.cont()
        self.guest.wakeup()
        wait_for(lambda: self.guest.status() == "running", 20, "running")
        self.bell.ring()
        self.answered(30)
        self.said("Slept for")
        self.assertNotIn("Stepped", self.log()[self.mark:])
        self.assertLess(abs(self.error() - self.before), 1600 * MS)
        # and its interrupt is there again
        self.certainly(lambda: self.pause(2))
        self.assert_right()
        self.assert_all_applied()
