/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include "cli/acpi-table.h"
#include "cli/carrier.h"
#include "cli/verb.h"
#include "common/text-escape.h"

#define ENTRY_SIZE (64 * 1024)
#define VECTORS_MAX 16

static const JsonLimits list_limits = {
        .size_max = 4 << 20,
        .values_max = 100000,
        .depth_max = 8,
};

static const Field columns[] = {
        { "NAME", "name", FORMAT_TEXT, FIELD_SHRINK, NULL },
        { "OWNER", "owner_name", FORMAT_TEXT, 0, NULL },
        { "CYCLES", "cycles", FORMAT_COUNT, FIELD_RIGHT, NULL },
        { "UNSEEN", "unseen_ns", FORMAT_SPAN_NS, FIELD_RIGHT, NULL },
        { "SEEN", "seen_ns", FORMAT_SPAN_NS, FIELD_RIGHT, NULL },
        { "READER CORRECTS", "answer.corrects", FORMAT_TEXT, 0, NULL },
        { "CONNECTED", "peers", FORMAT_COUNT, FIELD_RIGHT, NULL },
        { "TROUBLE", "trouble", FORMAT_TEXT, FIELD_WRAP, NULL },
};

static const Field rows[] = {
        { "Page", "path", FORMAT_TEXT, 0, NULL },
        { "Doorbell", "socket", FORMAT_TEXT, 0, NULL },
        { "Vectors", "vectors", FORMAT_COUNT, 0, NULL },
        { "Connected", "peers", FORMAT_COUNT, 0, NULL },
        { "Owner", "owner_name", FORMAT_TEXT, 0, NULL },
        { "Trouble", "trouble", FORMAT_TEXT, 0, NULL },
        { "Epoch", "epoch", FORMAT_TEXT, 0, NULL },
        { "State", "state", FORMAT_TEXT, 0, NULL },
        { "Cycles", "cycles", FORMAT_COUNT, 0, NULL },
        { "Unseen", "unseen_ns", FORMAT_SPAN_NS, 0, NULL },
        { "Seen", "seen_ns", FORMAT_SPAN_NS, 0, NULL },
        { "Last unseen", "last_unseen_ns", FORMAT_SPAN_NS, 0, NULL },
        { "Last seen", "last_seen_ns", FORMAT_SPAN_NS, 0, NULL },
        { "Host stepped", "host_stepped_ns", FORMAT_OFFSET_NS, FIELD_IF_SET, NULL },
        { "Published", "published", FORMAT_STAMP, 0, NULL },
        { "Publishings", "publishings", FORMAT_COUNT, 0, NULL },
        { "Marker", "disruption_marker", FORMAT_COUNT, 0, NULL },
        { "Notifies", "notifies", FORMAT_YES_NO, FIELD_IF_SET, NULL },
        { "Tells UTC", "has_time", FORMAT_YES_NO, 0, NULL },
        { "Not, for", "why_no_time", FORMAT_TEXT, 0, NULL },
};

static const Field answer_rows[] = {
        { "Reader corrects", "corrects", FORMAT_TEXT, 0, NULL },
        { "Has read all", "is_current", FORMAT_YES_NO, 0, NULL },
        { "Applied", "applied_ns", FORMAT_SPAN_NS, 0, NULL },
        { "Refused", "refused_ns", FORMAT_SPAN_NS, FIELD_IF_SET, NULL },
};

/* users: looked up here, where it may take its time */

static int find_user(const char *name, uid_t *ret) {
        _cleanup_free_ char *buf = malloc(ENTRY_SIZE);
        struct passwd entry, *found = NULL;

        if (!buf)
                return -ENOMEM;
        if (getpwnam_r(name, &entry, buf, ENTRY_SIZE, &found) != 0 || !found)
                return -ENOENT;
        *ret = entry.pw_uid;
        return 0;
}

static JsonObject *user_name(int64_t uid) {
        _cleanup_free_ char *buf = malloc(ENTRY_SIZE);
        struct passwd entry, *found = NULL;
        char number[32];

        if (buf && getpwuid_r((uid_t) uid, &entry, buf, ENTRY_SIZE, &found) == 0 && found)
                return json_clean_string(found->pw_name);
        (void) snprintf(number, sizeof(number), "%lld", (long long) uid);
        return json_object_new_string(number);
}

/* pages */

static int compare_names(const void *a, const void *b) {
        return strverscmp(
                        json_text(*(JsonObject *const *) a, "name"),
                        json_text(*(JsonObject *const *) b, "name"));
}

