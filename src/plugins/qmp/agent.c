/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/qmp/agent.h"
#include <errno.h>
#include <inttypes.h>
#include <sys/random.h>
#include <time.h>
#include "common/clock-sample.h"
#include "common/json-view.h"
#include "plugins/qmp/channel.h"

#define EXCHANGES_MAX 4
#define TEXT_MAX 160
#define SYNC_ANSWER_MAX 128

static const JsonLimits agent_limits = {
        .size_max = 64 * 1024,
        .values_max = 4096,
        .depth_max = 16,
};

typedef enum AgentState {
        AGENT_IDLE,
        AGENT_SYNCING,  /* the current exchange waits for its sync's answer */
        AGENT_ANSWERED, /* its command is written */
        AGENT_TAKEN,    /* so is this one, a suspend: it is done, and may yet be refused */
} AgentState;

/* One act; or, as no act, the reading of guest-info. */
typedef struct Exchange {
        enum suspendd_act act;
        uint64_t step;
        int64_t lead_ns;
} Exchange;

#define ACT_INFO SUSPENDD_ACT_INVALID

struct Agent {
        const AgentOps *ops;
        void *userdata;
        Channel *channel;

        Exchange queue[EXCHANGES_MAX]; /* the first one is the current one */
        unsigned n_queue;
        AgentState state;
        int64_t sync_id; /* unanswered, be its exchange cancelled or not; or 0 */
        int64_t sent_realtime_ns;

        bool alive, informed;
        bool present[SUSPENDD_ACT_MAX], enabled[SUSPENDD_ACT_MAX];
};

static const struct {
        const char *command, *absent, *disabled;
} agent_acts[SUSPENDD_ACT_MAX] = {
        [SUSPENDD_ACT_SUSPEND] = { "guest-suspend-ram",
                                   "guest agent does not know guest-suspend-ram",
                                   "guest agent does not allow guest-suspend-ram" },
        [SUSPENDD_ACT_GET_TIME] = { "guest-get-time",
                                    "guest agent does not know guest-get-time",
                                    "guest agent does not allow guest-get-time" },
        [SUSPENDD_ACT_SET_TIME] = { "guest-set-time",
                                    "guest agent does not know guest-set-time",
                                    "guest agent does not allow guest-set-time" },
};

const char *agent_why_not(const Agent *a, enum suspendd_act act) {
        if (!a->alive || !a->informed)
                return "guest agent does not answer";
        if (!a->present[act])
                return agent_acts[act].absent;
        if (!a->enabled[act])
                return agent_acts[act].disabled;
        return NULL;
}

/* writing */

static int64_t random_id(void) {
        uint64_t id;

        if (getrandom(&id, sizeof(id), GRND_NONBLOCK) != (ssize_t) sizeof(id))
                id = (uint64_t) clock_now_ns(CLOCK_BOOTTIME) * UINT64_C(0x9e3779b97f4a7c15);
        return MAX((int64_t) (id & INT64_MAX), INT64_C(1));
}

static int agent_write_sync(Agent *a) {
        char text[TEXT_MAX];
        int n;

        a->sync_id = random_id();
        n = snprintf(text,
                     sizeof(text),
                     "\xff{\"execute\":\"guest-sync-delimited\",\"arguments\":{\"id\":%" PRIi64
                     "}}\n",
                     a->sync_id);
        return channel_send(a->channel, text, (size_t) n);
}

static int agent_write_command(Agent *a, const Exchange *x) {
        char text[TEXT_MAX];
        int n;

        a->sent_realtime_ns = clock_now_ns(CLOCK_REALTIME);
        if (x->act == SUSPENDD_ACT_SET_TIME)
                n = snprintf(text,
                             sizeof(text),
                             "{\"execute\":\"guest-set-time\",\"arguments\":{\"time\":%" PRIi64
                             "}}\n",
                             a->sent_realtime_ns + x->lead_ns);
        else
                n = snprintf(text,
                             sizeof(text),
                             "{\"execute\":\"%s\"}\n",
                             x->act == ACT_INFO ? "guest-info" : agent_acts[x->act].command);
        return channel_send(a->channel, text, (size_t) n);
}

/* the current exchange */

/* Begins the first exchange in the queue, if any. */
static void agent_begin(Agent *a) {
        a->state = AGENT_IDLE;
        if (a->n_queue == 0)
                return;
        a->state = AGENT_SYNCING;
        (void) agent_write_sync(a); /* of an error the reading side learns as well */
}

