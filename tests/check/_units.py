# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks of the units: by systemd itself, and of what locks the services in."""

import contextlib
import os
import re
import tempfile

from _tools import run
from _tree import Unavailable

EXPOSURE_MAX = 12  # tenths, as systemd-analyze security has them
EXPOSURE_MAX_OF = {"units/suspend-guest.service.in": 17}  # it sets the clock, and reads devices

# What a unit sets, or has a comment on: why it does not.
LOCKS = ("CapabilityBoundingSet", "NoNewPrivileges", "LockPersonality", "MemoryDenyWriteExecute", "PrivateNetwork",
         "IPAddressDeny", "RestrictAddressFamilies", "PrivateDevices", "DevicePolicy", "PrivateTmp", "PrivateMounts",
         "ProtectSystem", "ProtectHome", "ProtectClock", "ProtectControlGroups", "ProtectHostname", "ProtectKernelLogs",
         "ProtectKernelModules", "ProtectKernelTunables", "ProtectProc", "ProcSubset", "RestrictNamespaces",
         "RestrictRealtime", "RestrictSUIDSGID", "RemoveIPC", "KeyringMode", "SystemCallArchitectures", "SystemCallFilter",
         "UMask", "User")
# Settings that lock less than they could, and need a comment as well.
WEAK = re.compile(r"no|false|default|all|read-only|CAP_.*")


def units_of(tree):
    """The names of the services' sources."""
    return [x for x in tree.files if re.search(r"^units/.*\.service\.in$", x)]


@contextlib.contextmanager
def made(tree, name):
    """The path of a unit as it is made, for as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix="suspendd-units-") as folder:
        path = os.path.join(folder, os.path.basename(name)[:-len(".in")])
        with open(path, "w") as f:
            # What is a whole line may be none.
            text = re.sub(r"^@[A-Z]+@$", "", tree.text(name), flags=re.MULTILINE)
            f.write(re.sub(r"@[A-Z]+@", "/bin/true", text))
        yield path


def units(tree):
    """systemd has nothing to say against the units."""
    problems = []
    for name in units_of(tree):
        with made(tree, name) as path:
            # It only warns of much, and tells of other units as well.
            _, output = run(tree, ["systemd-analyze", "verify", "--man=no", path])
            problems += ["%s:1: %s" % (name, x.replace(os.path.dirname(path) + os.sep, ""))
                         for x in output.splitlines() if os.path.basename(path) in x]
    return problems


def exposure(tree):
    """The services are exposed as little as they were made."""
    _, usage = run(tree, ["systemd-analyze", "--help"])
    if "--offline" not in usage:
        raise Unavailable("systemd-analyze has no --offline")
    problems = []
    for name in units_of(tree):
        with made(tree, name) as path:
            code, output = run(tree, ["systemd-analyze", "security", "--offline=true", "--no-pager",
                                      "--threshold=%d" % EXPOSURE_MAX_OF.get(name, EXPOSURE_MAX), path])
            problems += ["%s:1: %s" % (name, output.strip().split("\n")[-1])] if code else []
    return problems


def reasons(tree, name):
    """The comments of a unit, and of the one whose reasons are its own."""
    comments = "\n".join(x for x in tree.text(name).splitlines() if x.startswith("#"))
    other = re.search(r"(?i)as ([\w-]+\.service), which has the reasons", comments)
    return comments + (reasons(tree, "units/%s.in" % other[1]) if other else "")


def locks(tree):
    """Each lock that systemd has is set, or the unit says why not."""
    problems = []
    for name in units_of(tree):
        settings = dict(re.findall(r"^(\w+)=(.*)$", tree.text(name), re.MULTILINE))
        told = reasons(tree, name)
        problems += ["%s:1: no word why %s= is %s" % (name, x, settings.get(x) or "not set") for x in LOCKS
                     if (x not in settings or WEAK.fullmatch(settings[x])) and x + "=" not in told]
    return problems
