# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lab: a host with real systemd and logind whose sleep is under a test's control,
and real QEMU guests on it. See README.md."""

from .domain import Domain, clone_domains, start_domains
from .images import guest_image, host_root, ovmf
from .libvirt import Libvirt
from .qemu import Qemu
from .qmp import Agent, Qmp
from .sleephost import Host, cgroup_top
from .util import LabCase, LabError, LabUnavailable, Scratch, wait_for

__all__ = ["Agent", "Domain", "Host", "LabCase", "LabError", "LabUnavailable", "Libvirt", "Qemu", "Qmp", "Scratch",
           "cgroup_top", "clone_domains", "guest_image", "host_root", "ovmf", "start_domains", "wait_for"]
