# SPDX-License-Identifier: LGPL-2.1-or-later
"""suspend-guest in an x86 guest, with an ivshmem device that has no interrupt."""

from _guestclock import Answering, OwnSuspend, Reader


class X86Timer(Answering, OwnSuspend, Reader):
    """ivshmem-plain by sysfs, looked at by a timer."""

    page_as = "shmem"
    guest_options = {}
