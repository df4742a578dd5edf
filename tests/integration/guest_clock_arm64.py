# SPDX-License-Identifier: LGPL-2.1-or-later
"""suspend-guest in an arm64 guest, with an ivshmem device behind an SMMU."""

from _guestclock import Answering, Reader


class Arm64Doorbell(Answering, Reader):
    """ivshmem-doorbell by vfio-pci and its interrupt."""

    page_as = "doorbell"
    guest_options = {"arch": "arm64"}
    reader_options = "--vfio"
