/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/qmp/entry.h"
#include <errno.h>
#include <syslog.h>
#include "common/passing-error.h"
#include "common/time-util.h"
#include "plugins/qmp/channel.h"
#include "plugins/qmp/pattern.h"
#include "plugins/qmp/retry.h"
#include "plugins/qmp/vm.h"

/*
 * QEMU makes its sockets, and then the thread that serves its monitor. Who connects in between may have it lose that
 * monitor for all and for ever: seen with 7.2, in 1 of 1000 starts with one client, never 150 ms after the socket.
 */
#define YOUNG_USEC (250 * USEC_PER_MSEC)

struct Entry {
        List link;
        const struct suspendd_host *host;
        char *name, *path, *agent, *agent_path;
        EntryFn on_settled;
        void *userdata;

        Vm *vm;
        Retry retry;
        dev_t device; /* which socket it was tried with */
        ino_t inode;
        int reported; /* the last error that was logged, to log it once */
        bool settled, seen;
};

static void entry_settle(void *userdata) {
        Entry *e = userdata;

        if (e->settled)
                return;
        e->settled = true;
        e->on_settled(e->userdata);
}

static void entry_report(Entry *e, int level, int error, const char *what, const char *why) {
        if (e->reported == error)
                level = LOG_DEBUG;
        e->reported = error;
        e->host->log(e->host, level, NULL, "Monitor %s %s: %s", e->path, what, why);
}

static void entry_on_end(void *userdata, int error, const char *why) {
        Entry *e = userdata;

        switch (error) {
        case 0:
        case -ECONNRESET:
        case -EPIPE:
                entry_report(e, LOG_DEBUG, error, "is closed", why);
                if (!vm_has_ended(e->vm))
                        vm_lose(e->vm);
                (void) retry_soon(&e->retry);
                break;
        case -ETIMEDOUT: /* it lives, and on a new line nothing waits for what it has lost */
                entry_report(e, LOG_WARNING, error, "is broken", why);
                vm_lose(e->vm);
                retry_for_ever(&e->retry);
                break;
        case -EEXIST: /* nothing to do until its socket changes */
                entry_report(e, LOG_INFO, error, "left alone", "its machine is known already");
                break;
        default:
                entry_report(e, LOG_WARNING, error, "is broken", why);
                vm_lose(e->vm);
                retry_slowly(&e->retry);
        }
        e->vm = vm_free(e->vm);
        entry_settle(e);
}

static void entry_on_vm_settled(void *userdata) {
        Entry *e = userdata;

        e->retry.n_soon = 0;
        entry_settle(e);
}

static const VmOps entry_vm_ops = {
        .on_settled = entry_on_vm_settled,
        .on_end = entry_on_end,
};

static int entry_connect(Entry *e, const char **ret_why) {
        _cleanup_close_ int fd = -1;
        int r;

        r = channel_connect(e->path, YOUNG_USEC, &fd, ret_why);
        if (r >= 0)
                r = vm_new(e->host,
                           TAKE_FD(fd),
                           &(const VmPlace){ .name = e->name,
                                             .path = e->path,
                                             .agent_path = e->agent_path },
                           &entry_vm_ops,
                           e,
                           &e->vm);
        return r;
}

static void entry_try(void *userdata) {
        Entry *e = userdata;
        const char *why = NULL;
        int r;

        r = entry_connect(e, &why);
        if (r >= 0)
                return;
        switch (r) {
        case -EBUSY:
                retry_in(&e->retry, YOUNG_USEC);
                return;
        case -ENOENT: /* inotify tells when it is back */
                break;
        case -ECONNREFUSED: /* made, and soon listened to; or left by a dead one */
                if (!retry_soon(&e->retry))
                        entry_report(e, LOG_INFO, r, "is not served", strerror(-r));
                break;
        case -EAGAIN:
                entry_report(e, LOG_WARNING, r, "is beset by clients", strerror(-r));
                retry_slowly(&e->retry);
                break;
        default: /* a change of its mode is told by inotify as well, but not that we have descriptors again */
                entry_report(e, LOG_WARNING, r, "cannot be connected to", why ?: strerror(-r));
                if (error_is_passing(r))
                        retry_for_ever(&e->retry);
        }
        entry_settle(e);
}

void entry_look(Entry *e, const struct stat *st) {
        bool is_same = e->device == st->st_dev && e->inode == st->st_ino;

        e->seen = true;
        if (e->vm) {
                vm_look_for_agent(e->vm);
                return;
        }
        if (is_same && retry_is_due(&e->retry))
                return;
        e->device = st->st_dev;
        e->inode = st->st_ino;
        if (!is_same)
                retry_reset(&e->retry);
        entry_try(e);
}

void entry_expect(Entry *e) {
        e->seen = false;
}

bool entry_is_lost(const Entry *e) {
        return !e->seen && !e->vm && !retry_is_due(&e->retry);
}

/* lifetime */

int entry_new(const struct suspendd_host *host,
              const char *name,
              const char *path,
              const char *agent,
              EntryFn on_settled,
              void *userdata,
              Entry **ret) {
        _cleanup_(entry_freep) Entry *e = calloc(1, sizeof(*e));
        int r;

        if (!e)
                return -ENOMEM;
        *e = (Entry){
                .host = host,
                .on_settled = on_settled,
                .userdata = userdata,
        };
        list_init(&e->link);
        r = retry_init(&e->retry, host->event, entry_try, e);
        if (r >= 0)
                r = str_replace(&e->name, name);
        if (r >= 0)
                r = str_replace(&e->path, path);
        if (r >= 0)
                r = str_replace(&e->agent, agent);
        if (r >= 0)
                r = agent ? str_replace(&e->agent_path, agent)
                          : pattern_agent_path(path, &e->agent_path);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(e);
        return 0;
}

Entry *entry_free(Entry *e) {
        if (!e)
                return NULL;
        list_unlink(&e->link);
        retry_done(&e->retry);
        vm_free(e->vm);
        free(e->name);
        free(e->path);
        free(e->agent);
        free(e->agent_path);
        free(e);
        return NULL;
}

void entry_lose(Entry *e) {
        if (e->vm)
                vm_lose(e->vm);
}

void entry_abandon(Entry *e) {
        if (e->vm)
                vm_abandon(e->vm);
}

void entry_link(Entry *e, List *head) {
        list_append(head, &e->link);
}

Entry *entry_from_link(List *link) {
        return LIST_ENTRY(link, Entry, link);
}

const char *entry_path(const Entry *e) {
        return e->path;
}

bool entry_is_settled(const Entry *e) {
        return e->settled;
}

bool entry_is_same(const Entry *e, const char *name, const char *agent) {
        return str_equal(e->name, name) && str_equal(e->agent, agent);
}
