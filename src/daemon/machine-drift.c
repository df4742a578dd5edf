/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "daemon/machine-drift.h"
#include "common/time-util.h"
#include "daemon/cycle-internal.h"

static int64_t machine_boottime_ns(const Machine *m) {
        struct CyclePrivate *p = m->cycle->private;

        return p->ops->clock(p->userdata, CLOCK_BOOTTIME);
}

static void machine_tell(
                Machine *m, enum suspendd_drift_phase phase, int64_t from_ns, int64_t to_ns) {
        struct CyclePrivate *p = m->cycle->private;
        ClockSample now;

        if (!m->cycle->has_drift)
                return;
        cycle_sample(m->cycle, &now);
        (void) p->ops->drift(
                        p->userdata,
                        &(const struct suspendd_drift){
                                        .size = sizeof(struct suspendd_drift),
                                        .phase = phase,
                                        .name = m->name,
                                        .uuid = m->uuid,
                                        .run = m->run,
                                        .cycle = m->cycle->report.number,
                                        .is_seen = m->stand.is_seen,
                                        .from_boottime_ns = from_ns,
                                        .to_boottime_ns = to_ns,
                                        .host_realtime_ns = now.realtime_ns,
                                        .host_boottime_ns = now.boottime_ns,
                                        .host_stepped_ns = clock_sample_stepped_ns(&p->born, &now),
                        });
}

/* Counts what is not counted yet of the span up to @to_ns. */
static void stand_count(Machine *m, int64_t to_ns) {
        int64_t from_ns = MAX(m->stand.since_boottime_ns, m->stand.counted_boottime_ns);
        MachineReport *r = &m->report;

        if (to_ns <= from_ns)
                return;
        r->stopped_ns += to_ns - from_ns;
        *(m->stand.is_seen ? &r->seen_ns : &r->unseen_ns) += to_ns - from_ns;
        m->stand.counted_boottime_ns = to_ns;
}

/* A resume that was given up, or is about to be: the machine may be obeying it already. */
static bool machine_may_run(const Machine *m) {
        bool is_under_way = m->step != 0 && (m->step_act == SUSPENDD_ACT_RESUME ||
                                             m->step_act == SUSPENDD_ACT_WAKE);

        return m->is_run_astray || is_under_way;
}

bool machine_drift_is_certain(const Machine *m) {
        return m->stand.since_boottime_ns != 0 && !machine_may_run(m);
}

void machine_drift_stopping(Machine *m) {
        if (m->stand.since_boottime_ns != 0)
                return;
        if (!machine_may_run(m))
                m->stand.asked_boottime_ns = 0;
        machine_tell(m, SUSPENDD_DRIFT_STOPPING, 0, 0);
}

void machine_drift_stood(Machine *m) {
        if (m->stand.since_boottime_ns == 0)
                m->stand.since_boottime_ns = m->seen_boottime_ns;
        m->stand.is_seen |= m->is_suspended;
        m->stand.is_doubtful &= !m->is_suspended;
        machine_tell(m, SUSPENDD_DRIFT_STOOD, m->stand.since_boottime_ns, 0);
}

/* It is known to stand until it was first asked to run; one that was seen to stand after that, until then. */
void machine_drift_running(Machine *m) {
        MachineStand *s = &m->stand;
        int64_t to_ns = machine_boottime_ns(m);

        if (s->asked_boottime_ns != 0 && machine_may_run(m))
                to_ns = MAX(s->asked_boottime_ns, m->seen_boottime_ns);
        else
                s->asked_boottime_ns = to_ns;
        /* Of one that may be suspended beneath a pause only its running, or not, will tell. */
        if (s->since_boottime_ns == 0 || s->is_doubtful) {
                machine_tell(m, SUSPENDD_DRIFT_RUNNING, 0, 0);
                return;
        }
        stand_count(m, to_ns);
        machine_tell(m,
                     SUSPENDD_DRIFT_RUNNING,
                     s->since_boottime_ns,
                     MAX(to_ns, s->counted_boottime_ns));
}

/* The span is over. */
static void machine_end_stand(Machine *m, enum suspendd_drift_phase phase) {
        MachineStand *s = &m->stand;

        stand_count(m, m->seen_boottime_ns);
        machine_tell(m,
                     phase,
                     s->since_boottime_ns,
                     MAX(m->seen_boottime_ns, s->counted_boottime_ns));
        *s = (MachineStand){ 0 };
}

/*
 * A pause that was given up may strike while the machine is being run again; and one that strikes while a
 * resume is astray makes no difference to what is done, but it does stand.
 */
static bool machine_is_struck(const Machine *m) {
        bool is_stopping = m->state == MACHINE_PAUSING || m->state == MACHINE_MISSED;

        return m->stand.since_boottime_ns == 0 &&
               ((m->is_stop_astray && m->state == MACHINE_WAKING) ||
                (m->is_run_astray && is_stopping));
}

void machine_drift_saw(Machine *m) {
        if (m->run_state == SUSPENDD_STATE_SUSPENDED || m->run_state == SUSPENDD_STATE_RUNNING)
                m->is_suspended = m->run_state == SUSPENDD_STATE_SUSPENDED;
        if (m->is_from_before)
                return;
        switch (m->run_state) {
        case SUSPENDD_STATE_RUNNING:
                if (m->stand.since_boottime_ns != 0)
                        machine_end_stand(m, SUSPENDD_DRIFT_RAN);
                break;
        case SUSPENDD_STATE_PAUSED:
                if (!machine_is_struck(m))
                        break;
                machine_drift_stood(m);
                if (m->state == MACHINE_WAKING)
                        machine_drift_running(m);
                break;
        case SUSPENDD_STATE_SUSPENDED:
                if (m->stand.since_boottime_ns != 0)
                        machine_drift_stood(m);
                break;
        case SUSPENDD_STATE_OTHER:
                /* It does not run, and will not by us: what it lacks until now it was held by us for. */
                if (m->stand.since_boottime_ns != 0)
                        machine_end_stand(m, SUSPENDD_DRIFT_RUNNING);
                break;
        default:
                break;
        }
}

void machine_drift_ran(Machine *m) {
        if (m->stand.asked_boottime_ns != 0)
                machine_drift_look(m);
        m->stand = (MachineStand){ 0 };
}

void machine_drift_forget(Machine *m) {
        m->stand = (MachineStand){ 0 };
}

void machine_drift_look(Machine *m) {
        if (m->run_state == SUSPENDD_STATE_RUNNING)
                machine_tell(m, SUSPENDD_DRIFT_LOOK, 0, 0);
}
