/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <errno.h>
#include <libxml/parser.h>
#include <sys/resource.h>
#include "plugins/libvirt/definition.h"

#define OURS "xmlns:suspendd='" DEFINITION_NAMESPACE "'"

/* A domain as libvirt writes it out, with what a case is about in its four places. */
static const char *domain_xml(
                const char *os, const char *pm, const char *metadata, const char *devices) {
        static char xml[16384];

        (void) snprintf(xml,
                        sizeof(xml),
                        "<domain type='kvm' id='3' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\n"
                        "  <name>web &apos;&quot;\n1</name>\n"
                        "  <uuid>4c4c4544-0042-3510-8052-b4c04f503132</uuid>\n"
                        "  <metadata>\n"
                        "    <libosinfo:libosinfo xmlns:libosinfo='http://libosinfo.org/xmlns/libvirt/domain/1.0'>\n"
                        "      <libosinfo:os id='http://debian.org/debian/12'/>\n"
                        "    </libosinfo:libosinfo>%s\n"
                        "  </metadata>\n"
                        "  <memory unit='KiB'>1048576</memory>\n"
                        "  <os><type arch='x86_64' machine='%s'>hvm</type><boot dev='hd'/></os>\n"
                        "  <features><acpi/><apic/></features>\n"
                        "  %s\n"
                        "  <devices>\n"
                        "    <emulator>/usr/bin/qemu-system-x86_64</emulator>\n"
                        "    <disk type='file' device='disk'><target dev='vda' bus='virtio'/></disk>\n"
                        "    <interface type='network'><model type='virtio'/></interface>\n"
                        "    %s\n"
                        "  </devices>\n"
                        "</domain>\n",
                        metadata,
                        os,
                        pm,
                        devices);
        return xml;
}

static Definition read_xml(const char *xml) {
        Definition d;

        (void) memset(&d, 0xa5, sizeof(d));
        ck_assert_int_eq(definition_read(xml, &d), 0);
        return d;
}

/* sleep */

static const struct {
        const char *pm;
        bool is_off;
} pms[] = {
        { "", false },
        { "<pm/>", false },
        { "<pm><suspend-to-mem enabled='yes'/></pm>", false },
        { "<pm><suspend-to-mem enabled='no'/><suspend-to-disk enabled='no'/></pm>", true },
        { "<pm><suspend-to-disk enabled='no'/></pm>", false },
};

START_TEST(test_s3_is_off_where_the_definition_says_so) {
        Definition d = read_xml(domain_xml("pc-q35-7.2", pms[_i].pm, "", ""));

        ck_assert(d.is_s3_off == pms[_i].is_off);
        ck_assert(!d.is_s3_impossible);
        ck_assert_ptr_null(d.device);
        ck_assert_int_eq(d.agent, AGENT_CHANNEL_NONE);
        ck_assert_str_eq(d.mode, "");
}
END_TEST

static const struct {
        const char *machine;
        bool is_impossible;
} machines[] = {
        { "pc-q35-7.2", false },  { "pc-i440fx-7.2", false }, { "q35", false },
        { "pseries-7.2", false }, { "virt-7.2", true },       { "virt", true },
        { "microvm", true },      { "not-virt", false },      { "", false },
};

START_TEST(test_boards_without_s3_are_known) {
        Definition d = read_xml(domain_xml(machines[_i].machine, "", "", ""));

        ck_assert(d.is_s3_impossible == machines[_i].is_impossible);
        ck_assert(!d.is_s3_off);
}
END_TEST

/* the agent */

#define CHANNEL(_name, _more)                                                            \
        "<channel type='unix'><source mode='bind' path='/run/x'/><target type='virtio' " \
        "name='" _name "'" _more "/></channel>"

static const struct {
        const char *devices;
        AgentChannel agent;
} agents[] = {
        { "", AGENT_CHANNEL_NONE },
        { CHANNEL("com.redhat.spice.0", " state='connected'"), AGENT_CHANNEL_NONE },
        { CHANNEL("org.qemu.guest_agent.0", ""), AGENT_CHANNEL_DISCONNECTED },
        { CHANNEL("org.qemu.guest_agent.0", " state='disconnected'"), AGENT_CHANNEL_DISCONNECTED },
        { CHANNEL("org.qemu.guest_agent.0", " state='connected'"), AGENT_CHANNEL_CONNECTED },
        { CHANNEL("org.qemu.guest_agent.0", " state='disconnected'")
                          CHANNEL("com.redhat.spice.0", " state='connected'"),
          AGENT_CHANNEL_DISCONNECTED },
        { CHANNEL("com.redhat.spice.0", " state='disconnected'")
                          CHANNEL("org.qemu.guest_agent.0", " state='connected'"),
          AGENT_CHANNEL_CONNECTED },
};

