# SPDX-License-Identifier: LGPL-2.1-or-later
"""What QEMU is told of the machine that a Linux guest runs on, and of what carries a drift page into it."""

import os
import shutil
import subprocess

from .util import LabError, LabUnavailable

PAGE_BYTES = 4096
MIB = 1 << 20
# Where the guest finds these PCI devices.
PLAIN_SLOT, DOORBELL_SLOT, PROGRESS_SLOT = 0x10, 0x11, 0x12
# Where the guest finds the page: on x86 in a DIMM far above its RAM, on arm64 (virt) in the last page of its RAM.
NVDIMM_ADDRESS = 0x280000000
VIRT_RAM = 0x40000000


def need(program, package):
    """LabUnavailable if the program is not there."""
    if not shutil.which(program):
        raise LabUnavailable("no %s (package %s)" % (program, package))


class X86:
    """A pc or q35; its S3 works."""

    arch, binary, package, console = "amd64", "qemu-system-x86_64", "qemu-system-x86", "ttyS0"

    @staticmethod
    def arguments(vm):
        """Machine, memory and firmware tables of it."""
        machine, memory = vm.machine, str(vm.memory)
        args = ["-global", "PIIX4_PM.disable_s3=0" if vm.machine == "pc" else "ICH9-LPC.disable_s3=0"]
        if vm.page:
            machine += ",nvdimm=on"
            memory += ",slots=2,maxmem=16G"
            args += backend("page", vm.page) + ["-device", "nvdimm,memdev=page,addr=%#x" % NVDIMM_ADDRESS,
                                                "-acpitable", "file=" + vm.page_table]
        if vm.doorbell:
            args += ["-device", "intel-iommu"]
        return ["-machine", machine, "-m", memory] + args

    @staticmethod
    def words(vm):
        """For the kernel's command line. On a busy host it finds no timer behind the IOMMU, and panics."""
        return ["intel_iommu=on no_timer_check"] if vm.doorbell else []

    @staticmethod
    def table_options(_, path):
        """What has suspendctl write the table that the guest finds its page by."""
        return ["--acpi=" + path, "--address=%#x" % NVDIMM_ADDRESS]


class Virt:
    """arm64's virt with a device tree; it has no S3."""

    arch, binary, package, console = "arm64", "qemu-system-aarch64", "qemu-system-arm", "ttyAMA0"

    @staticmethod
    def arguments(vm):
        """Machine, memory and device tree of it. The page is the end of the RAM."""
        machine = "virt,gic-version=3" + (",iommu=smmuv3" if vm.doorbell else "")
        args = ["-cpu", "cortex-a57", "-m", str(vm.memory)]
        if not vm.page:
            return ["-machine", machine] + args
        args += ["-object", "memory-backend-ram,id=ram,size=%d" % (vm.memory * MIB - PAGE_BYTES),
                 "-numa", "node,memdev=ram"] + backend("page", vm.page) + ["-numa", "node,memdev=page"]
        tree = vm.own_path("dtb")
        need("dtc", "device-tree-compiler")
        run(Virt.binary, "-nodefaults", "-machine", "%s,dumpdtb=%s" % (machine, tree), *args)
        run("sh", "-c", '(dtc -q -O dts "$1"; cat "$2") | dtc -q -O dtb -o "$1".new && mv "$1".new "$1"', "sh",
            tree, vm.page_table)
        return ["-machine", machine] + args + ["-dtb", tree]

    @staticmethod
    def words(vm):
        """For the kernel's command line."""
        return ["numa=off"] if vm.page else []

    @staticmethod
    def table_options(vm, path):
        """What has suspendctl write the nodes of the device tree that the guest finds its page by."""
        return ["--devicetree=" + path, "--address=%#x" % (VIRT_RAM + vm.memory * MIB - PAGE_BYTES)]


BOARDS = {board.arch: board for board in (X86, Virt)}


def pci_address(slot):
    """As the guest's kernel writes it."""
    return "0000:00:%02x.0" % slot


def backend(name, path):
    """Memory that is a file, which others map as well."""
    size = os.path.getsize(path)
    return ["-object", "memory-backend-file,id=%s,mem-path=%s,share=on,size=%d" % (name, path, size)]


def plain(name, path, slot):
    """Memory that is a file, as a PCI device."""
    return backend(name, path) + ["-device", "ivshmem-plain,memdev=%s,addr=%#x" % (name, slot)]


def carriers(vm):
    """The PCI devices that carry a page: ivshmem-plain over its file, ivshmem-doorbell with its server's socket.
    And memory by which a program in the guest tells a test how far it is."""
    args = []
    if vm.shmem:
        args += plain("shmem", vm.shmem, PLAIN_SLOT)
    if vm.doorbell:
        args += ["-chardev", "socket,id=bell,path=" + vm.doorbell,
                 "-device", "ivshmem-doorbell,chardev=bell,vectors=%d,addr=%#x" % (vm.vectors, DOORBELL_SLOT)]
    if vm.progress:
        args += plain("progress", vm.progress, PROGRESS_SLOT)
    return args


def run(*command):
    """Runs a tool to its end."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30)
    if done.returncode:
        raise LabError("%s: %s" % (command[0], done.stdout.strip()))