/* Takes the exchange @i out of the queue; if it is the current one the next begins. */
static void agent_remove(Agent *a, unsigned i) {
        a->n_queue--;
        memmove(&a->queue[i], &a->queue[i + 1], (a->n_queue - i) * sizeof(a->queue[0]));
        if (i > 0)
                return;
        agent_begin(a);
}

static void agent_end(Agent *a, int error, const char *why) {
        Exchange x = a->queue[0];

        agent_remove(a, 0);
        a->ops->on_done(a->userdata, x.act, x.step, error, why);
}

/* what comes from the guest */

/* Writes the current exchange's command. */
static void agent_on_own_sync(Agent *a) {
        Exchange x = a->queue[0];
        int r;

        a->state = AGENT_ANSWERED;
        r = agent_write_command(a, &x);
        if (x.act == ACT_INFO)
                return;
        if (r < 0)
                agent_end(a, r, "cannot write to the guest agent");
        else if (x.act == SUSPENDD_ACT_SUSPEND) {
                a->state = AGENT_TAKEN;
                a->ops->on_done(a->userdata, x.act, x.step, 0, NULL);
        }
}

static void agent_on_synced(Agent *a) {
        bool was_silent = !a->alive && a->informed;

        a->sync_id = 0;
        a->alive = true;
        if (was_silent)
                a->ops->on_change(a->userdata);
        if (a->state == AGENT_SYNCING)
                agent_on_own_sync(a);
}

static void agent_on_info(Agent *a, const JsonView *info) {
        const JsonView *commands;

        for (int act = 0; act < SUSPENDD_ACT_MAX; act++)
                a->present[act] = a->enabled[act] = !info; /* it does not tell: let it be tried */
        if (json_view_get_array(info, "supported_commands", &commands) < 0)
                commands = NULL;
        JSON_VIEW_FOREACH(command, commands) {
                const char *name;

                if (json_view_get_string(command, "name", &name) < 0)
                        continue;
                for (int act = 0; act < SUSPENDD_ACT_MAX; act++)
                        if (str_equal(agent_acts[act].command, name)) {
                                a->present[act] = true;
                                (void) json_view_get_bool(command, "enabled", &a->enabled[act]);
                        }
        }
        a->informed = true;
        agent_remove(a, 0);
        a->ops->on_change(a->userdata);
}

static void agent_on_time(Agent *a, const JsonView *value, int64_t now_realtime_ns) {
        uint64_t step = a->queue[0].step;
        struct suspendd_time t = {
                .host_before_ns = a->sent_realtime_ns,
                .host_after_ns = now_realtime_ns,
        };

        if (json_view_int64(value, &t.guest_ns) < 0) {
                agent_end(a, -EBADMSG, "guest agent did not answer with a time");
                return;
        }
        agent_remove(a, 0);
        a->ops->on_time(a->userdata, step, &t);
}

/* The current exchange got no answer that means something; the reading of guest-info is nobody's step. */
static void agent_fail(Agent *a, int error, const char *why) {
        if (a->queue[0].act == ACT_INFO)
                agent_on_info(a, NULL);
        else
                agent_end(a, error, why);
}

static void agent_on_error(Agent *a, const JsonView *error) {
        const char *class = NULL, *why = NULL;

        (void) json_view_get_string(error, "class", &class);
        (void) json_view_get_string(error, "desc", &why);
        agent_fail(a, str_equal(class, "CommandNotFound") ? -EOPNOTSUPP : -EIO, why);
}

static void agent_on_answer(Agent *a, const JsonView *answer, int64_t now_realtime_ns) {
        const JsonView *error, *value;

        if (json_view_get_object(answer, "error", &error) >= 0) {
                agent_on_error(a, error);
                return;
        }
        if (json_view_member(answer, "return", &value) < 0) {
                agent_fail(a, -EBADMSG, "guest agent answered nonsense");
                return;
        }
        switch (a->queue[0].act) {
        case SUSPENDD_ACT_GET_TIME:
                agent_on_time(a, value, now_realtime_ns);
                break;
        case ACT_INFO:
                agent_on_info(a, value);
                break;
        default:
                if (a->state == AGENT_TAKEN) /* was answered when it was written */
                        agent_remove(a, 0);
                else
                        agent_end(a, 0, NULL);
        }
}

