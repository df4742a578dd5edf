#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The RPM spec: rpm understands it, rpmlint has nothing to say, and packages can be built by it; what their scripts do
in a sleep."""

import functools
import os
import shutil
import subprocess
import tempfile
import unittest

from _packages import DEB, REPOSITORY, UNIT, DomainTests, HeldCase, HeldDomainCase, Packages

FOLDER = os.path.join(REPOSITORY, "packaging")
SPEC = os.path.join(FOLDER, "suspendd.spec")
PACKAGES = {"suspendd", "suspendd-libvirt", "suspendd-guest", "suspendd-devel"}

# What distributions with rpm define, and Debian's rpm does not.
MACROS = {
    "_unitdir": "/usr/lib/systemd/system",
    "_presetdir": "/usr/lib/systemd/system-preset",
    "_journalcatalogdir": "/usr/lib/systemd/catalog",
    "_udevrulesdir": "/usr/lib/udev/rules.d",
    "systemd_post()": "true",
    "systemd_preun()": "true",
    "systemd_postun()": "true",
    "systemd_postun_with_restart()": "true",
    "meson(-)": "meson setup --buildtype=plain --prefix=/usr --sysconfdir=/etc --localstatedir=/var _build %*",
    "meson_build": "ninja -C _build",
    "meson_install": "DESTDIR=%{buildroot} meson install -C _build --no-rebuild",
}


def run(*command, timeout=300):
    """A program's output; the test is skipped if it is not there, and fails if it does."""
    if not shutil.which(command[0]):
        raise unittest.SkipTest("no " + command[0])
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=timeout)
    if done.returncode:
        raise AssertionError("%s:\n%s" % (command[0], done.stdout[-3000:]))
    return done.stdout


@functools.lru_cache(maxsize=None)
def build():
    """Builds the packages. Returns their files by their names."""
    source = os.path.join(DEB, "source")
    if not os.path.isdir(source):
        raise unittest.SkipTest("no source tree: ./dev deb")
    top = tempfile.mkdtemp(prefix="suspendd-rpm-")
    unittest.addModuleCleanup(shutil.rmtree, top)
    os.makedirs(top + "/SOURCES")
    version = run("rpmspec", "-q", "--srpm", "--queryformat", "%{version}", SPEC)
    run("tar", "--create", "--gzip", "--file=%s/SOURCES/suspendd-%s.tar.gz" % (top, version), "--directory=" + source,
        "--exclude=./obj-*", "--exclude=./debian", "--exclude=./tests", "--transform=s,^[.],suspendd-%s," % version, ".")
    defined = [x for name, value in MACROS.items() for x in ("--define", "%s %s" % (name, value))]
    run("rpmbuild", "--nodeps", "-bb", "--define", "_topdir " + top, "--define", "_tmppath " + top, *defined, SPEC)
    built = [os.path.join(folder, x) for folder, _, files in os.walk(top + "/RPMS") for x in files]
    return {run("rpm", "-qp", "--queryformat", "%{name}", x): x for x in built}


class RpmPackages(Packages):
    """The packages of rpm, on this Debian. What distributions' macros and packages do besides is done by hand."""

    def rpm(self, *arguments):
        """rpm, inside."""
        self.host.run("rpm", "--force-debian", "--nodeps", *arguments, timeout=120)

    def install(self, *names):
        """Installs packages by their names, or replaces them by the same."""
        self.rpm("--upgrade", "--replacepkgs", *[shutil.copy(build()[x], self.host.scratch.path) for x in names])
        self.host.systemctl("daemon-reload")
        self.host.busctl("call", "org.freedesktop.DBus", "/", "org.freedesktop.DBus", "ReloadConfig")
        self.host.systemctl("start", UNIT)

    def remove(self, *names):
        """Removes packages."""
        self.rpm("--erase", *names)


class Spec(unittest.TestCase):
    """Without a host."""

    def test_rpm_understands_it(self):
        self.assertEqual(set(run("rpmspec", "-q", "--queryformat", "%{name}\n", SPEC).split()), PACKAGES)

    def test_rpmlint_has_nothing_to_say(self):
        told = run("rpmlint", "-c", os.path.join(FOLDER, "rpmlint.toml"), SPEC)
        self.assertIn("0 errors, 0 warnings", told)

    def test_packages_can_be_built_and_have_all_that_is_installed(self):
        self.assertLessEqual(PACKAGES, set(build()))


class Held(HeldCase):
    """In the middle of a sleep."""

    make_packages = RpmPackages

    def test_upgrade_holds_on_and_they_run_after_the_wake(self):
        self.hold()
        old = self.packages.pid()
        self.packages.install("suspendd")
        self.assert_goes_on(old)


class HeldDomain(DomainTests, HeldDomainCase):
    """A domain of libvirt, held."""

    make_packages = RpmPackages


if __name__ == "__main__":
    unittest.main()
