/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/page/keeper.h"
#include <errno.h>
#include <fcntl.h>
#include <syslog.h>
#include <time.h>
#include "common/clock-sample.h"
#include "common/passing-error.h"
#include "common/process.h"
#include "common/time-util.h"
#include "plugins/page/page.h"
#include "plugins/page/state-file.h"
#include "plugins/page/vmclock.h"

#define RUN_SIZE 64

struct Keeper {
        List keepers; /* in the Store's list */
        const KeeperPlace *place;
        char name[KEEPER_NAME_MAX + 1];
        PageState state;
        int state_fd;
        Page *page;              /* NULL: it cannot be used, and trouble says why */
        Doorbell *doorbell;      /* or NULL */
        int64_t told_stepped_ns; /* by how much the host's clock was set, as told last in this life */
        uint64_t refused_before_ns;
        int64_t published_realtime_ns, published_boottime_ns;
        GuestTime time;
        const char *why_no_time;              /* static; NULL: the page claims one */
        const struct suspendd_drift *telling; /* borrowed while it is being told */
        char run[RUN_SIZE];                   /* the start of a VMM that was looked at last, */
        bool is_run_ours;                     /* and what came of it */
        bool is_failing;                      /* to publish, which has been told */
        char trouble[160];
};

#define LOG(_k, _level, ...) (_k)->place->host->log((_k)->place->host, (_level), NULL, __VA_ARGS__)

/* names */

bool keeper_name_is_valid(const char *name) {
        static const char letters[] =
                        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
        size_t n = strlen(name);

        return n > 0 && n <= KEEPER_NAME_MAX && *name != '.' && strspn(name, letters) == n;
}

void keeper_link(Keeper *k, List *head) {
        list_append(head, &k->keepers);
}

Keeper *keeper_from_link(List *link) {
        return LIST_ENTRY(link, Keeper, keepers);
}

const char *keeper_name(const Keeper *k) {
        return k->name;
}

bool keeper_is_as(const Keeper *k, const KeeperOptions *options) {
        return k->state.owner == options->owner && k->state.vectors == options->vectors &&
               (k->state.notifies != 0) == options->notifies;
}

/* publishing */

static void keeper_set_trouble(Keeper *k, const char *why, int r) {
        (void) snprintf(k->trouble,
                        sizeof(k->trouble),
                        "%s%s%s",
                        why,
                        r < 0 ? ": " : "",
                        r < 0 ? strerrordesc_np(-r) : "");
}

static int keeper_write_vmclock(Keeper *k) {
        const PageState *s = &k->state;
        const struct suspendd_drift *d = k->telling;
        VmclockPage clock;

        vmclock_compose(&clock, s->sequence, s->disruption_marker, s->notifies);
        k->why_no_time = NULL;
        (void) guest_time_fill(
                        k->place->time,
                        &k->time,
                        d ? d->run : k->time.run,
                        d ? d->phase : SUSPENDD_DRIFT_MET,
                        &clock,
                        &k->why_no_time);
        return page_write_vmclock(k->page, &clock);
}

/* The record first: whoever waits for the VMClock part to move finds it done. */
static int keeper_write_page(Keeper *k) {
        const PageState *s = &k->state;
        const DriftRecord record = {
                .magic = DRIFT_MAGIC,
                .revision = DRIFT_REVISION,
                .size = sizeof(record),
                .sequence = s->sequence,
                .flags = s->flags,
                .epoch = s->epoch,
                .cycles = s->count.cycles,
                .unseen_ns = s->count.unseen_ns,
                .seen_ns = s->count.seen_ns,
                .last_unseen_ns = s->count.last_unseen_ns,
                .last_seen_ns = s->count.last_seen_ns,
                .host_realtime_ns = k->published_realtime_ns,
                .host_boottime_ns = k->published_boottime_ns,
                .host_stepped_ns = s->host_stepped_ns,
                .publishings = s->publishings,
        };
        int r;

        r = page_write_drift(k->page, &record);
        return r < 0 ? r : keeper_write_vmclock(k);
}

