# SPDX-License-Identifier: LGPL-2.1-or-later
"""suspend-guest by the VMClock driver of a stock kernel, on arm64: it reads the page, and cannot answer."""

import os

from lab.boards import VIRT_RAM
from _guestclock import Pauses, Reader

TREE = """
/ {
	reserved-memory {
		#address-cells = <2>;
		#size-cells = <2>;
		ranges;
		page@%(address)x { reg = <0x0 0x%(address)x 0x0 0x1000>; no-map; };
	};
	vmclock@%(address)x { compatible = "amazon,vmclock"; reg = <0x0 0x%(address)x 0x0 0x1000>; };
};
"""


class Arm64Vmclock(Pauses, Reader):
    """Found by the device tree, looked at by a timer."""

    page_as = "page"
    guest_options = {"arch": "arm64", "kernel": "7", "memory": 256}
    answers = False

    @classmethod
    def make_table(cls, folder):
        path = os.path.join(folder, "tree")
        with open(path, "w") as f:
            f.write(TREE % {"address": VIRT_RAM + (256 << 20) - 4096})
        return path
