# SPDX-License-Identifier: LGPL-2.1-or-later
"""suspend-guest in arm64 guests: an ivshmem device behind an SMMU, and the VMClock device of a stock kernel."""

from _guestclock import Answering, Pauses, Reader


class Arm64Doorbell(Answering, Reader):
    """The same behind an SMMU."""

    page_as = "doorbell"
    guest_options = {"arch": "arm64"}
    reader_options = "--vfio"


class Arm64Vmclock(Pauses, Reader):
    """/dev/vmclock0 of a stock kernel, by the device tree; it cannot be answered."""

    page_as = "page"
    guest_options = {"arch": "arm64", "kernel": "7"}
    answers = False