/* What the page cannot say, for it is not there, has been told when that was found out. */
static int keeper_publish(Keeper *k, int64_t realtime_ns, int64_t boottime_ns) {
        int r, stored;

        k->state.sequence += 2;
        k->state.publishings++;
        k->published_realtime_ns = realtime_ns;
        k->published_boottime_ns = boottime_ns;
        stored = page_state_write(k->state_fd, &k->state);
        if (!k->page)
                return -ENODEV;

        host_time_look(k->place->time);
        r = keeper_write_page(k);
        if (r >= 0)
                r = stored;
        if (r < 0 && !k->is_failing)
                LOG(k, LOG_WARNING, "Page %s: cannot be written: %s", k->name, strerrordesc_np(-r));
        if (r < 0)
                keeper_set_trouble(k, "it cannot be written", r);
        else if (k->is_failing)
                *k->trouble = '\0';
        k->is_failing = r < 0;
        return r < 0 ? r : 0;
}

static void keeper_publish_now(Keeper *k) {
        ClockSample now;

        clock_sample_take(&now);
        (void) keeper_publish(k, now.realtime_ns, now.boottime_ns);
}

static void keeper_ring(Keeper *k) {
        if (k->doorbell)
                doorbell_ring(k->doorbell);
}

/* lifetime */

static int keeper_new(const KeeperPlace *place, const char *name, Keeper **ret) {
        Keeper *k = calloc(1, sizeof(*k));

        if (!k)
                return -ENOMEM;
        k->place = place;
        k->state_fd = -1;
        list_init(&k->keepers);
        (void) snprintf(k->name, sizeof(k->name), "%s", name);
        *ret = k;
        return 0;
}

Keeper *keeper_free(Keeper *k) {
        if (!k)
                return NULL;
        list_unlink(&k->keepers);
        doorbell_free(k->doorbell);
        page_free(k->page);
        if (k->state_fd >= 0)
                (void) close(k->state_fd);
        free(k);
        return NULL;
}

int keeper_remove(Keeper *k) {
        char socket[sizeof(k->name) + sizeof(".sock")];
        int r;

        k->doorbell = doorbell_remove(k->doorbell);
        /* A page that cannot be used has none in this life, but had one before. */
        (void) snprintf(socket, sizeof(socket), "%s.sock", k->name);
        (void) unlinkat(k->place->pages, socket, 0);
        k->page = page_free(k->page);
        (void) unlinkat(k->place->states, k->name, 0);
        r = page_unlink(k->place->pages, k->name);
        keeper_free(k);
        return r == -EBUSY ? r : 0;
}

static int keeper_open_doorbell(Keeper *k) {
        if (k->state.vectors == 0)
                return 0;
        return doorbell_new(
                        k->place->doorbells,
                        k->name,
                        page_fd(k->page),
                        k->state.owner,
                        k->state.vectors,
                        &k->doorbell);
}

/* What is there of it when this fails, is nobody's yet. */
static int keeper_make(Keeper *k, const char **ret_why) {
        int r;

        r = page_create(k->place->pages, k->name, k->place->scratch, &k->page);
        if (r < 0) {
                *ret_why = "its file cannot be made";
                return r;
        }
        k->state_fd = page_state_open(k->place->states, k->name);
        r = k->state_fd;
        if (r >= 0) {
                ClockSample now;

                clock_sample_take(&now);
                r = keeper_publish(k, now.realtime_ns, now.boottime_ns);
        }
        if (r < 0) {
                *ret_why = "it cannot be written";
                return r;
        }
        r = page_appear(k->page, k->place->pages, k->name, k->state.owner);
        if (r < 0)
                *ret_why = r == -EEXIST ? "a file is in its place"
                                        : "its file cannot be given to its owner";
        return r;
}

int keeper_create(
                const KeeperPlace *place,
                const char *name,
                const KeeperOptions *options,
                Keeper **ret,
                const char **ret_why) {
        _cleanup_(keeper_freep) Keeper *k = NULL;
        int r;

        r = keeper_new(place, name, &k);
        if (r >= 0)
                r = page_state_init(&k->state, options->owner, options->vectors, options->notifies);
        if (r < 0)
                return r;
        r = keeper_make(k, ret_why);
        if (r < 0) {
                (void) unlinkat(place->states, name, 0);
                return r;
        }
        r = keeper_open_doorbell(k);
        if (r < 0) {
                *ret_why = r == -ENAMETOOLONG ? "its name is too long for a doorbell's path"
                                              : "its doorbell's socket cannot be made";
                (void) keeper_remove(TAKE_PTR(k));
                return r;
        }
        *ret = TAKE_PTR(k);
        return 0;
}

/*
 * Its owner may have done with the file what he liked; who that is, where the state is lost, it says.
 *
 * Returns: 0 with it or without; a passing error of what is there and cannot be had now.
 */
