# SPDX-License-Identifier: LGPL-2.1-or-later
"""suspend-guest in an x86 guest, with an ivshmem device and its interrupt."""

import time

from _guestclock import BUSY_SHARE, TRIES, Answering, OwnSuspend, Reader, waited_for_cpu


class X86Doorbell(Answering, OwnSuspend, Reader):
    """ivshmem-doorbell by vfio-pci and its interrupt."""

    page_as = "doorbell"
    guest_options = {"machine": "q35"}
    reader_options = "--vfio"

    def test_it_is_right_soon_after_it_runs(self):
        for _ in range(TRIES):
            stood = self.stop()
            time.sleep(2)
            rest = self.cont(stood)
            began, waited = time.monotonic(), waited_for_cpu()
            self.lose(rest, 0, False)
            self.answered()
            seconds = time.monotonic() - began
            share = (waited_for_cpu() - waited) / seconds
            print("answered after %.1f ms, %d %% of them something waited for a CPU" % (1000 * seconds, 100 * share),
                  flush=True)
            if seconds < 0.5:
                return
            self.assertGreaterEqual(share, BUSY_SHARE, "answered after %.3f s" % seconds)
        self.skipTest("too busy a machine to see how soon: something waited for a CPU %d %% of the time" % (100 * share))
