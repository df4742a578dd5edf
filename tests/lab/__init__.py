# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lab: a host with real systemd and logind whose sleep is under a test's control,
and real QEMU guests on it. See README.md."""

from .images import guest_image, host_root, ovmf
from .qemu import Qemu
from .qmp import Agent, Qmp
from .sleephost import Host, cgroup_top
from .util import LabCase, LabError, LabUnavailable, Scratch, wait_for

__all__ = ["Agent", "Host", "LabCase", "LabError", "LabUnavailable", "Qemu", "Qmp", "Scratch", "cgroup_top",
           "guest_image", "host_root", "ovmf", "wait_for"]
