/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/libvirt/look.h"
#include <errno.h>
#include <fcntl.h>
#include <libvirt/virterror.h>
#include <sys/stat.h>
#include <time.h>
#include "common/clock-sample.h"
#include "common/passing-error.h"
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

/*
 * The process behind a domain of a local QEMU, 0 if the file does not tell, and who says so.
 *
 * Returns: 0; -EMFILE and the like: it may tell later.
 */
static int read_pid(const char *directory, const char *name, pid_t *ret, uid_t *ret_teller) {
        _cleanup_close_ int fd = -1;
        char path[512], text[16];
        struct stat st;
        ssize_t n;

        *ret = 0;
        *ret_teller = 0;
        if (!directory || strchr(name, '/') ||
            snprintf(path, sizeof(path), "%s/%s.pid", directory, name) >= (int) sizeof(path))
                return 0;
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0)
                return error_is_passing(-errno) ? -errno : 0;
        /* What is no file could be made to fail for ever. */
        if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
                return 0;
        n = read(fd, text, sizeof(text) - 1);
        if (n < 0)
                return -errno;
        *ret_teller = st.st_uid;
        text[n] = 0;
        *ret = (pid_t) MAX(strtol(text, NULL, 10), 0L);
        return 0;
}

/*
 * The file of a user's session is his own to write: it tells of his processes, and of nobody else's.
 *
 * Returns: whether it may tell; -EMFILE and the like: that may be known later.
 */
static int may_tell(uid_t teller, const char *process) {
        uid_t user;
        int r;

        if (teller == 0)
                return true;
        r = process_user(process, &user);
        if (error_is_passing(r))
                return r;
        return r >= 0 && user == teller;
}

/*
 * One that only could not be seen now is not without a process: its start would be taken for another one.
 *
 * Returns: 0, with NULL if none is known; -EMFILE and the like.
 */
static int find_process(virDomainPtr dom, const char *state_directory, char **ret) {
        _cleanup_free_ char *process = NULL;
        uid_t teller = 0;
        pid_t pid;
        int r;

        r = read_pid(state_directory, virDomainGetName(dom), &pid, &teller);
        if (r >= 0 && pid > 0)
                r = process_run_string(pid, &process);
        if (r >= 0 && process)
                r = may_tell(teller, process);
        if (r < 0)
                return r;
        *ret = r > 0 ? TAKE_PTR(process) : NULL;
        return 0;
}

static int make_run(virDomainPtr dom, const char *state_directory, char **ret) {
        _cleanup_free_ char *process = NULL;
        unsigned id = virDomainGetID(dom);
        char *run;
        int n;

        n = find_process(dom, state_directory, &process);
        if (n < 0)
                return n;
        if (process)
                n = asprintf(&run, "%u.%s", id, process);
        else
                n = asprintf(&run, "%u", id);
        if (n < 0)
                return -ENOMEM;
        *ret = run;
        return 0;
}

/* What cannot be read forbids nothing but a suspend. */
static int look_at_definition(virDomainPtr dom, Definition *ret) {
        char *xml = virDomainGetXMLDesc(dom, 0);
        int r;

        if (!xml)
                return -1;
        r = definition_read(xml, ret);
        free(xml);
        if (error_is_passing(r))
                return r;
        if (r < 0)
                *ret = (Definition){ .device = "definition that cannot be read" };
        return 0;
}

int look_at_facts(virDomainPtr dom, const char *state_directory, DomainFacts *ret) {
        DomainFacts f = { 0 };
        int r;

        r = make_run(dom, state_directory, &f.run);
        if (r < 0)
                return r;
        (void) virDomainGetUUID(dom, f.uuid);
        (void) virDomainGetUUIDString(dom, f.uuid_text);
        if (look_at_definition(dom, &f.definition) >= 0)
                f.name = strdup(virDomainGetName(dom));
        *ret = f;
        return 0;
}
