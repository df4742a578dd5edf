# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where the guest, the firmware and other roots come from; the scripts build and cache them."""

import functools
import os
import subprocess
import sys

from .util import LabUnavailable

HERE = os.path.dirname(os.path.abspath(__file__))


def run_build(script, timeout, *arguments):
    """Runs a build script: what it says goes on to stderr as it comes, its last line of output is what it made."""
    limited = ["timeout", "-k", "5", str(timeout), os.path.join(HERE, script), *arguments]
    said = ""
    with subprocess.Popen(limited, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for said in process.stderr:
            sys.stderr.write(said)
        made = process.stdout.read().strip()
    if process.returncode or not made:
        raise LabUnavailable("%s: %s" % (os.path.basename(script), said.strip() or "failed"))
    return made.splitlines()[-1]


@functools.lru_cache(None)
def guest_image(arch="amd64", kernel="own"):
    """(kernel, initrd) of a Linux guest, built at its first use; see guest/build.sh for what there is."""
    folder = run_build("guest/build.sh", 600, arch, kernel)
    return os.path.join(folder, "vmlinuz"), os.path.join(folder, "initrd")


@functools.lru_cache(None)
def host_root(name):
    """The folder of a root for Host(root=...): "debian13", bootstrapped at its first use."""
    if name != "debian13":
        raise ValueError(name)
    if os.geteuid():
        raise LabUnavailable("bootstrapping a root needs root")
    return run_build("host/build-root.sh", 1200, name)


@functools.lru_cache(None)
def sleep_clock():
    """The folder of what host/sleepclock.c becomes: a program and an LD_PRELOAD library."""
    return run_build("host/build-sleepclock.sh", 60)


def ovmf():
    """(code, vars) of a UEFI firmware for q35."""
    for folder in ("/usr/share/OVMF", "/usr/share/ovmf"):
        pair = [os.path.join(folder, "OVMF_%s_4M.fd" % part) for part in ("CODE", "VARS")]
        if all(os.path.exists(x) for x in pair):
            return tuple(pair)
    raise LabUnavailable("no OVMF (package ovmf)")