/* Whether @line answers the last sync. All else that comes before is dropped, most of it unread. */
static bool agent_is_synced_by(Agent *a, const Line *line) {
        _cleanup_view_ JsonView *answer = NULL;
        int64_t id;

        if (a->sync_id == 0 || !line->marked || !line->text || line->size > SYNC_ANSWER_MAX)
                return false;
        if (json_view_parse(line->text, line->size, &agent_limits, &answer) < 0)
                return false;
        return json_view_get_int64(answer, "return", &id) >= 0 && id == a->sync_id;
}

static void agent_on_line(void *userdata, const Line *line) {
        int64_t now_realtime_ns = clock_now_ns(CLOCK_REALTIME);
        _cleanup_view_ JsonView *answer = NULL;
        Agent *a = userdata;
        int r = -E2BIG;

        if (a->state < AGENT_ANSWERED) {
                if (agent_is_synced_by(a, line))
                        agent_on_synced(a);
                return;
        }
        if (line->text)
                r = json_view_parse(line->text, line->size, &agent_limits, &answer);
        if (r >= 0)
                agent_on_answer(a, answer, now_realtime_ns);
        else
                agent_fail(a, r, json_bounded_error(r));
}

static void agent_on_end(void *userdata, int error) {
        Agent *a = userdata;

        a->ops->on_end(a->userdata, error);
}

static const ChannelOps agent_channel_ops = {
        .name = "qmp-agent",
        .line_max = 64 * 1024,
        .mark = 0xff,
        .priority = SD_EVENT_PRIORITY_NORMAL + 1, /* after the monitors: a guest can wait */
        .on_line = agent_on_line,
        .on_end = agent_on_end,
};

/* use */

int agent_new(sd_event *event, int fd, const AgentOps *ops, void *userdata, Agent **ret) {
        _cleanup_(agent_freep) Agent *a = calloc(1, sizeof(*a));
        int r;

        if (!a)
                return -ENOMEM;
        *a = (Agent){ .ops = ops, .userdata = userdata };
        r = channel_new(event, fd, &agent_channel_ops, a, &a->channel);
        if (r < 0)
                return r;
        agent_probe(a);
        *ret = TAKE_PTR(a);
        return 0;
}

Agent *agent_free(Agent *a) {
        if (!a)
                return NULL;
        channel_free(a->channel);
        free(a);
        return NULL;
}

/* Makes way: a probe may lie there unanswered for ever, and so does a suspend that was taken. */
static void agent_make_way(Agent *a) {
        for (unsigned i = a->n_queue; i > 0; i--) {
                Exchange *x = &a->queue[i - 1];

                if (x->act != ACT_INFO && (i > 1 || a->state != AGENT_TAKEN))
                        continue;
                memmove(x, x + 1, (a->n_queue - i) * sizeof(*x));
                a->n_queue--;
                if (i == 1)
                        a->state = AGENT_IDLE;
        }
}

int agent_start(Agent *a, enum suspendd_act act, uint64_t step, int64_t lead_ns) {
        int r = SUSPENDD_PENDING;

        agent_make_way(a);
        if (a->n_queue < EXCHANGES_MAX - 1) /* one is kept for the probe */
                a->queue[a->n_queue++] = (Exchange){ .act = act, .step = step, .lead_ns = lead_ns };
        else
                r = -EBUSY;
        if (!a->informed)
                a->queue[a->n_queue++] = (Exchange){ .act = ACT_INFO };
        if (a->state == AGENT_IDLE)
                agent_begin(a);
        return r;
}

void agent_cancel(Agent *a, uint64_t step) {
        bool unanswered;

        for (unsigned i = 0; i < a->n_queue; i++) {
                if (a->queue[i].act == ACT_INFO || a->queue[i].step != step)
                        continue;
                unanswered = i == 0 && a->state == AGENT_SYNCING && a->alive;
                if (unanswered)
                        a->alive = false;
                agent_remove(a, i);
                if (unanswered)
                        a->ops->on_change(a->userdata);
                return;
        }
}

void agent_probe(Agent *a) {
        bool changed = a->alive && a->informed;

        a->alive = a->informed = false;
        agent_make_way(a);
        a->queue[a->n_queue++] = (Exchange){ .act = ACT_INFO };
        if (a->state < AGENT_ANSWERED) /* a sync that went to a closed port may be lost */
                agent_begin(a);
        if (changed)
                a->ops->on_change(a->userdata);
}

void agent_revive(Agent *a) {
        if (!a->alive || !a->informed)
                agent_probe(a);
}