static int keeper_load_page(Keeper *k, bool is_state_lost) {
        const char *why = "";
        int r;

        r = page_open(k->place->pages, k->name, k->place->scratch, &k->page, &why);
        if (error_is_passing(r))
                return r;
        if (r == -ENOENT && !is_state_lost) {
                r = page_create(k->place->pages, k->name, k->place->scratch, &k->page);
                if (r >= 0)
                        r = page_appear(k->page, k->place->pages, k->name, k->state.owner);
                if (r < 0) {
                        k->page = page_free(k->page);
                        why = "it is lost, and cannot be made again";
                }
        }
        if (r >= 0)
                r = is_state_lost ? page_owner(k->page, &k->state.owner)
                                  : page_grant(k->page, k->state.owner);
        if (r < 0 && k->page) {
                k->page = page_free(k->page);
                why = "it cannot be granted to its owner";
        }
        if (r >= 0)
                return 0;
        keeper_set_trouble(k, why, 0);
        LOG(k, LOG_WARNING, "Page %s is not used: %s", k->name, k->trouble);
        return 0;
}

int keeper_load(const KeeperPlace *place, const char *name, Keeper **ret) {
        _cleanup_(keeper_freep) Keeper *k = NULL;
        int r, lost;

        r = keeper_new(place, name, &k);
        if (r < 0)
                return r;
        lost = page_state_read(place->states, name, clock_now_ns(CLOCK_BOOTTIME), &k->state);
        if (error_is_passing(lost))
                return lost;
        if (lost < 0) {
                r = page_state_init(&k->state, 0, 1, false);
                if (r < 0)
                        return r;
                LOG(k,
                    LOG_NOTICE,
                    "Page %s: its totals are lost (%s) and begin again at 0",
                    name,
                    strerrordesc_np(-lost));
        }
        r = keeper_load_page(k, lost < 0);
        if (r < 0)
                return r;
        r = page_state_open(place->states, name);
        if (r < 0)
                return r;
        k->state_fd = r;
        keeper_publish_now(k);

        r = k->page ? keeper_open_doorbell(k) : 0;
        /* VMMs that held on to the last life's would be hung up on. A full file system may stay so. */
        if (error_is_passing(r) && r != -ENOSPC)
                return r;
        if (r < 0) {
                keeper_set_trouble(k, "its doorbell's socket cannot be made", r);
                LOG(k, LOG_WARNING, "Page %s: %s", name, k->trouble);
        }
        *ret = TAKE_PTR(k);
        return 0;
}

/* whose it is */

/* Whether it runs as the page's user; one that has ended runs as nobody. */
static bool keeper_is_users(const Keeper *k, const char *run) {
        uid_t user, owner;

        if (process_user(run, &user) < 0)
                return false;
        return user == k->state.owner ||
               (k->page && page_owner(k->page, &owner) >= 0 && user == owner);
}

/*
 * What a VM is called is its owner's choice, and so is its UUID: without a look at who that is, a VM that
 * calls itself like another one would be counted on the other one's page. So would one whose process could
 * not be found, if that were reason enough: whoever listens for it can have ended before.
 */
bool keeper_is_for(Keeper *k, const char *run) {
        bool is_same;

        if (!run)
                return true;
        is_same = str_equal(k->run, run);
        if (is_same && k->is_run_ours)
                return true;
        if (keeper_is_users(k, run) || !process_are_told()) {
                (void) snprintf(k->run, sizeof(k->run), "%s", run);
                k->is_run_ours = true;
                return true;
        }
        if (!is_same)
                LOG(k,
                    LOG_WARNING,
                    "Page %s is user %u's, and not for VMM %s, which is not known to be his",
                    k->name,
                    k->state.owner,
                    run);
        (void) snprintf(k->run, sizeof(k->run), "%s", run);
        k->is_run_ours = false;
        return false;
}

/* telling */

/* A loss that reaches beyond now would be one too much, and it could not be taken back. */
static void keeper_count(Keeper *k, const struct suspendd_drift *d) {
        if (drift_count_span(
                            &k->state.count,
                            d->cycle,
                            d->is_seen,
                            d->from_boottime_ns,
                            MIN(d->to_boottime_ns, d->host_boottime_ns)) > 0)
                k->state.disruption_marker++;
}

static void keeper_remember_answer(Keeper *k) {
        DriftAnswer answer;

        k->refused_before_ns = k->page && page_read_answer(k->page, &answer) > 0 &&
                                                               answer.epoch == k->state.epoch
                                               ? answer.refused_ns
                                               : 0;
}