START_TEST(test_agent_is_as_its_channel_says) {
        Definition d = read_xml(domain_xml("pc-q35-7.2", "", "", agents[_i].devices));

        ck_assert_int_eq(d.agent, agents[_i].agent);
        ck_assert_ptr_null(d.device);
}
END_TEST

/* devices */

#define VFIO "VFIO device"
#define HOSTS "device of the host's"
#define VHOST_USER "virtiofs/vhost-user device"
#define VIRTIOFS \
        "<filesystem type='mount'><driver type='virtiofs'/><target dir='share'/></filesystem>"

static const struct {
        const char *devices, *device;
} devices[] = {
        { "<hostdev mode='subsystem' type='pci' managed='yes'/>", VFIO },
        { "<hostdev mode='subsystem' type='mdev' model='vfio-pci'/>", VFIO },
        { "<hostdev mode='subsystem' type='usb'/>", HOSTS },
        { "<hostdev mode='subsystem' type='usb'/><hostdev mode='subsystem' type='pci'/>", VFIO },
        { "<interface type='hostdev' managed='yes'/>", VFIO },
        { "<interface type='vdpa'><source dev='/dev/vhost-vdpa-0'/></interface>", VFIO },
        { VIRTIOFS, VHOST_USER },
        { VIRTIOFS "<hostdev mode='subsystem' type='usb'/>", HOSTS },
        { "<filesystem type='mount'><driver type='path'/></filesystem>", NULL },
        { "<filesystem type='mount'/>", NULL },
        { "<interface type='vhostuser'><source type='unix' path='/x' mode='server'/></interface>",
          VHOST_USER },
        { "<disk type='vhostuser' device='disk'><source type='unix' path='/x'/></disk>",
          VHOST_USER },
        { "<video><model type='virtio'/><driver name='vhostuser'/></video>", NULL },
        { "<crypto model='vhost-user'/>", VHOST_USER },
        { "<crypto model='virtio'><backend type='vhost-user' path='/x'/></crypto>", VHOST_USER },
        { "<interface type='bridge'/><disk type='block' device='disk'/>", NULL },
};

START_TEST(test_devices_that_forbid_a_suspend_are_named) {
        Definition d = read_xml(domain_xml("pc-q35-7.2", "", "", devices[_i].devices));

        if (devices[_i].device)
                ck_assert_str_eq(d.device, devices[_i].device);
        else
                ck_assert_ptr_null(d.device);
}
END_TEST

/* What stands elsewhere than where libvirt has it says nothing. */
START_TEST(test_only_the_places_count) {
        Definition d = read_xml("<domain><metadata><x xmlns='urn:x'><hostdev type='pci'/>"
                                "<pm><suspend-to-mem enabled='no'/></pm></x></metadata>"
                                "<x><devices><hostdev type='pci'/></devices>"
                                "<sleep xmlns='" DEFINITION_NAMESPACE
                                "' mode='pause'/></x></domain>");

        ck_assert(!d.is_s3_off && !d.device && !d.mode[0]);
}
END_TEST

/* our element */

