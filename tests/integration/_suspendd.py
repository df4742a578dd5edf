# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests of suspendd as a service have in common."""

from lab import LabCase
from lab.suspendd import BUILD, CYCLE, UNIT, Suspendd, install, of

__all__ = ["BUILD", "CYCLE", "UNIT", "Suspendd", "SuspenddCase", "install", "of"]


class SuspenddCase(LabCase):
    """A test with a host; nothing in it may make logind name us as overrun, or the engine meet a cell that it never should."""

    suspendd = None

    def tearDown(self):
        if self.suspendd and self.host.pid:
            self.assertEqual(self.suspendd.overruns(), [])
            log = self.suspendd.log()
            for bad in ("Bug:", "AddressSanitizer", "runtime error:", "LeakSanitizer"):
                self.assertNotIn(bad, log)
        super().tearDown()
