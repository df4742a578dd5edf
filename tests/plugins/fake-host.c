/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fake-host.h"
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <syslog.h>
#include "common/clock-sample.h"
#include "common/macro.h"
#include "common/time-util.h"

static void copy(char to[static FAKE_TEXT_MAX], const char *from) {
        (void) snprintf(to, FAKE_TEXT_MAX, "%s", from ?: "");
}

static FakeHost *fake_of(const struct suspendd_host *host) {
        return (FakeHost *) (void *) ((char *) (uintptr_t) host - offsetof(FakeHost, host));
}

static void take_info(struct suspendd_machine *m, const struct suspendd_machine_info *info) {
        ck_assert_uint_eq(info->size, sizeof(*info));
        copy(m->address, info->address);
        copy(m->mode, info->mode);
        copy(m->mode_source, info->mode_source);
        for (int act = 0; act < SUSPENDD_ACT_MAX; act++)
                copy(m->why_not[act], info->why_not[act]);
}

static int on_machine_add(
                const struct suspendd_host *host,
                void *vm,
                const struct suspendd_machine_info *info,
                struct suspendd_machine **ret) {
        FakeHost *f = fake_of(host);
        struct suspendd_machine *m;

        if (f->add_error < 0)
                return f->add_error;
        ck_assert_uint_lt(f->n_machines, FAKE_MACHINES_MAX);
        ck_assert(info->name && *info->name);
        m = &f->machines[f->n_machines++];
        *m = (struct suspendd_machine){ .fake = f, .vm = vm, .is_there = true };
        copy(m->name, info->name);
        copy(m->uuid, info->uuid);
        copy(m->run, info->run);
        copy(m->vmm, info->vmm);
        take_info(m, info);
        *ret = m;
        return 0;
}

static int on_is_told(const struct suspendd_machine *m) {
        return m->fake->is_told;
}

static void on_machine_change(
                struct suspendd_machine *m, const struct suspendd_machine_info *info) {
        ck_assert(m->is_there);
        ck_assert_str_eq(m->name, info->name);
        take_info(m, info);
        m->n_changes++;
}

static void on_machine_state(
                struct suspendd_machine *m,
                enum suspendd_run_state state,
                const char *detail,
                int64_t boottime_ns) {
        ck_assert(m->is_there);
        m->state = state;
        copy(m->detail, detail);
        m->boottime_ns = boottime_ns;
        m->n_states++;
        m->told_at = ++m->fake->n_told;
        if (m->fake->on_state)
                m->fake->on_state(m->fake, m);
}

static void on_machine_remove(struct suspendd_machine *m) {
        ck_assert(m->is_there);
        m->is_there = false;
}

static void on_enumerated(const struct suspendd_host *host) {
        fake_of(host)->n_enumerated++;
}

static void on_done(const struct suspendd_host *host, uint64_t step, int result, const char *why) {
        FakeHost *f = fake_of(host);

        ck_assert_uint_lt(f->n_dones, FAKE_DONES_MAX);
        f->dones[f->n_dones] = (FakeDone){ .step = step, .told_at = ++f->n_told, .result = result };
        copy(f->dones[f->n_dones++].why, why);
}

static void on_done_time(
                const struct suspendd_host *host, uint64_t step, const struct suspendd_time *t) {
        FakeHost *f = fake_of(host);

        ck_assert_uint_lt(f->n_dones, FAKE_DONES_MAX);
        f->dones[f->n_dones++] = (FakeDone){
                .step = step, .told_at = ++f->n_told, .is_time = true, .time = *t
        };
}

static void on_stored(
                const struct suspendd_host *host, uint64_t request, int result, const char *why) {
        FakeHost *f = fake_of(host);

        f->stored = (FakeDone){ .step = request, .told_at = ++f->n_told, .result = result };
        copy(f->stored.why, why);
        f->n_stored++;
}

static void on_trouble(const struct suspendd_host *host, const char *text) {
        copy(fake_of(host)->trouble, text);
}

static int on_keep_fd(const struct suspendd_host *host, const char *name, int fd) {
        FakeHost *f = fake_of(host);
        FakeKept *k = f->kept + f->n_kept;

        if (f->keep_error < 0)
                return f->keep_error;
        ck_assert_uint_lt(f->n_kept, FAKE_KEPT_MAX);
        ck_assert_uint_le(strlen(name), 200);
        k->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        ck_assert_int_ge(k->fd, 0);
        (void) snprintf(k->name, sizeof(k->name), "%s", name);
        f->n_kept++;
        f->n_keeps++;
        return 0;
}

