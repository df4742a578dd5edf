/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/libvirt/look.h"
#include <errno.h>
#include <fcntl.h>
#include <libvirt/virterror.h>
#include <sys/stat.h>
#include <time.h>
#include "common/clock-sample.h"
#include "common/process.h"

void domain_facts_done(DomainFacts *f) {
        free(TAKE_PTR(f->name));
        free(TAKE_PTR(f->run));
}

int look_at_state(virDomainPtr dom, Reading *ret) {
        Reading r = { .asked_ns = clock_now_ns(CLOCK_MONOTONIC) };
        virErrorPtr e;

        if (virDomainGetState(dom, &r.state, &r.reason, 0) < 0) {
                e = virGetLastError();
                if (!e || e->code != VIR_ERR_NO_DOMAIN)
                        return -1;
                r.is_gone = true;
        }
        r.is_gone |= r.state == VIR_DOMAIN_SHUTOFF;
        r.boottime_ns = clock_now_ns(CLOCK_BOOTTIME);
        *ret = r;
        return 0;
}

/* The process behind a domain of a local QEMU, and who says so: 0 if the file does not tell. */
static pid_t read_pid(const char *directory, const char *name, uid_t *ret_teller) {
        _cleanup_close_ int fd = -1;
        char path[512], text[16];
        struct stat st;
        ssize_t n;

        if (!directory || strchr(name, '/') ||
            snprintf(path, sizeof(path), "%s/%s.pid", directory, name) >= (int) sizeof(path))
                return 0;
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
        if (n <= 0 || fstat(fd, &st) < 0)
                return 0;
        *ret_teller = st.st_uid;
        text[n] = 0;
        return (pid_t) MAX(strtol(text, NULL, 10), 0L);
}

/* The file of a user's session is his own to write: it tells of his processes, and of nobody else's. */
static bool may_tell(uid_t teller, const char *process) {
        uid_t user;

        return teller == 0 || (process_user(process, &user) >= 0 && user == teller);
}

static int make_run(virDomainPtr dom, const char *state_directory, char **ret) {
        uid_t teller = 0;
        pid_t pid = read_pid(state_directory, virDomainGetName(dom), &teller);
        _cleanup_free_ char *process = NULL;
        unsigned id = virDomainGetID(dom);
        char *run;
        int n;

        if (pid > 0 && process_run_string(pid, &process) >= 0 && may_tell(teller, process))
                n = asprintf(&run, "%u.%s", id, process);
        else
                n = asprintf(&run, "%u", id);
        if (n < 0)
                return -ENOMEM;
        *ret = run;
        return 0;
}

int look_at_facts(virDomainPtr dom, const char *state_directory, DomainFacts *ret) {
        DomainFacts f = { 0 };
        char *xml;
        int r;

        xml = virDomainGetXMLDesc(dom, 0);
        if (!xml)
                return -1;
        r = definition_read(xml, &f.definition);
        free(xml);
        /* What cannot be read forbids nothing but a suspend. */
        if (r < 0)
                f.definition = (Definition){ .device = "definition that cannot be read" };
        (void) virDomainGetUUID(dom, f.uuid);
        (void) virDomainGetUUIDString(dom, f.uuid_text);
        f.name = strdup(virDomainGetName(dom));
        if (!f.name || make_run(dom, state_directory, &f.run) < 0) {
                domain_facts_done(&f);
                return -ENOMEM;
        }
        *ret = f;
        return 0;
}
