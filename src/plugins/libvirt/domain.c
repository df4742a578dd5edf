/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/libvirt/domain.h"
#include <errno.h>
#include "common/process.h"
#include "common/time-util.h"
#include "plugins/libvirt/server.h"
#include "plugins/libvirt/store.h"

#define AWAY "libvirt is away"
#define MISTAKEN \
        "libvirt was restarted amidst its suspend and takes it for stopped; restart it once more"
/* An act is done, and the event of it comes behind the answer. */
#define ECHO_NS (50 * NSEC_PER_MSEC)

typedef struct Lane {
        ActCall *running;
        ActCall *next;
} Lane;

struct Domain {
        List domains;
        Server *server;
        const struct suspendd_host *host;
        struct suspendd_machine *machine; /* NULL once it is abandoned */
        unsigned char uuid[VIR_UUID_BUFLEN];
        char uuid_text[VIR_UUID_STRING_BUFLEN];
        char *name, *run;
        Definition definition;
        Lane vcpu, agent;
        StoreCall *store;

        enum suspendd_run_state state; /* as the host was told */
        Reading reading;               /* that it comes from */
        int64_t event_ns;
        enum suspendd_run_state told; /* by the event of then, if it tells */
        int64_t stamp_boottime_ns;    /* QEMU's, when its vCPUs were last stopped or run */
        int64_t paused_ns; /* the last event that its vCPUs were stopped; 0: it has run since */
        bool is_as_wanted; /* it was last read by an act that had reached what it was for */
        bool is_dirty;
        bool is_away;       /* its server */
        bool is_agent_hung; /* its agent did not answer the last time */
        bool is_mistaken;   /* it runs, and libvirt takes it for stopped */
        bool is_suspend_out; /* the agent was told to, and it has not been seen to run or to stand since */
        char *refusal; /* why libvirt would not suspend it, this start of it */
};

/* what the host is told */

static const char *domain_no_suspend(const Domain *d) {
        const Definition *k = &d->definition;

        if (k->is_s3_off)
                return "S3 is switched off in its definition; virt-install does so";
        if (k->is_s3_impossible)
                return "its machine type cannot be woken from a suspend";
        if (k->device)
                return k->device;
        return d->refusal;
}

static const char *domain_no_agent(const Domain *d) {
        switch (d->definition.agent) {
        case AGENT_CHANNEL_NONE:
                return "no guest agent: its definition has no channel for one";
        case AGENT_CHANNEL_DISCONNECTED:
                return "no guest agent is connected";
        default:
                return NULL;
        }
}

static void domain_describe(const Domain *d, struct suspendd_machine_info *ret) {
        const char *no_agent = server_can_agents(d->server)
                                               ? domain_no_agent(d)
                                               : "no agents by this driver of libvirt's";
        const char *hung = d->is_agent_hung ? "the guest agent does not answer" : NULL;

        *ret = (struct suspendd_machine_info){
                .size = sizeof(*ret),
                .name = d->name,
                .uuid = d->uuid_text,
                .run = d->run,
                .vmm = server_vmm(d->server),
                .address = server_uri(d->server),
        };
        if (d->definition.mode[0]) {
                ret->mode = d->definition.mode;
                ret->mode_source = "its definition in libvirt";
        }
        ret->why_not[SUSPENDD_ACT_SUSPEND] = domain_no_suspend(d) ?: no_agent ?: hung;
        ret->why_not[SUSPENDD_ACT_GET_TIME] = no_agent;
        ret->why_not[SUSPENDD_ACT_SET_TIME] = no_agent;
        if (d->is_mistaken)
                ret->why_not[SUSPENDD_ACT_SUSPEND] = ret->why_not[SUSPENDD_ACT_PAUSE] = MISTAKEN;
        /* What concerns the vCPUs is carried out as soon as libvirt is back. */
        if (d->is_away)
                ret->why_not[SUSPENDD_ACT_SUSPEND] = AWAY;
}

static void domain_changed(Domain *d) {
        struct suspendd_machine_info info;

        if (!d->machine)
                return;
        domain_describe(d, &info);
        d->host->machine_change(d->machine, &info);
}

static void domain_tell(
                Domain *d, enum suspendd_run_state state, const char *detail, int64_t boottime_ns) {
        d->state = state;
        if (d->machine)
                d->host->machine_state(d->machine, state, detail, boottime_ns);
}

static void domain_set_hung(Domain *d, bool is_hung) {
        if (d->is_agent_hung == is_hung)
                return;
        d->is_agent_hung = is_hung;
        domain_changed(d);
}

/* what is seen of it */

