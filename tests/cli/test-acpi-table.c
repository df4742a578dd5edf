/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "cli/acpi-table.h"
#include "common/macro.h"

#define HEADER_SIZE 36
#define ADDRESS UINT64_C(0x280000000)

/* What iasl 20200925 makes of the same source (shared/lab/guest), behind the header. */
static const uint8_t plain[] =
                "\x10\x42\x07\\_SB_\x5b\x82\x49\x06VCLK\x08_HID\x0d"
                "AMZNC10C\0\x08_CID\x0dVMCLOCK\0\x08_UID\0\x08_STA\x0a\x0f\x08_CRS\x11\x33\x0a\x30"
                "\x8a\x2b\0\0\x0c\x03\0\0\0\0\0\0\0\0\0\0\0\x80\x02\0\0\0\xff\x0f\0\x80\x02\0\0\0"
                "\0\0\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\x79";

static const uint8_t notifying[] =
                "\x10\x43\x0a\\_SB_\x5b\x82\x49\x06VCLK\x08_HID\x0d"
                "AMZNC10C\0\x08_CID\x0dVMCLOCK\0\x08_UID\0\x08_STA\x0a\x0f\x08_CRS\x11\x33\x0a\x30"
                "\x8a\x2b\0\0\x0c\x03\0\0\0\0\0\0\0\0\0\0\0\x80\x02\0\0\0\xff\x0f\0\x80\x02\0\0\0"
                "\0\0\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\x79\0"
                "\x5b\x85\x2fTPOL\x14\x17_TMP\x08\x86\\._SB_VCLK\x0a\x80\xa4\x0b\x54\x0b"
                "\x14\x0a_CRT\x08\xa4\x0b\xa0\x0f\x08_TZP\x0a\x0a"
                "\x14\x1a\\_WAK\x09\x86\\._SB_VCLK\x0a\x80\xa4\x12\x04\x02\0";

static uint8_t table[ACPI_TABLE_SIZE_MAX];

START_TEST(test_table_is_what_the_compiler_makes_of_it) {
        size_t n = acpi_table_write(table, ADDRESS, false);

        ck_assert_uint_eq(n, 151);
        ck_assert_uint_eq(n, HEADER_SIZE + sizeof(plain));
        ck_assert_mem_eq(table + HEADER_SIZE, plain, sizeof(plain));
        n = acpi_table_write(table, ADDRESS, true);
        ck_assert_uint_eq(n, 227);
        ck_assert_uint_eq(n, HEADER_SIZE + sizeof(notifying));
        ck_assert_mem_eq(table + HEADER_SIZE, notifying, sizeof(notifying));
}
END_TEST

START_TEST(test_header_has_length_and_checksum) {
        for (int notifies = 0; notifies < 2; notifies++)
                for (uint64_t address = 0x1000; address < UINT64_C(1) << 52; address *= 3) {
                        size_t n = acpi_table_write(table, address, notifies);
                        uint8_t sum = 0;

                        for (size_t i = 0; i < n; i++)
                                sum = (uint8_t) (sum + table[i]);
                        ck_assert_uint_eq(sum, 0);
                        ck_assert_mem_eq(table, "SSDT", 4);
                        ck_assert_uint_eq(table[4], n);
                        ck_assert_uint_eq(table[5] | table[6] | table[7], 0);
                }
}
END_TEST

/* Returns: what iasl says of the table, in a static buffer; NULL where there is no iasl. */
static const char *disassemble(size_t n) {
        static char text[16384];
        char folder[] = "/tmp/suspendd-test-XXXXXX", command[256], path[64];
        FILE *f;

        ck_assert_ptr_nonnull(mkdtemp(folder));
        (void) snprintf(path, sizeof(path), "%s/t.aml", folder);
        f = fopen(path, "we");
        ck_assert_ptr_nonnull(f);
        ck_assert_uint_eq(fwrite(table, 1, n, f), n);
        ck_assert_int_eq(fclose(f), 0);
        (void) snprintf(command,
                        sizeof(command),
                        "cd %s && iasl -d t.aml >/dev/null 2>&1; cat t.dsl 2>/dev/null; rm -r %s",
                        folder,
                        folder);
        f = popen(command, "re");
        ck_assert_ptr_nonnull(f);
        text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
        (void) pclose(f);
        return *text ? text : NULL;
}

START_TEST(test_disassembler_understands_it) {
        const char *text = disassemble(acpi_table_write(table, 0x123456000, true));

        if (!text) {
                printf("no iasl here\n");
                return;
        }
        ck_assert_ptr_nonnull(strstr(text, "Name (_HID, \"AMZNC10C\")"));
        ck_assert_ptr_nonnull(strstr(text, "0x0000000123456000, // Range Minimum"));
        ck_assert_ptr_nonnull(strstr(text, "0x0000000123456FFF, // Range Maximum"));
        ck_assert_ptr_nonnull(strstr(text, "0x0000000000001000, // Length"));
        ck_assert_ptr_nonnull(strstr(text, "Notify (\\_SB.VCLK, 0x80)"));
        ck_assert_ptr_nonnull(strstr(text, "Method (\\_WAK, 1, Serialized)"));
        ck_assert_ptr_null(strstr(text, "Incorrect checksum"));
}
END_TEST

int main(void) {
        Suite *suite = suite_create("acpi-table");
        TCase *tcase = tcase_create("acpi-table");
        SRunner *runner = srunner_create(suite);
        int n_failed;

        tcase_add_test(tcase, test_table_is_what_the_compiler_makes_of_it);
        tcase_add_test(tcase, test_header_has_length_and_checksum);
        tcase_add_test(tcase, test_disassembler_understands_it);
        suite_add_tcase(suite, tcase);

        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