static int keeper_tell(Keeper *k, const struct suspendd_drift *d, uint32_t flags, bool rings) {
        int r;

        k->state.flags = flags;
        r = keeper_publish(k, d->host_realtime_ns, d->host_boottime_ns);
        if (rings)
                keeper_ring(k);
        return r < 0 ? r : 1;
}

/* An error is told when there is something to tell the guest. */
void keeper_refresh(Keeper *k) {
        k->state.sequence += 2;
        if (page_state_write(k->state_fd, &k->state) >= 0)
                (void) keeper_write_vmclock(k);
}

static int keeper_take(Keeper *k, const struct suspendd_drift *d) {
        int r;

        k->state.host_stepped_ns += d->host_stepped_ns - k->told_stepped_ns;
        k->told_stepped_ns = d->host_stepped_ns;

        switch (d->phase) {
        case SUSPENDD_DRIFT_STOPPING:
                drift_count_stopping(&k->state.count);
                keeper_remember_answer(k);
                return keeper_tell(k, d, DRIFT_FLAG_STOPPING, true);
        case SUSPENDD_DRIFT_STOOD:
                drift_count_stood(&k->state.count, d->from_boottime_ns);
                r = page_state_write(k->state_fd, &k->state);
                return r < 0 ? r : 1;
        case SUSPENDD_DRIFT_RUNNING:
                keeper_count(k, d);
                return keeper_tell(k, d, DRIFT_FLAG_LOWER_BOUND, false);
        case SUSPENDD_DRIFT_RAN:
                keeper_count(k, d);
                drift_count_ran(&k->state.count);
                return keeper_tell(k, d, 0, true);
        case SUSPENDD_DRIFT_LOOK:
                k->state.disruption_marker++;
                return keeper_tell(k, d, 0, true);
        case SUSPENDD_DRIFT_MET:
                if (!k->page)
                        return -ENODEV;
                host_time_look(k->place->time);
                keeper_refresh(k);
                return 1;
        default:
                return -EINVAL;
        }
}

int keeper_drift(Keeper *k, const struct suspendd_drift *d) {
        int r;

        k->telling = d;
        r = keeper_take(k, d);
        k->telling = NULL;
        return r;
}

bool keeper_wants_refresh(const Keeper *k) {
        return k->page && guest_time_wants_refresh(&k->time);
}

/* being answered */

static int64_t clamp_ns(uint64_t ns, uint64_t max_ns) {
        uint64_t least = MIN(ns, max_ns);

        return (int64_t) MIN(least, (uint64_t) INT64_MAX);
}

int keeper_answer(const Keeper *k, struct suspendd_answer *ret) {
        const DriftCount *count = &k->state.count;
        uint64_t before = count->unseen_ns - count->last_unseen_ns;
        struct suspendd_answer answer = { .size = sizeof(answer) };
        DriftAnswer a;

        if (!k->page || page_read_answer(k->page, &a) <= 0)
                return 0;
        answer.corrects_realtime =
                        a.corrects == ANSWER_CORRECTS_REALTIME || a.corrects == ANSWER_CORRECTS_ALL;
        answer.corrects_boottime = a.corrects == ANSWER_CORRECTS_ALL;
        if (a.epoch == k->state.epoch) {
                answer.is_current = a.publishings == k->state.publishings;
                if (a.applied_ns > before)
                        answer.applied_ns = clamp_ns(a.applied_ns - before, count->last_unseen_ns);
                if (a.refused_ns > k->refused_before_ns)
                        answer.refused_ns =
                                        clamp_ns(a.refused_ns - k->refused_before_ns,
                                                 (uint64_t) answer.applied_ns);
        }
        *ret = answer;
        return 1;
}

bool keeper_is_used(const Keeper *k) {
        return k->doorbell && doorbell_n_peers(k->doorbell) > 0;
}

/* showing */

static int add(JsonObject *o, const char *key, JsonObject *value) {
        if (value && json_object_object_add(o, key, value) < 0) {
                (void) json_object_put(value);
                value = NULL;
        }
        return value ? 0 : -ENOMEM;
}

static int add_ns(JsonObject *o, const char *key, uint64_t ns) {
        return add(o, key, json_object_new_int64(clamp_ns(ns, UINT64_MAX)));
}