static const struct {
        const char *metadata, *mode;
} modes[] = {
        { "<suspendd:sleep " OURS " mode='pause'/>", "pause" },
        { "<s:sleep xmlns:s='" DEFINITION_NAMESPACE "' mode=\"suspend\"></s:sleep>", "suspend" },
        { "<sleep xmlns='" DEFINITION_NAMESPACE "' mode='ignore'/>", "ignore" },
        { "<suspendd:sleep xmlns:suspendd='urn:suspendd:domain:2' mode='pause'/>", "" },
        { "<suspendd:sleep xmlns:suspendd='http://x/" DEFINITION_NAMESPACE "' mode='pause'/>", "" },
        { "<sleep mode='pause'/>", "" },
        { "<suspendd:sleep " OURS "/>", "" },
        { "<suspendd:sleep " OURS " mode=''/>", "" },
        { "<suspendd:sleep " OURS " suspendd:mode='pause'/>", "" },
        { "<suspendd:sleep " OURS "><mode>pause</mode></suspendd:sleep>", "" },
        { "<suspendd:other " OURS " mode='pause'/>", "" },
        { "<x><suspendd:sleep " OURS " mode='pause'/></x>", "" },
        { "<suspendd:sleep " OURS " mode='pause'/><s:sleep xmlns:s='" DEFINITION_NAMESPACE
          "' mode='ignore'/>",
          "pause" },
        { "<suspendd:sleep " OURS " mode='a&lt;b&quot;&apos;%s&amp;'/>", "a<b\"'%s&" },
        { "<suspendd:sleep " OURS " mode='a&#10;b'/>", "a\nb" },
        { "<suspendd:sleep " OURS " mode='pause-that-n…r-ends'/>", "pause-that-n…" },
        { "<suspendd:sleep " OURS " mode='<![CDATA[pause]]>'/>", NULL },
};

START_TEST(test_mode_is_what_our_element_says) {
        const char *xml = domain_xml("pc-q35-7.2", "", modes[_i].metadata, "");
        Definition d;

        if (!modes[_i].mode) {
                ck_assert_int_eq(definition_read(xml, &d), -EBADMSG);
                return;
        }
        d = read_xml(xml);
        ck_assert_str_eq(d.mode, modes[_i].mode);
}
END_TEST

/* It goes out on the bus, which takes nothing but UTF-8: half a character is none. */
START_TEST(test_mode_that_is_too_long_is_cut_between_characters) {
        Definition d = read_xml(domain_xml(
                        "pc-q35-7.2", "", "<suspendd:sleep " OURS " mode='ääääääääää'/>", ""));

        ck_assert_str_eq(d.mode, "ääääää…");
}
END_TEST

START_TEST(test_mode_written_is_the_mode_read) {
        static const char *const names[] = { "auto", "suspend", "pause", "inhibit", "ignore" };

        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
                _cleanup_free_ char *xml = NULL;
                char whole[512], *rest;
                Definition d;

                ck_assert_int_eq(definition_mode_xml(names[i], &xml), 0);
                /* As libvirt does: it puts the namespace in. */
                ck_assert_int_eq(strncmp(xml, "<sleep ", 7), 0);
                rest = xml + 6;
                (void) snprintf(whole,
                                sizeof(whole),
                                "<suspendd:sleep xmlns:" DEFINITION_PREFIX "='" DEFINITION_NAMESPACE
                                "'%s",
                                rest);
                d = read_xml(domain_xml("pc-q35-7.2", "", whole, ""));
                ck_assert_str_eq(d.mode, names[i]);
        }
}
END_TEST

/* what is no domain */

static const char *const broken[] = {
        "",
        " ",
        "no XML",
        "<domain",
        "<domain>",
        "<domain></domian>",
        "<network><name>default</name></network>",
        "<x><domain/></x>",
        "<domain/><domain/>",
        "<domain xmlns='urn:other'/>",
        "<domain><name>\xff\xfe</name></domain>",
        "<domain><name>&nothing;</name></domain>",
        "<?xml version='1.0' encoding='no-such'?><domain/>",
};

static bool are_same_bytes(const void *a, const void *b, size_t size) {
        return memcmp(a, b, size) == 0;
}

START_TEST(test_broken_xml_is_refused) {
        Definition d, untouched;

        (void) memset(&d, 0xa5, sizeof(d));
        untouched = d;
        ck_assert_int_eq(definition_read(broken[_i], &d), -EBADMSG);
        ck_assert(are_same_bytes(&d, &untouched, sizeof(d)));
}
END_TEST

START_TEST(test_more_than_a_mebibyte_is_not_looked_at) {
        static const char head[] = "<domain><!--", tail[] = "--></domain>";
        _cleanup_free_ char *xml = malloc(DEFINITION_BYTES_MAX + 2);
        Definition d;

        ck_assert_ptr_nonnull(xml);
        for (size_t size = DEFINITION_BYTES_MAX; size <= DEFINITION_BYTES_MAX + 1; size++) {
                (void) memset(xml, 'x', size);
                (void) memcpy(xml, head, strlen(head));
                (void) memcpy(xml + size - strlen(tail), tail, sizeof(tail));
                ck_assert_int_eq(
                                definition_read(xml, &d),
                                size > DEFINITION_BYTES_MAX ? -EMSGSIZE : 0);
        }
}
END_TEST

