# SPDX-License-Identifier: LGPL-2.1-or-later
"""suspend-guest in an x86 guest, with an ivshmem device and its interrupt."""

import time

from _guestclock import Answering, OwnSuspend, Reader


class X86Doorbell(Answering, OwnSuspend, Reader):
    """ivshmem-doorbell by vfio-pci and its interrupt."""

    page_as = "doorbell"
    guest_options = {"machine": "q35"}
    reader_options = "--vfio"

    def test_it_is_right_soon_after_it_runs(self):
        stood = self.stop()
        time.sleep(2)
        rest = self.cont(stood)
        began = time.monotonic()
        self.lose(rest, 0, False)
        self.answered()
        print("answered after %.1f ms" % (1000 * (time.monotonic() - began)), flush=True)
        self.assertLess(time.monotonic() - began, 0.5)