static const char *state_word(const PageState *s) {
        if (s->flags & DRIFT_FLAG_STOPPING)
                return "stopping";
        return s->flags & DRIFT_FLAG_LOWER_BOUND ? "lower-bound" : "settled";
}

/* Numbers of the guest's own choosing; they are shown, and nothing else. */
static int add_answer(JsonObject *o, const Keeper *k) {
        JsonObject *answer;
        DriftAnswer a;
        int r;

        if (!k->page || page_read_answer(k->page, &a) <= 0)
                return json_object_object_add(o, "answer", NULL) < 0 ? -ENOMEM : 0;
        answer = json_object_new_object();
        r = add(o, "answer", answer);
        if (r < 0)
                return r;

        r |= add(answer,
                 "corrects",
                 json_object_new_string(
                                 a.corrects == ANSWER_CORRECTS_ALL        ? "all"
                                 : a.corrects == ANSWER_CORRECTS_REALTIME ? "realtime"
                                                                          : "nothing"));
        r |= add(answer,
                 "is_current",
                 json_object_new_boolean(
                                 a.epoch == k->state.epoch &&
                                 a.publishings == k->state.publishings));
        r |= add(answer, "is_of_epoch", json_object_new_boolean(a.epoch == k->state.epoch));
        r |= add_ns(answer, "applied_ns", a.applied_ns);
        r |= add_ns(answer, "refused_ns", a.refused_ns);
        r |= add_ns(answer, "publishings", a.publishings);
        return r < 0 ? -ENOMEM : 0;
}

static int add_file(JsonObject *o, const Keeper *k) {
        _cleanup_free_ char *path = NULL, *socket = NULL;
        bool has_doorbell = k->doorbell;
        int r = 0;

        if (asprintf(&path, "%s/%s", k->place->path, k->name) < 0)
                path = NULL;
        if (asprintf(&socket, "%s/%s.sock", k->place->path, k->name) < 0)
                socket = NULL;
        if (!path || !socket)
                return -ENOMEM;
        r |= add(o, "name", json_object_new_string(k->name));
        r |= add(o, "path", json_object_new_string(path));
        if (has_doorbell)
                r |= add(o, "socket", json_object_new_string(socket));
        r |= add(o, "owner", json_object_new_int64(k->state.owner));
        r |= add(o, "vectors", json_object_new_int64(k->state.vectors));
        r |= add(o, "notifies", json_object_new_boolean(k->state.notifies != 0));
        r |= add(o,
                 "peers",
                 json_object_new_int64(has_doorbell ? (int64_t) doorbell_n_peers(k->doorbell) : 0));
        if (*k->trouble)
                r |= add(o, "trouble", json_object_new_string(k->trouble));
        return r < 0 ? -ENOMEM : 0;
}

static int add_totals(JsonObject *o, const Keeper *k) {
        const PageState *s = &k->state;
        char epoch[32], stamp[TIME_STAMP_MAX];
        int r = 0;

        /* JSON's numbers are signed. */
        (void) snprintf(epoch, sizeof(epoch), "%016llx", (unsigned long long) s->epoch);
        r |= add(o, "epoch", json_object_new_string(epoch));
        r |= add(o, "state", json_object_new_string(state_word(s)));
        r |= add_ns(o, "cycles", s->count.cycles);
        r |= add_ns(o, "unseen_ns", s->count.unseen_ns);
        r |= add_ns(o, "seen_ns", s->count.seen_ns);
        r |= add_ns(o, "last_unseen_ns", s->count.last_unseen_ns);
        r |= add_ns(o, "last_seen_ns", s->count.last_seen_ns);
        r |= add(o, "host_stepped_ns", json_object_new_int64(s->host_stepped_ns));
        r |= add_ns(o, "publishings", s->publishings);
        r |= add(o,
                 "published",
                 json_object_new_string(time_stamp_format(stamp, k->published_realtime_ns)));
        r |= add_ns(o, "disruption_marker", s->disruption_marker);
        r |= add(o, "has_time", json_object_new_boolean(k->time.is_claimed));
        if (k->why_no_time)
                r |= add(o, "why_no_time", json_object_new_string(k->why_no_time));
        return r < 0 ? -ENOMEM : 0;
}

JsonObject *keeper_describe(const Keeper *k) {
        _cleanup_json_ JsonObject *o = json_object_new_object();

        if (!o || add_file(o, k) < 0 || add_totals(o, k) < 0 || add_answer(o, k) < 0)
                return NULL;
        return TAKE_PTR(o);
}
