/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/carrier.h"
#include <inttypes.h>
#include <stdarg.h>

#define PAGE_BYTES UINT64_C(4096)
#define ADDRESS_MAX (UINT64_C(1) << 52)

static char *text_of(const char *format, ...) _printf_(1, 2);

static char *text_of(const char *format, ...) {
        va_list arguments;
        char *text;
        int n;

        va_start(arguments, format);
        n = vasprintf(&text, format, arguments);
        va_end(arguments);
        return n < 0 ? NULL : text;
}

static int add_text(JsonObject *o, const char *key, const char *text) {
        JsonObject *value = text ? json_object_new_string(text) : NULL;

        if (value && json_object_object_add(o, key, value) < 0) {
                (void) json_object_put(value);
                value = NULL;
        }
        return value ? 0 : -1;
}

static int add_carrier(
                JsonObject *array,
                const char *name,
                const char *what,
                const char *qemu,
                const char *libvirt) {
        JsonObject *o = json_object_new_object();

        if (!o || json_object_array_add(array, o) < 0) {
                (void) json_object_put(o);
                return -1;
        }
        return add_text(o, "name", name) + add_text(o, "what", what) + add_text(o, "qemu", qemu) +
               add_text(o, "libvirt", libvirt);
}

/* libvirt's own nvdimm is not smaller than 1 MiB; by the command line it is what it is. */
static int add_nvdimm(JsonObject *array, const CarrierPage *p) {
        const char *acpi = p->acpi ?: "FILE";
        uint64_t address = p->address ?: CARRIER_ACPI_ADDRESS;
        _cleanup_free_ char *qemu = NULL, *libvirt = NULL;

        qemu = text_of("-machine nvdimm=on\n"
                       "-m SIZE -m slots=1,maxmem=SIZE+16G\n"
                       "-object memory-backend-file,id=drift,mem-path=%s,share=on,size=4096\n"
                       "-device nvdimm,id=drift-nvdimm,memdev=drift,addr=0x%" PRIx64 "\n"
                       "-acpitable file=%s\n",
                       p->path,
                       address,
                       acpi);
        libvirt = text_of(
                        "<qemu:commandline>\n"
                        "  <qemu:arg value='-machine'/>\n"
                        "  <qemu:arg value='nvdimm=on'/>\n"
                        "  <qemu:arg value='-m'/>\n"
                        "  <qemu:arg value='slots=1,maxmem=SIZE+16G'/>\n"
                        "  <qemu:arg value='-object'/>\n"
                        "  <qemu:arg value='memory-backend-file,id=drift,mem-path=%s,share=on,"
                        "size=4096'/>\n"
                        "  <qemu:arg value='-device'/>\n"
                        "  <qemu:arg value='nvdimm,id=drift-nvdimm,memdev=drift,"
                        "addr=0x%" PRIx64 "'/>\n"
                        "  <qemu:arg value='-acpitable'/>\n"
                        "  <qemu:arg value='file=%s'/>\n"
                        "</qemu:commandline>\n",
                        p->path,
                        address,
                        acpi);
        return add_carrier(
                        array,
                        "nvdimm",
                        "x86: an NVDIMM and an ACPI table (--acpi=FILE writes it); Linux's own "
                        "ptp_vmclock finds it. SIZE is the guest's memory; from 7 GiB on, an "
                        "--address of 4 GiB more than it is needed",
                        qemu,
                        libvirt);
}

static int add_tree(JsonObject *array, const CarrierPage *p) {
        const char *tree = p->tree ?: "FILE";
        uint64_t address = p->address ?: CARRIER_TREE_ADDRESS;
        uint64_t size = address + PAGE_BYTES - CARRIER_VIRT_RAM;
        _cleanup_free_ char *qemu = NULL, *libvirt = NULL;

        if (carrier_check_address(address, true))
                return 0;
        qemu = text_of("-m %" PRIu64 "b\n"
                       "-object memory-backend-ram,id=ram,size=%" PRIu64 "\n"
                       "-object memory-backend-file,id=drift,mem-path=%s,share=on,size=4096\n"
                       "-numa node,memdev=ram\n"
                       "-numa node,memdev=drift\n"
                       "-dtb with-page.dtb\n"
                       "# The tree: all arguments above, with -machine virt,dumpdtb=machine.dtb, then\n"
                       "# (dtc -O dts machine.dtb; cat %s) | dtc -O dtb -o with-page.dtb\n"
                       "# The guest's kernel is told numa=off, for the page is a node of its own.\n",
                       size,
                       size - PAGE_BYTES,
                       p->path,
                       tree);
        /* It always says memory-backend=, which QEMU does not take together with memdev=. */
        libvirt = text_of(
                        "<!-- Not this way: libvirt names the machine's memory itself, and then QEMU takes no\n"
                        "     more of it. The page comes by ivshmem, below. -->\n");
        return add_carrier(
                        array,
                        "devicetree",
                        "arm64: the last page of the memory of \"virt\", and a node of its device "
                        "tree (--devicetree=FILE writes it); Linux's own ptp_vmclock finds it",
                        qemu,
                        libvirt);
}