/* Whether a pause that it is seen in cannot be ours: we are still to tell libvirt. */
static bool domain_is_paused_by_another(const Domain *d) {
        return d->vcpu.next && d->vcpu.next->act == SUSPENDD_ACT_PAUSE && !d->vcpu.next->is_again &&
               !d->vcpu.running;
}

static bool domain_is_pausing(const Domain *d) {
        return d->vcpu.running && d->vcpu.running->act == SUSPENDD_ACT_PAUSE;
}

static enum suspendd_run_state domain_state_of(
                Domain *d, const Reading *r, const char **ret_detail) {
        enum suspendd_run_state state = run_state_of(r->state, r->reason, ret_detail);
        bool is_unknown = r->state == VIR_DOMAIN_PAUSED && r->reason == VIR_DOMAIN_PAUSED_UNKNOWN;

        /* A libvirt that was away when the guest suspended itself finds it stopped, and cannot say why. */
        if (is_unknown && (d->is_suspend_out || d->is_mistaken)) {
                *ret_detail = NULL;
                return d->is_mistaken ? SUSPENDD_STATE_RUNNING : SUSPENDD_STATE_SUSPENDED;
        }
        d->is_mistaken = false;
        if (state == SUSPENDD_STATE_SUSPENDED ||
            (state == SUSPENDD_STATE_RUNNING && !d->agent.running))
                d->is_suspend_out = false;
        return state;
}

void domain_see(Domain *d, const Reading *r) {
        enum suspendd_run_state before = d->state, state;
        const char *detail;

        if (d->is_away || r->asked_ns == 0 || r->is_gone || r->asked_ns < d->reading.asked_ns)
                return;
        state = domain_state_of(d, r, &detail);
        /* Whose pause it is, the call that is under way will say. */
        if (state == SUSPENDD_STATE_PAUSED && domain_is_pausing(d))
                return;
        d->reading = *r;
        d->is_as_wanted = false;
        if (state == before && state != SUSPENDD_STATE_OTHER)
                return;
        /* One that somebody else has paused meanwhile is not ours to run again. */
        if (state == SUSPENDD_STATE_PAUSED && before != state && domain_is_paused_by_another(d))
                domain_tell(d, SUSPENDD_STATE_OTHER, "paused by another hand", 0);
        domain_tell(d, state, detail, r->boottime_ns);
}

EventAnswer domain_on_event(Domain *d, int64_t at_ns, enum suspendd_run_state told) {
        bool is_late = at_ns - d->reading.asked_ns < ECHO_NS;

        d->event_ns = MAX(d->event_ns, at_ns);
        d->told = told;
        if (told == SUSPENDD_STATE_PAUSED)
                d->paused_ns = MAX(d->paused_ns, at_ns);
        else if (told == SUSPENDD_STATE_RUNNING)
                d->paused_ns = 0;
        if (d->vcpu.running)
                return EVENT_IS_COVERED;
        /* An event of the opposite is another hand's. */
        return d->is_as_wanted && told == d->state && is_late ? EVENT_IS_ECHO : EVENT_IS_NEWS;
}

void domain_on_stamp(Domain *d, int64_t boottime_ns) {
        d->stamp_boottime_ns = boottime_ns;
}

void domain_know(Domain *d, DomainFacts *f) {
        bool was_connected = d->definition.agent == AGENT_CHANNEL_CONNECTED;

        /* An agent that has come anew has not failed to answer yet. */
        if (f->definition.agent != AGENT_CHANNEL_CONNECTED || !was_connected)
                d->is_agent_hung = false;
        d->definition = f->definition;
        domain_facts_done(f);
        domain_changed(d);
}

bool domain_is_other_run(const Domain *d, const char *run) {
        return !str_equal(d->run, run);
}

bool domain_has_ended(const Domain *d) {
        const char *process = strchr(d->run, '.');

        return process && process_has_ended(process + 1);
}

/* lanes */

static ActCall *act_drop(ActCall *a) {
        if (a)
                a->call.ops->free(&a->call);
        return NULL;
}

/* Nobody at the core waits for it. */
static void act_give_up(ActCall *a) {
        a->step = 0;
        call_give_up(&a->call);
}

/* It could not be handed over. */
static void lane_fail(Domain *d, Lane *lane, int error) {
        ActCall *a = TAKE_PTR(lane->running);
        uint64_t step = a->step;

        (void) act_drop(a);
        if (step != 0 && d->machine)
                d->host->done(d->host, step, error, "no thread for it");
}