/* bombs */

#define ENTITY(_n, _of)                                                                     \
        "<!ENTITY e" #_n " '&e" #_of ";&e" #_of ";&e" #_of ";&e" #_of ";&e" #_of ";&e" #_of \
        ";&e" #_of ";&e" #_of ";&e" #_of ";&e" #_of ";'>"
#define BOMB                                                                                 \
        "<!DOCTYPE domain [<!ENTITY e0 'paused!!!!'>" ENTITY(1, 0) ENTITY(2, 1) ENTITY(3, 2) \
                        ENTITY(4, 3) ENTITY(5, 4) ENTITY(6, 5) ENTITY(7, 6) ENTITY(8, 7)     \
                                        ENTITY(9, 8) "]>"

static const char *const bombs[] = {
        BOMB "<domain><metadata><s:sleep xmlns:s='" DEFINITION_NAMESPACE
             "' mode='&e9;'/></metadata></domain>",
        BOMB "<domain><metadata><s:sleep xmlns:s='" DEFINITION_NAMESPACE
             "' mode='&e6;'/></metadata></domain>",
        BOMB "<domain><name>&e9;</name><devices>&e9;</devices></domain>",
        "<!DOCTYPE domain [<!ENTITY e '&e;'>]><domain><metadata><s:sleep xmlns:s='" DEFINITION_NAMESPACE
        "' mode='&e;'/></metadata></domain>",
        "<!DOCTYPE domain [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><domain><metadata><s:sleep "
        "xmlns:s='" DEFINITION_NAMESPACE "' mode='&e;'/></metadata></domain>",
        "<!DOCTYPE domain SYSTEM 'http://127.0.0.1:9/x.dtd'><domain/>",
};

/* Refused or read, but in no time and in a few MiB: this is what a limit of the processor's is for. */
START_TEST(test_entities_do_not_explode) {
        const struct rlimit cpu = { .rlim_cur = 10, .rlim_max = 10 };
        struct rusage before, after;
        Definition d;
        int r;

        ck_assert_int_eq(setrlimit(RLIMIT_CPU, &cpu), 0);
        ck_assert_int_eq(getrusage(RUSAGE_SELF, &before), 0);
        r = definition_read(bombs[_i], &d);
        ck_assert_int_eq(getrusage(RUSAGE_SELF, &after), 0);
        ck_assert(r == 0 || r == -EBADMSG);
        ck_assert_msg(after.ru_maxrss - before.ru_maxrss < 16 * 1024L,
                      "it took %ld KiB",
                      after.ru_maxrss - before.ru_maxrss);
        if (r == 0)
                ck_assert_ptr_null(strstr(d.mode, "root"));
}
END_TEST

static void add_tests(TCase *c) {
        tcase_add_loop_test(c, test_s3_is_off_where_the_definition_says_so, 0, ARRAY_LEN(pms));
        tcase_add_loop_test(c, test_boards_without_s3_are_known, 0, ARRAY_LEN(machines));
        tcase_add_loop_test(c, test_agent_is_as_its_channel_says, 0, ARRAY_LEN(agents));
        tcase_add_loop_test(c, test_devices_that_forbid_a_suspend_are_named, 0, ARRAY_LEN(devices));
        tcase_add_test(c, test_only_the_places_count);
        tcase_add_loop_test(c, test_mode_is_what_our_element_says, 0, ARRAY_LEN(modes));
        tcase_add_test(c, test_mode_that_is_too_long_is_cut_between_characters);
        tcase_add_test(c, test_mode_written_is_the_mode_read);
        tcase_add_loop_test(c, test_broken_xml_is_refused, 0, ARRAY_LEN(broken));
        tcase_add_test(c, test_more_than_a_mebibyte_is_not_looked_at);
        tcase_add_loop_test(c, test_entities_do_not_explode, 0, ARRAY_LEN(bombs));
}

int main(void) {
        Suite *suite = suite_create("libvirt-definition");
        TCase *c = tcase_create("definition");
        SRunner *runner;
        int n_failed;

        tcase_set_timeout(c, 30);
        add_tests(c);
        suite_add_tcase(suite, c);
        xmlInitParser();
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        xmlCleanupParser();
        return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