static void on_drop_fd(const struct suspendd_host *host, const char *name) {
        FakeHost *f = fake_of(host);
        size_t n = 0;

        for (size_t i = 0; i < f->n_kept; i++)
                if (str_equal(f->kept[i].name, name))
                        (void) close(f->kept[i].fd);
                else
                        f->kept[n++] = f->kept[i];
        f->n_kept = n;
}

static void on_log(
                const struct suspendd_host *host,
                int level,
                const struct suspendd_machine *m,
                const char *format,
                ...) {
        FakeHost *f = fake_of(host);
        char text[sizeof(f->warning)];
        va_list arguments;

        (void) m;
        va_start(arguments, format);
        (void) vsnprintf(text, sizeof(text), format, arguments);
        va_end(arguments);
        printf("<%d> %s\n", level, text);
        if (level > LOG_WARNING)
                return;
        f->n_warnings++;
        (void) memcpy(f->warning, text, sizeof(text));
}

void fake_host_init(FakeHost *f) {
        *f = (FakeHost){ .host = {
                                         .abi = SUSPENDD_PLUGIN_ABI,
                                         .size = sizeof(struct suspendd_host),
                                         .machine_add = on_machine_add,
                                         .machine_change = on_machine_change,
                                         .machine_state = on_machine_state,
                                         .machine_remove = on_machine_remove,
                                         .is_told = on_is_told,
                                         .enumerated = on_enumerated,
                                         .done = on_done,
                                         .done_time = on_done_time,
                                         .stored = on_stored,
                                         .trouble = on_trouble,
                                         .keep_fd = on_keep_fd,
                                         .drop_fd = on_drop_fd,
                                         .log = on_log,
                         } };
        f->machines = calloc(FAKE_MACHINES_MAX, sizeof(*f->machines));
        f->dones = calloc(FAKE_DONES_MAX, sizeof(*f->dones));
        ck_assert(f->machines && f->dones);
        ck_assert_int_ge(sd_event_new(&f->host.event), 0);
}

void fake_host_done(FakeHost *f) {
        f->host.event = sd_event_unref(f->host.event);
        free(TAKE_PTR(f->machines));
        free(TAKE_PTR(f->dones));
        for (size_t i = 0; i < f->n_kept; i++)
                (void) close(f->kept[i].fd);
        f->n_kept = 0;
}

void fake_host_turn(FakeHost *f, uint64_t usec) {
        ck_assert_int_ge(sd_event_run(f->host.event, usec), 0);
}

void fake_host_spend(FakeHost *f, uint64_t usec) {
        uint64_t until = clock_now_usec(CLOCK_MONOTONIC) + usec, now;

        while ((now = clock_now_usec(CLOCK_MONOTONIC)) < until)
                fake_host_turn(f, until - now);
}

uint64_t fake_host_deadline(void) {
        return clock_now_usec(CLOCK_MONOTONIC) + 10 * USEC_PER_SEC;
}

bool fake_host_deadline_is_ahead(uint64_t usec) {
        return clock_now_usec(CLOCK_MONOTONIC) < usec;
}

struct suspendd_machine *fake_host_find(FakeHost *f, const char *name) {
        for (size_t i = 0; i < f->n_machines; i++)
                if (f->machines[i].is_there && str_equal(f->machines[i].name, name))
                        return &f->machines[i];
        return NULL;
}

size_t fake_host_count(const FakeHost *f) {
        size_t n = 0;

        for (size_t i = 0; i < f->n_machines; i++)
                n += f->machines[i].is_there;
        return n;
}

size_t fake_host_count_done(const FakeHost *f, uint64_t step) {
        size_t n = 0;

        for (size_t i = 0; i < f->n_dones; i++)
                n += f->dones[i].step == step;
        return n;
}

const FakeDone *fake_host_find_done(const FakeHost *f, uint64_t step) {
        for (size_t i = 0; i < f->n_dones; i++)
                if (f->dones[i].step == step)
                        return &f->dones[i];
        return NULL;
}

int fake_host_kept(const FakeHost *f, const char *name) {
        for (size_t i = 0; i < f->n_kept; i++)
                if (str_equal(f->kept[i].name, name))
                        return f->kept[i].fd;
        return -1;
}