static void lane_start(Domain *d, Lane *lane) {
        int r;

        if (lane->running || !lane->next || d->is_away)
                return;
        lane->running = TAKE_PTR(lane->next);
        lane->running->reading = d->reading;
        lane->running->is_fresh = d->state != SUSPENDD_STATE_UNKNOWN && !d->is_mistaken &&
                                  !d->is_suspend_out && !lane->running->is_again &&
                                  d->event_ns <= d->reading.asked_ns;
        lane->running->call.is_last = d->is_agent_hung;
        r = pool_submit(server_pool(d->server), &lane->running->call);
        if (r < 0)
                lane_fail(d, lane, r);
}

static int domain_act(Domain *d, enum suspendd_act act, uint64_t step, int64_t lead_ns) {
        Lane *lane = act_is_agents(act) ? &d->agent : &d->vcpu;
        ActCall *a;

        /* An agent that owes an answer is not asked again: it would only come later. */
        if (act_is_agents(act) && (lane->running || d->is_away))
                return d->is_away ? -ENOTCONN : -EALREADY;
        a = act_new(d->host, server_mailbox(d->server), act, step);
        if (!a)
                return -ENOMEM;
        a->domain = d;
        a->is_suspend_out = d->is_suspend_out;
        a->lead_ns = lead_ns;
        (void) memcpy(a->uuid, d->uuid, sizeof(a->uuid));
        lane->next = act_drop(lane->next);
        lane->next = a;
        lane_start(d, lane);
        return SUSPENDD_PENDING;
}

/* The connection broke: whether it was carried out will be seen; if it was not, it is once more. */
static void domain_take_up_again(Domain *d, ActCall *a) {
        ActCall *again;

        if (d->vcpu.next || act_is_agents(a->act) || (a->act == SUSPENDD_ACT_PAUSE && a->step == 0))
                return;
        again = act_new(d->host, server_mailbox(d->server), a->act, a->step);
        if (!again)
                return;
        again->domain = d;
        again->is_again = a->has_struck || a->is_again;
        again->is_suspend_out = a->is_suspend_out;
        (void) memcpy(again->uuid, d->uuid, sizeof(again->uuid));
        d->vcpu.next = again;
        a->step = 0;
}

static void domain_learn_of_agent(Domain *d, const ActCall *a) {
        if (!act_is_agents(a->act))
                return;
        d->is_suspend_out |= a->act == SUSPENDD_ACT_SUSPEND && a->has_struck;
        /* A guest that was asked to suspend itself may only be slow. */
        if (a->call.error == -ETIMEDOUT && !a->has_struck)
                domain_set_hung(d, true);
        else if (a->call.error == 0)
                domain_set_hung(d, false);
        if (a->act != SUSPENDD_ACT_SUSPEND || a->call.error != -EOPNOTSUPP)
                return;
        if (str_replace(&d->refusal, a->call.why) >= 0)
                domain_changed(d);
}

static void domain_answer(Domain *d, ActCall *a) {
        const char *why = a->call.why[0] ? a->call.why : NULL;

        if (a->step == 0 || !d->machine)
                return;
        if (a->act == SUSPENDD_ACT_GET_TIME && a->call.error == 0)
                d->host->done_time(d->host, a->step, &a->time);
        else if (a->act != SUSPENDD_ACT_SUSPEND || a->call.error < 0)
                d->host->done(d->host, a->step, a->call.error, why);
}

/*
 * What @a has paused is ours, though the pause that is to follow will find it so: that is the same once
 * more, asked for after the first one had been called off.
 */
static void domain_own_pause(Domain *d, const ActCall *a) {
        const bool is_struck = a->act == SUSPENDD_ACT_PAUSE && (a->has_struck || a->is_again);
        const char *detail;

        if (!is_struck || !d->vcpu.next || d->vcpu.next->act != SUSPENDD_ACT_PAUSE)
                return;
        if (a->call.error == -ECONNRESET ||
            run_state_of(a->reading.state, a->reading.reason, &detail) == SUSPENDD_STATE_PAUSED)
                d->vcpu.next->is_again = true;
}

/* Whether @d is now what @a was for. */
static bool domain_is_as_wanted(const Domain *d, const ActCall *a) {
        if (a->act == SUSPENDD_ACT_PAUSE)
                return d->state == SUSPENDD_STATE_PAUSED;
        return !act_is_agents(a->act) && d->state == SUSPENDD_STATE_RUNNING;
}

/* What has not been seen yet of what was told, and whether it is there at all. An echo is in no haste. */
static void domain_look_again(Domain *d, const ActCall *a) {
        if (a->reading.is_gone || a->call.error == -ESRCH)
                server_look(d->server, d->uuid, true);
        else if (d->event_ns <= d->reading.asked_ns)
                return;
        else if (d->is_as_wanted && d->told == d->state)
                server_look_later(d->server, d);
        else
                server_look(d->server, d->uuid, false);
}