static int list_pages(Command *c, JsonObject **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_json_ JsonObject *dirty = NULL, *pages = NULL;
        const char *text;
        int64_t owner;
        int r;

        r = client_call(c->client, NULL, "ListPages", &reply, NULL);
        if (r != STATUS_OK)
                return r;
        r = sd_bus_message_read(reply, "s", &text);
        if (r >= 0)
                r = json_bounded_parse(text, strlen(text), &list_limits, &dirty);
        if (r < 0 || !json_object_is_type(dirty, json_type_array))
                return fail(STATUS_FAILURE, "The daemon's answer is not understood.");

        pages = json_clean(dirty);
        for (size_t i = 0; i < json_object_array_length(pages); i++) {
                JsonObject *page = json_object_array_get_idx(pages, i);

                if (json_get_int64(page, "owner", &owner) >= 0)
                        (void) json_object_object_add(page, "owner_name", user_name(owner));
        }
        json_object_array_sort(pages, compare_names);
        *ret = TAKE_PTR(pages);
        return STATUS_OK;
}

/* Returns: borrowed from @pages; NULL. */
static JsonObject *find_page(JsonObject *pages, const char *name) {
        for (size_t i = 0; i < json_object_array_length(pages); i++) {
                JsonObject *page = json_object_array_get_idx(pages, i);

                if (str_equal(json_text(page, "name"), name))
                        return page;
        }
        return NULL;
}

/* what is written for it */

static int write_file(const char *path, const void *data, size_t size) {
        _cleanup_close_ int fd = -1;
        ssize_t n;

        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0644);
        n = fd < 0 ? -1 : write(fd, data, size);
        if (n < 0 || (size_t) n != size)
                return fail(STATUS_FAILURE,
                            "%s: %s",
                            path,
                            n < 0 ? strerror(errno) : "not written to its end");
        return STATUS_OK;
}

static int write_acpi(const Command *c, bool notifies) {
        uint64_t address = c->page.address ?: CARRIER_ACPI_ADDRESS;
        uint8_t table[ACPI_TABLE_SIZE_MAX];

        if (!c->page.acpi)
                return STATUS_OK;
        return write_file(c->page.acpi, table, acpi_table_write(table, address, notifies));
}

static int write_tree(const Command *c) {
        _cleanup_free_ char *text = NULL;

        if (!c->page.tree)
                return STATUS_OK;
        text = carrier_tree(c->page.address ?: CARRIER_TREE_ADDRESS);
        if (!text)
                return fail(STATUS_FAILURE, "%s", strerror(ENOMEM));
        return write_file(c->page.tree, text, strlen(text));
}

static int check_options(const Command *c) {
        const char *why;

        if (c->page.acpi && c->page.tree)
                return fail(STATUS_BAD_ARGUMENTS,
                            "A guest finds its page by an ACPI table or a device tree, not both.");
        if (c->page.tree && c->page.notifies)
                return fail(STATUS_BAD_ARGUMENTS, "Only an ACPI table can notify.");
        why = c->page.address ? carrier_check_address(c->page.address, c->page.tree) : NULL;
        if (why)
                return fail(STATUS_BAD_ARGUMENTS,
                            "0x%llx: %s.",
                            (unsigned long long) c->page.address,
                            why);
        return STATUS_OK;
}

/* the acts */

static int page_create(Command *c, const char *name) {
        const char *owner = c->page.owner ?: "0";
        char number[32];
        uid_t user;
        int r;

        if (owner[strspn(owner, "0123456789")]) {
                r = find_user(owner, &user);
                if (r < 0)
                        return fail(STATUS_BAD_ARGUMENTS, "There is no user %s.", owner);
                (void) snprintf(number, sizeof(number), "%u", user);
                owner = number;
        }

        r = client_call(c->client,
                        NULL,
                        "CreatePage",
                        NULL,
                        "ssub",
                        name,
                        owner,
                        (uint32_t) c->page.vectors,
                        (int) c->page.notifies);
        if (r == STATUS_OK)
                r = write_acpi(c, c->page.notifies);
        return r == STATUS_OK ? write_tree(c) : r;
}

static bool is_same(const char *path, const struct stat *was) {
        struct stat st;

        return lstat(path, &st) >= 0 && st.st_ino == was->st_ino && st.st_dev == was->st_dev;
}

/*
 * A file that somebody has open is left to us, for he can have whoever removes it wait, and nothing may
 * hold up the daemon.
 */
static int page_remove(Command *c, const char *name) {
        _cleanup_json_ JsonObject *pages = NULL;
        struct stat was = { 0 };
        const char *path;
        int r;

        r = list_pages(c, &pages);
        if (r != STATUS_OK)
                return r;
        path = json_text(find_page(pages, name), "path");
        (void) lstat(path, &was);

        r = client_call(c->client, NULL, "RemovePage", NULL, "sb", name, (int) c->page.force);
        if (r == STATUS_OK && was.st_ino != 0 && is_same(path, &was) && unlink(path) < 0)
                return fail(STATUS_FAILURE, "%s: %s", path, strerror(errno));
        return r;
}

