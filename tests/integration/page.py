#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Drift pages as an administrator has them: suspendctl page, the daemon as it is, files that their owners have spoilt, and
what QEMU and the compilers say of what is printed and written."""

import mmap
import os
import re
import shutil
import signal
import struct
import subprocess
import unittest

from _bus import COMMAND, SOURCE, wait_for
from _daemon import DAEMON, DaemonCase
from _suspendd import UNIT, Suspendd, SuspenddCase, start_host

NOBODY = 65534
RECORD = struct.Struct("<QIIIIQQQQQQqqqQ")


def record_of(path):
    """The drift record of a page: (magic, epoch, publishings)."""
    with open(path, "rb") as f:
        page = f.read(4096)
    fields = RECORD.unpack_from(page, 0x800)
    return fields[0].to_bytes(8, "little"), fields[5], fields[14]


class PageCase(DaemonCase):
    """One daemon for a test, with the page plugin."""

    modules = {"page": "src/plugins/page/page.so", "fake": "tests/engine/fake.so"}

    def page(self, name="vm"):
        """The path of a page."""
        return self.path("run/pages/" + name)

    def kill_and_start(self):
        """Another life of the daemon, after a SIGKILL."""
        self.daemon.kill()
        self.daemon.wait()
        with open(self.log_path, "ab") as log:
            self.daemon = self.spawn([DAEMON, "--config=" + self.config, "--plugin-dir=" + self.path("plugins")],
                                     stderr=log)
        self.wait_status("READY=1")

    def listed(self, name="vm"):
        """What the list says of one page, or None."""
        return next((p for p in self.json("page", "list") if p["name"] == name), None)


class Command(PageCase):
    """suspendctl page."""

    def test_page_is_made_listed_shown_and_removed(self):
        self.assertEqual(self.good("page", "list"), "")
        self.assertEqual(self.good("page", "create", "vm", "--owner=nobody", "--vectors=2"), "")
        st = os.stat(self.page())
        self.assertEqual((st.st_uid, st.st_mode, st.st_size), (0, 0o100660, 4096))
        self.assertEqual(os.stat(os.path.dirname(self.page())).st_mode, 0o40755)
        magic, epoch, _ = record_of(self.page())
        self.assertEqual(magic, b"SUSPDRFT")

        told = self.listed()
        self.assertEqual((told["owner"], told["owner_name"], told["vectors"]), (NOBODY, "nobody", 2))
        self.assertEqual((told["path"], int(told["epoch"], 16)), (self.page(), epoch))
        self.assertEqual(told["answer"], None)
        self.assertRegex(self.good("page", "list"), r"(?m)^vm +nobody +0")
        self.assertEqual(self.good("page"), self.good("page", "list"))

        shown = self.good("page", "show", "vm")
        self.assertIn("memory-backend-file,id=drift,mem-path=%s,share=on,size=4096" % self.page(), shown)
        self.assertEqual({c["name"] for c in self.json("page", "show", "vm")["carriers"]},
                         {"nvdimm", "devicetree", "ivshmem-plain", "ivshmem-doorbell"})

        self.good("page", "remove", "vm")
        self.assertEqual(os.listdir(self.path("run/pages")), [])
        self.assertEqual(os.listdir(self.path("run/page-state")), [])
        self.assertEqual(self.json("page", "list"), [])

    def test_what_cannot_be_is_refused_in_words(self):
        self.good("page", "create", "vm")
        for arguments, code in ((("create", "vm"), 1), (("create", "../vm"), 2), (("create", ".vm"), 2),
                                (("create", "a", "--owner=nobody-there"), 2), (("create", "a", "--owner=4294967295"), 2),
                                (("create", "a", "--vectors=17"), 2), (("create", "a", "--vectors=x"), 2),
                                (("create", "a", "--force"), 2), (("create",), 2), (("list", "vm"), 2),
                                (("list", "--owner=root"), 2), (("show", "vm", "--owner=root"), 2), (("steal", "vm"), 2),
                                (("show", "vm", "--address=7"), 2), (("show", "vm", "--address=0"), 2),
                                (("show", "vm", "--devicetree=x", "--address=0x1000"), 2),
                                (("show", "vm", "--devicetree=x", "--acpi=y"), 2),
                                (("show", "other"), 4), (("remove", "other"), 4)):
            with self.subTest(arguments=arguments):
                self.assertEqual(self.code("page", *arguments), code)
        self.assertEqual([p["name"] for p in self.json("page", "list")], ["vm"])

    def test_user_without_rights_sees_and_changes_nothing(self):
        self.good("page", "create", "vm")
        for arguments in (("list",), ("show", "vm"), ("create", "mine"), ("create", "mine", "--owner=nobody"), ("remove", "vm"),
                          ("remove", "vm", "--force")):
            with self.subTest(arguments=arguments):
                self.assertEqual(self.code("page", *arguments, user=NOBODY), 5)
        self.assertEqual(os.listdir(self.path("run/page-state")), ["vm"])

    def test_page_of_a_machine_that_is_there_goes_by_force_alone(self):
        self.reload("Machine=web")
        wait_for(lambda: self.json("list"), "a machine")
        self.good("page", "create", "web")
        refused = self.ctl("page", "remove", "web")
        self.assertEqual(refused.returncode, 1)
        self.assertIn("a machine that is there has it", refused.stderr)
        self.good("page", "remove", "web", "--force")
        self.assertIsNone(self.listed("web"))

    def test_page_that_a_vmm_has_open_is_removed_and_stays_in_its_memory(self):
        self.good("page", "create", "vm")
        with open(self.page(), "r+b") as f, mmap.mmap(f.fileno(), 4096) as page:
            self.good("page", "remove", "vm")
            self.assertEqual(page[0x800:0x808], b"SUSPDRFT")
            self.assertEqual(os.listdir(self.path("run/pages")), [])
            self.good("page", "create", "vm")

    def test_without_the_plugin_it_is_said_how_to_have_it(self):
        self.modules = {"fake": self.modules["fake"]}
        self.configure()
        self.kill_and_start()
        refused = self.ctl("page", "list")
        self.assertEqual(refused.returncode, 1)
        self.assertIn("Plugins=page", refused.stderr)


class Lives(PageCase):
    """What outlives the daemon, and what its owner has made of it."""

    def test_epoch_goes_on_over_a_kill(self):
        self.good("page", "create", "vm", "--vectors=3", "--notify")
        before = self.listed()
        self.kill_and_start()
        after = self.listed()
        for key in ("epoch", "owner", "vectors", "notifies", "path", "unseen_ns"):
            self.assertEqual(after[key], before[key], key)
        self.assertGreater(after["publishings"], before["publishings"])
        self.assertEqual(record_of(self.page())[1], int(before["epoch"], 16))

    def test_configuration_makes_what_is_missing(self):
        page = "[Plugin page]\nPage=vm nobody 2\nPage=bad/name\nPage=other"
        self.reload(more=page)
        self.assertEqual((self.listed()["owner"], self.listed()["vectors"]), (NOBODY, 2))
        self.assertRegex(self.log(), r"suspendd\.conf:\d+: no page is made")
        epoch = self.listed()["epoch"]
        self.reload(more=page)
        self.assertEqual(self.listed()["epoch"], epoch)
        self.reload()
        self.assertEqual([p["name"] for p in self.json("page", "list")], ["other", "vm"])

    def test_spoilt_page_is_refused_by_name_and_harms_no_other(self):
        for name in ("short", "link", "wide", "twice", "good"):
            self.good("page", "create", name)
        os.truncate(self.page("short"), 10)
        os.unlink(self.page("link"))
        os.symlink("/etc/passwd", self.page("link"))
        os.chmod(self.page("wide"), 0o666)
        os.link(self.page("twice"), self.path("second"))
        passwd = os.stat("/etc/passwd")
        self.kill_and_start()
        for name, why in (("short", "size"), ("link", "symbolic link"), ("wide", "mode"), ("twice", "name")):
            self.assertIn(why, self.listed(name)["trouble"])
            self.assertRegex(self.log(), "Page %s is not used: .*%s" % (name, why))
            self.good("page", "show", name)
        self.assertNotIn("trouble", self.listed("good"))
        self.assertEqual(os.stat("/etc/passwd"), passwd)
        for name in ("short", "link", "wide", "twice"):
            self.good("page", "remove", name)
        self.assertEqual({n.split(".")[0] for n in os.listdir(self.path("run/pages"))}, {"good"})

    def test_page_that_is_truncated_kills_nobody(self):
        self.good("page", "create", "vm")
        os.truncate(self.page(), 0)
        self.kill_and_start()
        os.truncate(self.page(), 4096)
        self.kill_and_start()
        self.assertNotIn("trouble", self.listed())
        os.truncate(self.page(), 0)
        self.daemon.send_signal(signal.SIGHUP)
        self.wait_status("READY=1")
        self.good("page", "create", "other")
        self.assertIsNone(self.daemon.poll())

    def test_answer_is_shown_and_garbage_is_none(self):
        self.good("page", "create", "vm")
        with open(self.page(), "r+b") as f, mmap.mmap(f.fileno(), 4096) as page:
            answer = struct.pack("<8sQQQQQ", b"SUSPDACK", record_of(self.page())[1], 7, 1, 2, record_of(self.page())[2])
            page[0xc00:0xc30] = answer
            told = self.listed()["answer"]
            self.assertEqual((told["corrects"], told["is_current"], told["applied_ns"]), ("realtime", True, 7))
            self.assertIn("Has read all", self.good("page", "show", "vm"))
            page[:] = b"\xff" * 4096
            self.assertIsNone(self.listed()["answer"])
            self.good("page", "show", "vm")


class Cycles(PageCase):
    """What cycles of the daemon write into a page."""

    # Its VMM is a process of the page's owner.
    with open("/proc/self/stat", encoding="ascii") as f:
        machine = "Machine=web process=%d.%s" % (os.getpid(), f.read().rsplit(")", 1)[1].split()[19])

    def setUp(self):
        super().setUp()
        wait_for(lambda: self.json("list"), "a machine")
        self.good("page", "create", "web")

    def rehearse(self, milliseconds):
        """A cycle; the page afterwards, and what the history says of the machine."""
        record = self.json("rehearse", "--for=%dms" % milliseconds)
        return self.listed("web"), record["machines"][0]

    def test_totals_are_those_of_the_history_and_only_grow(self):
        first, machine = self.rehearse(50)
        self.assertEqual((first["cycles"], first["state"], first["seen_ns"] > 0 or first["unseen_ns"] > 0), (1, "settled", True))
        self.assertGreaterEqual(first["last_unseen_ns"] + first["last_seen_ns"], 50 * 1000000)
        self.assertLessEqual(first["last_unseen_ns"] + first["last_seen_ns"], machine["stopped_ns"] + 1000000)
        second, _ = self.rehearse(20)
        self.assertEqual(second["cycles"], 2)
        self.assertEqual(second["epoch"], first["epoch"])
        self.assertEqual(second["unseen_ns"] + second["seen_ns"],
                         first["unseen_ns"] + first["seen_ns"] + second["last_unseen_ns"] + second["last_seen_ns"])
        self.assertGreater(second["disruption_marker"], first["disruption_marker"])

    def test_kill_while_machines_stand_never_takes_anything_back(self):
        with open(self.page("web"), "rb") as f, mmap.mmap(f.fileno(), 4096, prot=mmap.PROT_READ) as page:
            before, epoch = 0, self.listed("web")["epoch"]
            for _ in range(5):
                self.rehearse(5)
                rehearsal = self.spawn([COMMAND, "rehearse", "--for=10s"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                wait_for(lambda: self.json("status")["machines_held"] == 1, "the machine held")
                self.kill_and_start()
                rehearsal.wait()
                wait_for(lambda: self.json("status")["state"] == "idle", "idle")
                told = self.listed("web")
                total = told["unseen_ns"] + told["seen_ns"]
                self.assertEqual(told["epoch"], epoch)
                self.assertGreater(total, before)
                self.assertEqual(sum(RECORD.unpack_from(page, 0x800)[7:9]), total)
                before = total


class Written(PageCase):
    """What is printed and written is taken by those whom it is for."""

    def need(self, program):
        if not shutil.which(program):
            self.skipTest("no " + program)

    def carrier(self, name, *arguments):
        """QEMU's arguments of a carrier, in a list."""
        shown = self.json("page", "show", "vm", *arguments)
        text = next(c["qemu"] for c in shown["carriers"] if c["name"] == name)
        return [w for line in text.splitlines() if not line.startswith("#") for w in line.split(" ", 1)]

    def starts(self, *command):
        """QEMU makes the machine, and ends when it is told to."""
        done = subprocess.run(list(command) + ["-S", "-nodefaults", "-display", "none", "-monitor", "stdio"], input=b"quit\n",
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stdout.decode(errors="replace"))
        self.assertEqual(os.stat(self.page()).st_size, 4096)

    def test_acpi_table_is_read_by_iasl(self):
        self.need("iasl")
        self.good("page", "create", "vm", "--notify", "--acpi=" + self.path("made.aml"))
        self.good("page", "show", "vm", "--acpi=" + self.path("shown.aml"))
        self.good("page", "show", "vm", "--acpi=" + self.path("there.aml"), "--address=0x300000000")
        with open(self.path("made.aml"), "rb") as made, open(self.path("shown.aml"), "rb") as shown:
            self.assertEqual(made.read(), shown.read())
        done = subprocess.run(["iasl", "-d", "there.aml"], cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)
        with open(self.path("there.dsl")) as f:
            text = f.read()
        self.assertIn("0x0000000300000000, // Range Minimum", text)
        self.assertIn("Notify (\\_SB.VCLK, 0x80)", text)
        self.assertNotIn("Incorrect checksum", text)

    def test_qemu_takes_the_nvdimm_and_the_table(self):
        self.need("qemu-system-x86_64")
        self.good("page", "create", "vm", "--acpi=" + self.path("t.aml"))
        arguments = self.carrier("nvdimm", "--acpi=" + self.path("t.aml"))
        arguments = [w for a in arguments for w in a.replace("SIZE+16G", "17G").replace("SIZE", "1G").split()]
        for machine in ("pc", "q35"):
            self.starts("qemu-system-x86_64", "-accel", "tcg", "-machine", machine, *arguments)

    def test_qemu_takes_ivshmem_plain(self):
        self.need("qemu-system-x86_64")
        self.good("page", "create", "vm")
        self.starts("qemu-system-x86_64", "-accel", "tcg", "-machine", "q35", *self.carrier("ivshmem-plain"))

    def test_qemu_has_the_page_in_an_arm64_machines_tree(self):
        self.need("qemu-system-aarch64")
        self.need("dtc")
        self.good("page", "create", "vm", "--devicetree=" + self.path("page.dtsi"))
        arguments = self.carrier("devicetree", "--devicetree=" + self.path("page.dtsi"))
        at = arguments.index("-dtb")
        plain = ["qemu-system-aarch64", "-accel", "tcg", "-cpu", "cortex-a57"] + arguments[:at]
        subprocess.run(plain + ["-machine", "virt,dumpdtb=" + self.path("machine.dtb"), "-display", "none"], check=True,
                       timeout=60, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        subprocess.run("(dtc -O dts machine.dtb; cat page.dtsi) 2>/dev/null | dtc -O dtb -o with-page.dtb 2>/dev/null",
                       shell=True, cwd=self.folder, check=True, timeout=60)
        text = subprocess.run(["dtc", "-O", "dts", "with-page.dtb"], cwd=self.folder, check=True, timeout=60,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.decode()
        self.assertRegex(text, r'vmclock@7ffff000 \{\s+compatible = "amazon,vmclock"')
        self.assertRegex(text, r"memory@7ffff000 \{[^}]*reg = <0x00 0x7ffff000 0x00 0x1000>")
        self.starts(*plain, "-machine", "virt", "-dtb", self.path("with-page.dtb"))


class Service(SuspenddCase):
    """In the sandbox of the unit."""

    @classmethod
    def setUpClass(cls):
        cls.host = start_host(sleep=1)
        cls.addClassCleanup(cls.host.stop)
        cls.suspendd = Suspendd(cls.host, "[Manager]\nPlugins=page\n[Plugin page]\nPage=configured nobody\n")
        cls.suspendd.start()

    def page(self, name):
        """Its path on this machine."""
        return self.host.path("/run/suspendd/pages/" + name)

    def test_page_is_given_to_its_owner_who_can_map_it(self):
        self.suspendd.ctl("page", "create", "theirs", "--owner=nobody")
        self.addCleanup(self.suspendd.ctl, "page", "remove", "theirs")
        for name in ("theirs", "configured"):
            st = os.stat(self.page(name))
            self.assertEqual((st.st_uid, st.st_mode & 0o7777), (0, 0o660), "by an ACL")
        program = "import mmap; f = open('/run/suspendd/pages/theirs', 'r+b'); print(mmap.mmap(f.fileno(), 4096)[0x800:0x808])"
        done = self.host.run("setpriv", "--reuid=65534", "--clear-groups", "python3", "-c", program, check=False)
        self.assertIn("SUSPDRFT", done.stdout, done.stderr)
        done = self.host.run("setpriv", "--reuid=65533", "--clear-groups", "python3", "-c", program, check=False)
        self.assertNotEqual(done.returncode, 0)

    def test_pages_outlive_restart_and_kill(self):
        before = self.suspendd.json("page", "show", "configured")
        self.host.systemctl("restart", UNIT)
        pid = self.suspendd.pid()
        self.suspendd.kill()
        self.suspendd.wait_restarted(pid)
        after = self.suspendd.json("page", "show", "configured")
        for key in ("epoch", "owner", "vectors", "unseen_ns"):
            self.assertEqual(after[key], before[key])
        self.assertGreater(after["publishings"], before["publishings"])
        self.assertEqual(record_of(self.page("configured"))[1], int(before["epoch"], 16))

    def test_owner_who_truncates_it_does_not_kill_the_service(self):
        self.suspendd.ctl("page", "create", "spoilt", "--owner=nobody")
        pid = self.suspendd.pid()
        self.host.run("setpriv", "--reuid=65534", "--clear-groups", "truncate", "-s", "0", "/run/suspendd/pages/spoilt")
        self.suspendd.ctl("rehearse", "--for=1ms")
        self.assertEqual(self.suspendd.pid(), pid)
        self.suspendd.ctl("page", "remove", "spoilt")


class OwnFileSystem(SuspenddCase):
    """The pages' directory as a file system of its own, as suspendd-drift-page(7) has it."""

    @classmethod
    def setUpClass(cls):
        cls.host = start_host(sleep=1)
        cls.addClassCleanup(cls.host.stop)
        cls.suspendd = Suspendd(cls.host, "[Manager]\nPlugins=page\n[Plugin page]\nPage=a nobody\nPage=b 65533\n")
        with open(os.path.join(SOURCE, "man/suspendd-drift-page.7")) as f:
            unit = re.search(r"(?s)# /etc/systemd/system/(run-suspendd-pages\.mount)\n(.*?)\.Ed", f.read())
        cls.host.write("/etc/systemd/system/" + unit.group(1), unit.group(2))
        cls.host.systemctl("daemon-reload")
        cls.host.systemctl("enable", unit.group(1))
        cls.suspendd.start()

    def test_user_who_fills_it_harms_no_page_that_is_there(self):
        def free(path):
            return int(self.host.run("stat", "-f", "-c", "%f", path).stdout)
        self.assertEqual(self.host.run("stat", "-f", "-c", "%b", "/run/suspendd/pages").stdout.strip(), "4096", "16 MiB")
        before = free("/run")
        self.host.run("setpriv", "--reuid=65534", "--clear-groups", "dd", "if=/dev/zero", "of=/run/suspendd/pages/a",
                      "bs=1M", "count=64", check=False)
        self.assertEqual(free("/run/suspendd/pages"), 0)
        self.assertLess(before - free("/run"), 1000)
        refused = self.suspendd.ctl("page", "create", "c", check=False)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("cannot be made", refused.stderr)

        self.host.systemctl("restart", UNIT)
        self.assertNotIn("trouble", self.suspendd.json("page", "show", "b"))
        self.suspendd.ctl("page", "remove", "a")
        self.suspendd.ctl("page", "create", "c")


if __name__ == "__main__":
    unittest.main(verbosity=2)