/* The state comes before the answer: only what is seen counts, and it may be what the host waits for. */
static void domain_finish(Domain *d, ActCall *a) {
        Lane *lane = act_is_agents(a->act) ? &d->agent : &d->vcpu;

        lane->running = NULL;
        a->domain = NULL;
        domain_own_pause(d, a);
        if (a->call.error == -ECONNRESET) {
                domain_take_up_again(d, a);
                server_on_break(d->server, &a->call);
        }
        domain_learn_of_agent(d, a);
        if (a->is_woken_unseen)
                d->is_mistaken = true;
        /* It was paused already before we did it: somebody else was quicker. */
        if (a->is_fresh && a->has_struck && d->paused_ns > d->reading.asked_ns &&
            d->paused_ns < a->struck_ns)
                a->was_foreign = true;
        if (a->was_foreign && d->state == SUSPENDD_STATE_RUNNING)
                domain_tell(d, SUSPENDD_STATE_OTHER, "paused by another hand", 0);
        if (a->has_read)
                domain_see(d, &a->reading);
        d->is_as_wanted = domain_is_as_wanted(d, a);
        if (a->is_woken_unseen)
                domain_changed(d);
        domain_answer(d, a);
        lane_start(d, lane);
        domain_look_again(d, a);
        server_on_calls(d->server);
}

/* The lane stays taken until it has been seen what became of it. */
void domain_on_act(Domain *d, ActCall *a) {
        if (a->call.error == 0 && a->is_unseen && !d->is_away) {
                a->call.is_kept = true;
                server_see(d->server);
                return;
        }
        if (a->is_unseen && d->is_away)
                a->call.error = -ECONNRESET;
        domain_finish(d, a);
}

static bool domain_is_kept(const Domain *d) {
        return d->vcpu.running && d->vcpu.running->call.is_back;
}

bool domain_is_unseen(const Domain *d) {
        return domain_is_kept(d) && !d->vcpu.running->is_asked;
}

bool domain_is_acting(const Domain *d) {
        return d->vcpu.running && !d->vcpu.running->call.is_back;
}

void domain_set_asked(Domain *d, bool is_asked) {
        if (domain_is_kept(d))
                d->vcpu.running->is_asked = is_asked;
}

/* When it was done, by QEMU if it has told, and it can be true. */
static int64_t domain_acted_boottime_ns(const Domain *d, const ActCall *a) {
        bool is_of_act = d->stamp_boottime_ns >= a->told_boottime_ns &&
                         d->stamp_boottime_ns <= a->acted_boottime_ns;

        return is_of_act ? d->stamp_boottime_ns : a->acted_boottime_ns;
}

/* Ends an act that was kept, with what was read of it, if anything. It was done, so it never fails. */
static void domain_end_kept(Domain *d, const Reading *r, int error) {
        ActCall *a = d->vcpu.running;

        a->call.error = error;
        if (r) {
                a->reading = *r;
                a->reading.boottime_ns = domain_acted_boottime_ns(d, a);
                a->has_read = true;
        }
        domain_finish(d, a);
        call_end(&a->call);
}

void domain_on_seen(Domain *d, const Reading *r) {
        if (!domain_is_kept(d))
                return;
        domain_end_kept(d, r, 0);
        if (!r)
                server_look_later(d->server, d);
}

void domain_lose(Domain *d) {
        if (d->is_away)
                return;
        d->is_away = true;
        domain_changed(d);
        if (domain_is_kept(d))
                domain_end_kept(d, NULL, -ECONNRESET);
        domain_tell(d, SUSPENDD_STATE_UNKNOWN, AWAY, 0);
}

void domain_find(Domain *d, const Reading *r) {
        bool was_away = d->is_away;

        d->is_away = false;
        if (was_away)
                domain_changed(d);
        domain_see(d, r);
        lane_start(d, &d->vcpu);
}

/* the acts */

int domain_suspend(void *userdata, uint64_t step) {
        return domain_act(userdata, SUSPENDD_ACT_SUSPEND, step, 0);
}

int domain_pause(void *userdata, uint64_t step) {
        return domain_act(userdata, SUSPENDD_ACT_PAUSE, step, 0);
}

int domain_resume(void *userdata, uint64_t step) {
        return domain_act(userdata, SUSPENDD_ACT_RESUME, step, 0);
}

int domain_wake(void *userdata, uint64_t step) {
        return domain_act(userdata, SUSPENDD_ACT_WAKE, step, 0);
}