static int add_plain(JsonObject *array, const CarrierPage *p) {
        _cleanup_free_ char *qemu = NULL, *libvirt = NULL;

        qemu = text_of("-object memory-backend-file,id=drift,mem-path=%s,share=on,size=4096\n"
                       "-device ivshmem-plain,memdev=drift\n",
                       p->path);
        libvirt = text_of(
                        "<qemu:commandline>\n"
                        "  <qemu:arg value='-object'/>\n"
                        "  <qemu:arg value='memory-backend-file,id=drift,mem-path=%s,share=on,"
                        "size=4096'/>\n"
                        "  <qemu:arg value='-device'/>\n"
                        "  <qemu:arg value='ivshmem-plain,memdev=drift'/>\n"
                        "</qemu:commandline>\n",
                        p->path);
        return add_carrier(
                        array,
                        "ivshmem-plain",
                        "any: a PCI device (1af4:1110) whose BAR2 is the page; can be plugged into "
                        "a running VM",
                        qemu,
                        libvirt);
}

static int add_doorbell(JsonObject *array, const CarrierPage *p) {
        _cleanup_free_ char *qemu = NULL, *libvirt = NULL;

        if (!p->socket)
                return 0;
        qemu = text_of("-chardev socket,id=drift,path=%s\n"
                       "-device ivshmem-doorbell,chardev=drift,vectors=%u\n",
                       p->socket,
                       p->vectors);
        libvirt =
                        text_of("<shmem name='drift'>\n"
                                "  <model type='ivshmem-doorbell'/>\n"
                                "  <server path='%s'/>\n"
                                "  <msi vectors='%u' ioeventfd='on'/>\n"
                                "</shmem>\n",
                                p->socket,
                                p->vectors);
        return add_carrier(
                        array,
                        "ivshmem-doorbell",
                        "any: the same, with an interrupt (MSI-X) when there is something to read; "
                        "suspendd must be there when the VM starts",
                        qemu,
                        libvirt);
}

JsonObject *carrier_list(const CarrierPage *page) {
        _cleanup_json_ JsonObject *array = json_object_new_array();

        if (!array || add_nvdimm(array, page) < 0 || add_tree(array, page) < 0 ||
            add_plain(array, page) < 0 || add_doorbell(array, page) < 0)
                return NULL;
        return TAKE_PTR(array);
}

char *carrier_tree(uint64_t address) {
        uint32_t high = (uint32_t) (address >> 32), low = (uint32_t) address;

        return text_of("/* A drift page: suspendd-drift-page(7). To be put behind the machine's tree. */\n"
                       "/ {\n"
                       "\treserved-memory {\n"
                       "\t\t#address-cells = <2>;\n"
                       "\t\t#size-cells = <2>;\n"
                       "\t\tranges;\n"
                       "\t\tdrift-page@%" PRIx64 " {\n"
                       "\t\t\treg = <0x%x 0x%x 0x0 0x1000>;\n"
                       "\t\t\tno-map;\n"
                       "\t\t};\n"
                       "\t};\n"
                       "\n"
                       "\tvmclock@%" PRIx64 " {\n"
                       "\t\tcompatible = \"amazon,vmclock\";\n"
                       "\t\treg = <0x%x 0x%x 0x0 0x1000>;\n"
                       "\t};\n"
                       "};\n",
                       address,
                       high,
                       low,
                       address,
                       high,
                       low);
}

const char *carrier_check_address(uint64_t address, bool is_tree) {
        if (address == 0 || address % PAGE_BYTES != 0 || address > ADDRESS_MAX - PAGE_BYTES)
                return "it is not the address of a page";
        if (is_tree && address <= CARRIER_VIRT_RAM)
                return "the memory of \"virt\" begins at 0x40000000";
        return NULL;
}
