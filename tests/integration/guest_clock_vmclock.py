# SPDX-License-Identifier: LGPL-2.1-or-later
"""suspend-guest by the VMClock driver of a stock kernel, on x86: it reads the page, and cannot answer."""

import os
import shutil
import subprocess

from lab import LabUnavailable
from lab.boards import NVDIMM_ADDRESS
from _guestclock import Pauses, Reader

# The guest itself looks once a second, at a thermal zone, whose reading has the driver compare the page's sequence.
TABLE = """
DefinitionBlock ("", "SSDT", 2, "LAB", "VMCLOCK", 1)
{
    Scope (\\_SB)
    {
        Device (VCLK)
        {
            Name (_HID, "AMZNC10C")
            Name (_CID, "VMCLOCK")
            Name (_UID, Zero)
            Name (_STA, 0x0F)
            Name (_CRS, ResourceTemplate ()
            {
                QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, Cacheable, ReadWrite,
                             0, 0x%(address)x, 0x%(last)x, 0, 0x1000)
            })
        }
        ThermalZone (TPOL)
        {
            Method (_TMP, 0, Serialized) { Notify (\\_SB.VCLK, 0x80) Return (0x0B54) }
            Method (_CRT, 0, Serialized) { Return (0x0FA0) }
            Name (_TZP, 0x0A)
        }
    }
}
"""


class X86Vmclock(Pauses, Reader):
    """Found by an ACPI table, waited for by poll()."""

    page_as = "page"
    guest_options = {"kernel": "7"}
    answers = False
    notifies = True

    @classmethod
    def make_table(cls, folder):
        if not shutil.which("iasl"):
            raise LabUnavailable("no iasl (package acpica-tools)")
        path = os.path.join(folder, "table.dsl")
        with open(path, "w") as f:
            f.write(TABLE % {"address": NVDIMM_ADDRESS, "last": NVDIMM_ADDRESS + 4095})
        subprocess.run(["iasl", "-p", os.path.join(folder, "table"), path], stdout=subprocess.DEVNULL, check=True, timeout=20)
        return os.path.join(folder, "table.aml")

    def test_it_waits_for_what_the_driver_tells(self):
        self.assertIn("waiting for its interrupt", self.log())