int domain_get_time(void *userdata, uint64_t step) {
        return domain_act(userdata, SUSPENDD_ACT_GET_TIME, step, 0);
}

int domain_set_time(void *userdata, uint64_t step, int64_t lead_ns) {
        return domain_act(userdata, SUSPENDD_ACT_SET_TIME, step, lead_ns);
}

/* What has not begun is not carried out, but that it shall run again: nobody may be left stopped. */
static void lane_cancel(Lane *lane, uint64_t step) {
        ActCall *a = lane->next;

        if (lane->running && lane->running->step == step)
                act_give_up(lane->running);
        if (!a || a->step != step)
                return;
        if (a->act == SUSPENDD_ACT_RESUME || a->act == SUSPENDD_ACT_WAKE)
                a->step = 0;
        else
                lane->next = act_drop(a);
}

void domain_cancel(void *userdata, uint64_t step) {
        Domain *d = userdata;

        lane_cancel(&d->vcpu, step);
        lane_cancel(&d->agent, step);
        server_on_calls(d->server);
}

/* the mode in its definition: one request at a time, so that the last one wins */

void domain_on_store(Domain *d, StoreCall *s) {
        const char *why = s->call.error < 0 ? s->call.why : NULL;

        d->store = NULL;
        if (s->facts.name && !domain_is_other_run(d, s->facts.run))
                domain_know(d, &s->facts);
        d->host->stored(d->host, s->request, s->call.error, why);
}

int domain_store_mode(void *userdata, uint64_t request, const char *mode) {
        Domain *d = userdata;
        StoreCall *s;
        int r;

        if (d->is_away || d->store)
                return d->is_away ? -ENOTCONN : -EBUSY;
        s = store_call_new(d->uuid, mode, server_state_directory(d->server));
        if (!s)
                return -ENOMEM;
        s->request = request;
        s->domain = d;
        r = pool_submit(server_pool(d->server), &s->call);
        if (r < 0) {
                s->call.ops->free(&s->call);
                return r;
        }
        d->store = s;
        return SUSPENDD_PENDING;
}

/* lifetime */

int domain_new(Server *s, DomainFacts *f, Domain **ret) {
        _cleanup_(domain_freep) Domain *d = calloc(1, sizeof(*d));
        struct suspendd_machine_info info;
        int r;

        if (!d)
                return -ENOMEM;
        *d = (Domain){ .server = s, .host = server_host(s), .definition = f->definition };
        list_init(&d->domains);
        (void) memcpy(d->uuid, f->uuid, sizeof(d->uuid));
        (void) memcpy(d->uuid_text, f->uuid_text, sizeof(d->uuid_text));
        d->name = TAKE_PTR(f->name);
        d->run = TAKE_PTR(f->run);
        domain_describe(d, &info);
        r = d->host->machine_add(d->host, d, &info, &d->machine);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(d);
        return 0;
}

static void lane_free(Lane *lane) {
        if (lane->running) {
                act_give_up(lane->running);
                lane->running->domain = NULL;
                if (lane->running->call.is_back)
                        call_end(&lane->running->call);
                lane->running = NULL;
        }
        lane->next = act_drop(lane->next);
}

void domain_end(Domain *d) {
        domain_tell(d, SUSPENDD_STATE_OTHER, "shut off", 0);
        domain_free(d);
}

Domain *domain_free(Domain *d) {
        struct suspendd_machine *machine;

        if (!d)
                return NULL;
        list_unlink(&d->domains);
        lane_free(&d->vcpu);
        lane_free(&d->agent);
        if (d->store)
                d->store->domain = NULL;
        machine = TAKE_PTR(d->machine);
        if (machine)
                d->host->machine_remove(machine);
        free(d->name);
        free(d->run);
        free(d->refusal);
        free(d);
        return NULL;
}

void domain_abandon(Domain *d) {
        d->machine = NULL;
}

void domain_link(Domain *d, List *head) {
        list_append(head, &d->domains);
}

Domain *domain_from_link(List *link) {
        return LIST_ENTRY(link, Domain, domains);
}

bool domain_is(const Domain *d, const unsigned char uuid[static VIR_UUID_BUFLEN]) {
        return memcmp(d->uuid, uuid, sizeof(d->uuid)) == 0;
}

int64_t domain_read_ns(const Domain *d) {
        return d->reading.asked_ns;
}

const unsigned char *domain_uuid(const Domain *d) {
        return d->uuid;
}

bool *domain_is_dirty(Domain *d) {
        return &d->is_dirty;
}

bool domain_has_agent(const Domain *d) {
        return d->definition.agent != AGENT_CHANNEL_NONE;
}
