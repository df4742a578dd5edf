/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What is written, as ACPI's own language has it (ACPI 6.5, 20.2 and 6.4.3.5.1):
 *
 *      Scope (\_SB) {
 *          Device (VCLK) {
 *              Name (_HID, "AMZNC10C")  Name (_CID, "VMCLOCK")  Name (_UID, Zero)  Name (_STA, 0x0F)
 *              Name (_CRS, ResourceTemplate () { QWordMemory (…, address, address + 0xFFF, …) })
 *          }
 *          ThermalZone (TPOL) {
 *              Method (_TMP, 0, Serialized) { Notify (\_SB.VCLK, 0x80)  Return (0x0B54) }
 *              Method (_CRT, 0, Serialized) { Return (0x0FA0) }
 *              Name (_TZP, 0x0A)
 *          }
 *      }
 *      Method (\_WAK, 1, Serialized) { Notify (\_SB.VCLK, 0x80)  Return (Package () { Zero, Zero }) }
 *
 * A thing's length stands before it, and its size depends on it: so the innermost is written first.
 */

#include "cli/acpi-table.h"
#include <assert.h>
#include <string.h>

#define PAGE_SIZE_BYTES 4096
#define HEADER_SIZE 36
#define AT_LENGTH 4
#define AT_CHECKSUM 9

typedef struct Bytes {
        uint8_t data[ACPI_TABLE_SIZE_MAX];
        size_t n;
} Bytes;

static void put(Bytes *b, const void *data, size_t n) {
        assert(b->n + n <= sizeof(b->data));
        memcpy(b->data + b->n, data, n);
        b->n += n;
}

#define PUT(_b, _literal) put((_b), (_literal), sizeof(_literal) - 1)

static void put_number(Bytes *b, uint64_t v, size_t n_bytes) {
        for (size_t i = 0; i < n_bytes; i++, v >>= 8) {
                uint8_t byte = (uint8_t) v;

                put(b, &byte, 1);
        }
}

/* A PkgLength, which counts itself, and what it is the length of. */
static void put_package(Bytes *b, const Bytes *inner) {
        size_t n = inner->n + 1;

        if (n < 0x40)
                put_number(b, n, 1);
        else {
                n++;
                put_number(b, 0x40 | (n & 0xf), 1);
                put_number(b, n >> 4, 1);
        }
        put(b, inner->data, inner->n);
}

static void put_resource(Bytes *b, uint64_t address) {
        Bytes template = { 0 };

        PUT(&template, "\x0a\x30"); /* 48 bytes */
        PUT(&template, "\x8a\x2b\x00");
        PUT(&template,
            "\x00\x0c\x03"); /* memory; producer, both ends fixed; cacheable, read-write */
        put_number(&template, 0, 8);
        put_number(&template, address, 8);
        put_number(&template, address + PAGE_SIZE_BYTES - 1, 8);
        put_number(&template, 0, 8);
        put_number(&template, PAGE_SIZE_BYTES, 8);
        PUT(&template, "\x79\x00"); /* the end; its checksum is not used */

        PUT(b, "\x08_CRS\x11");
        put_package(b, &template);
}

static void put_device(Bytes *b, uint64_t address) {
        Bytes device = { 0 };

        PUT(&device, "VCLK");
        PUT(&device,
            "\x08_HID\x0d"
            "AMZNC10C\0");
        PUT(&device,
            "\x08_CID\x0d"
            "VMCLOCK\0");
        PUT(&device, "\x08_UID\x00");
        PUT(&device, "\x08_STA\x0a\x0f");
        put_resource(&device, address);

        PUT(b, "\x5b\x82");
        put_package(b, &device);
}

#define NOTIFY "\x86\\\x2e_SB_VCLK\x0a\x80"

static void put_method(Bytes *b, const Bytes *method) {
        PUT(b, "\x14");
        put_package(b, method);
}

/* 17 °C, always: what matters is that it is asked for, each second. */
static void put_thermal_zone(Bytes *b) {
        Bytes zone = { 0 }, temperature = { 0 }, critical = { 0 };

        PUT(&temperature, "_TMP\x08" NOTIFY "\xa4\x0b\x54\x0b");
        PUT(&critical, "_CRT\x08\xa4\x0b\xa0\x0f");

        PUT(&zone, "TPOL");
        put_method(&zone, &temperature);
        put_method(&zone, &critical);
        PUT(&zone, "\x08_TZP\x0a\x0a");

        PUT(b, "\x5b\x85");
        put_package(b, &zone);
}

static void put_wake(Bytes *b) {
        Bytes wake = { 0 };

        PUT(&wake, "\\_WAK\x09" NOTIFY "\xa4\x12\x04\x02\x00\x00");
        put_method(b, &wake);
}

static void put_header(Bytes *b) {
        PUT(b, "SSDT");
        put_number(b, 0, 4); /* length, when all is there */
        PUT(b, "\x02\x00");  /* revision; checksum, likewise */
        PUT(b, "SUSPND");
        PUT(b, "DRIFTPAG");
        put_number(b, 1, 4);
        PUT(b, "SUSP");
        put_number(b, 1, 4);
        assert(b->n == HEADER_SIZE);
}

static void finish(Bytes *b) {
        uint8_t sum = 0;

        for (size_t i = 0; i < 4; i++)
                b->data[AT_LENGTH + i] = (uint8_t) (b->n >> (8 * i));
        for (size_t i = 0; i < b->n; i++)
                sum = (uint8_t) (sum + b->data[i]);
        b->data[AT_CHECKSUM] = (uint8_t) -sum;
}

size_t acpi_table_write(uint8_t buf[static ACPI_TABLE_SIZE_MAX], uint64_t address, bool notifies) {
        Bytes table = { 0 }, scope = { 0 };

        PUT(&scope, "\\_SB_");
        put_device(&scope, address);
        if (notifies)
                put_thermal_zone(&scope);

        put_header(&table);
        PUT(&table, "\x10");
        put_package(&table, &scope);
        if (notifies)
                put_wake(&table);
        finish(&table);
        memcpy(buf, table.data, table.n);
        return table.n;
}
