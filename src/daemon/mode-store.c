/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/mode-store.h"
#include <errno.h>
#include "common/time-util.h"
#include "daemon/plugin.h"

typedef struct Request {
        List requests;
        ModeStore *store;
        uint64_t id;
        Machine *machine;
        sd_event_source *timer;
        ModeStoreFn fn;
        void *userdata;
} Request;

struct ModeStore {
        sd_event *event;
        uint64_t limit_usec;
        ModeStoredFn on_stored;
        void *userdata;
        List requests;
        size_t n_requests;
        uint64_t last_id;
};

static Request *request_free(Request *r) {
        if (!r)
                return NULL;

        if (!list_is_empty(&r->requests)) {
                list_unlink(&r->requests);
                r->store->n_requests--;
        }
        sd_event_source_disable_unref(r->timer);
        free(r);
        return NULL;
}

DEFINE_CLEANUP(Request *, request_free);

/* It is gone before anybody is told, who may ask for the next one. */
static void request_end(Request *r, int result, const char *why) {
        Request ended = *r;

        (void) request_free(r);
        if (result >= 0)
                ended.store->on_stored(ended.store->userdata, ended.machine);
        ended.fn(ended.userdata, ended.machine, result, why);
}

static int on_limit(sd_event_source *s _unused_, uint64_t usec _unused_, void *userdata) {
        request_end(userdata, -ETIMEDOUT, "its plugin does not answer");
        return 0;
}

/* lifetime */

int mode_store_new(
                sd_event *event,
                uint64_t limit_usec,
                ModeStoredFn on_stored,
                void *userdata,
                ModeStore **ret) {
        ModeStore *s = malloc(sizeof(*s));

        if (!s)
                return -ENOMEM;
        *s = (ModeStore){
                .event = sd_event_ref(event),
                .limit_usec = limit_usec,
                .on_stored = on_stored,
                .userdata = userdata,
        };
        list_init(&s->requests);
        *ret = s;
        return 0;
}

ModeStore *mode_store_free(ModeStore *s) {
        if (!s)
                return NULL;

        mode_store_cancel(s);
        sd_event_unref(s->event);
        free(s);
        return NULL;
}

/* requests */

static Request *find_id(const ModeStore *s, uint64_t id) {
        LIST_FOREACH(i, &s->requests) {
                Request *r = LIST_ENTRY(i, Request, requests);

                if (r->id == id)
                        return r;
        }
        return NULL;
}

static int request_new(ModeStore *s, Machine *m, Request **ret) {
        _cleanup_(request_freep) Request *r = malloc(sizeof(*r));
        int k;

        if (!r)
                return -ENOMEM;
        *r = (Request){ .store = s, .machine = m, .id = ++s->last_id };
        list_init(&r->requests);
        k = sd_event_add_time_relative(
                        s->event, &r->timer, CLOCK_MONOTONIC, s->limit_usec, 1, on_limit, r);
        if (k < 0)
                return k;
        (void) sd_event_source_set_description(r->timer, "mode-store");
        k = sd_event_source_set_priority(r->timer, SD_EVENT_PRIORITY_NORMAL);
        if (k < 0)
                return k;

        *ret = TAKE_PTR(r);
        return 0;
}

int mode_store_begin(ModeStore *s, Machine *m, Mode mode, ModeStoreFn fn, void *userdata) {
        const struct suspendd_plugin *p = m->plugin->api;
        Request *r;
        uint64_t id;
        int k;

        if (!p->store_mode)
                return -EOPNOTSUPP;
        if (s->n_requests == MODE_STORE_MAX)
                return -EBUSY;
        k = request_new(s, m, &r);
        if (k < 0)
                return k;
        r->fn = fn;
        r->userdata = userdata;
        id = r->id;
        list_append(&s->requests, &r->requests);
        s->n_requests++;

        k = p->store_mode(m->vm, id, mode_to_string(mode));
        r = find_id(s, id);
        /* What it has answered from within the call counts, and no refusal after it. */
        if (k >= 0 || !r)
                return 0;
        (void) request_free(r);
        return k;
}

void mode_store_answer(
                ModeStore *s, const Plugin *plugin, uint64_t request, int result, const char *why) {
        Request *r = find_id(s, request);

        if (r && r->machine->plugin == plugin)
                request_end(r, MIN(result, 0), why);
}

void mode_store_cancel(ModeStore *s) {
        while (!list_is_empty(&s->requests))
                request_end(LIST_ENTRY(s->requests.next, Request, requests),
                            -ECANCELED,
                            "suspendd is ending");
}

static Request *find_machine(const ModeStore *s, const Machine *m) {
        LIST_FOREACH(i, &s->requests) {
                Request *r = LIST_ENTRY(i, Request, requests);

                if (r->machine == m)
                        return r;
        }
        return NULL;
}

void mode_store_forget(ModeStore *s, const Machine *m) {
        Request *r;

        while ((r = find_machine(s, m)))
                request_end(r, -ENODEV, "the machine is gone");
}