static int page_list(Command *c) {
        _cleanup_json_ JsonObject *pages = NULL;
        int r;

        r = list_pages(c, &pages);
        if (r != STATUS_OK)
                return r;
        if (c->output.json != JSON_STYLE_OFF) {
                output_json(&c->output, pages);
                return STATUS_OK;
        }
        if (json_object_array_length(pages) == 0)
                return STATUS_OK;
        r = output_table(&c->output, columns, ARRAY_LEN(columns), pages);
        return r < 0 ? fail(STATUS_FAILURE, "%s", strerror(-r)) : STATUS_OK;
}

static int add_carriers(const Command *c, JsonObject *page) {
        _cleanup_free_ char *acpi = c->page.acpi ? text_escape(c->page.acpi) : NULL;
        _cleanup_free_ char *tree = c->page.tree ? text_escape(c->page.tree) : NULL;
        CarrierPage carried = {
                .path = json_text(page, "path"),
                .socket = json_text(page, "socket"),
                .acpi = acpi,
                .tree = tree,
                .address = c->page.address,
        };
        JsonObject *carriers;
        int64_t vectors = 0;

        (void) json_get_int64(page, "vectors", &vectors);
        carried.vectors = (unsigned) vectors;
        if (!*carried.socket)
                carried.socket = NULL;
        carriers = carrier_list(&carried);
        if (!carriers)
                return fail(STATUS_FAILURE, "%s", strerror(ENOMEM));
        (void) json_object_object_add(page, "carriers", carriers);
        return STATUS_OK;
}

static void print_page(const Output *o, JsonObject *page) {
        JsonObject *answer, *carriers;

        output_heading(o, "%s", json_text(page, "name"));
        output_sheet(o, rows, ARRAY_LEN(rows), page);
        if (json_get_object(page, "answer", &answer) >= 0) {
                output_heading(o, "\nWhat the guest answers");
                output_sheet(o, answer_rows, ARRAY_LEN(answer_rows), answer);
        }

        if (json_get_array(page, "carriers", &carriers) < 0)
                return;
        for (size_t i = 0; i < json_object_array_length(carriers); i++) {
                JsonObject *carrier = json_object_array_get_idx(carriers, i);

                output_heading(o,
                               "\n%s - %s",
                               json_text(carrier, "name"),
                               json_text(carrier, "what"));
                (void) printf("QEMU:\n%slibvirt:\n%s",
                              json_text(carrier, "qemu"),
                              json_text(carrier, "libvirt"));
        }
}

static int page_show(Command *c, const char *name) {
        _cleanup_json_ JsonObject *pages = NULL;
        bool notifies = false;
        JsonObject *page;
        int r;

        r = list_pages(c, &pages);
        if (r != STATUS_OK)
                return r;
        page = find_page(pages, name);
        if (!page)
                return fail(STATUS_NO_SUCH_MACHINE, "No page is called %s.", name);
        (void) json_get_bool(page, "notifies", &notifies);
        r = write_acpi(c, notifies);
        if (r == STATUS_OK)
                r = write_tree(c);
        if (r == STATUS_OK)
                r = add_carriers(c, page);
        if (r != STATUS_OK)
                return r;

        if (c->output.json != JSON_STYLE_OFF)
                output_json(&c->output, page);
        else
                print_page(&c->output, page);
        return STATUS_OK;
}

/* Which act takes which options. */
static int check_act(const Command *c, const char *act, bool makes, bool shows) {
        bool has_made = c->page.owner || c->page.has_vectors || c->page.notifies;
        bool has_files = c->page.acpi || c->page.tree || c->page.address;

        if ((has_made && !makes) || (has_files && !makes && !shows) ||
            (c->page.force && !str_equal(act, "remove")))
                return fail(STATUS_BAD_ARGUMENTS, "An option has no meaning for page %s.", act);
        if (c->page.vectors > VECTORS_MAX)
                return fail(STATUS_BAD_ARGUMENTS,
                            "A doorbell has %u vectors at most.",
                            VECTORS_MAX);
        return check_options(c);
}

int verb_page(Command *c) {
        const char *act = c->arguments[0] ?: "list";
        const char *name = c->arguments[0] ? c->arguments[1] : NULL;
        bool makes = str_equal(act, "create"), shows = str_equal(act, "show");
        int r;

        if (!makes && !shows && !str_equal(act, "list") && !str_equal(act, "remove"))
                return fail(STATUS_BAD_ARGUMENTS,
                            "A page can be created, listed, shown and removed, not %s.",
                            act);
        if (str_equal(act, "list") != !name)
                return fail(STATUS_BAD_ARGUMENTS,
                            "page %s takes %s.",
                            act,
                            name ? "no name" : "the page's name");
        r = check_act(c, act, makes, shows);
        if (r != STATUS_OK)
                return r;

        if (makes)
                return page_create(c, name);
        if (shows)
                return page_show(c, name);
        return name ? page_remove(c, name) : page_list(c);
}
