/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A host for one page
 *
 * Writes a drift page as the daemon does, by the page plugin's own code and nothing beside it, when it is told
 * to on its standard input: "PHASE UNSEEN_NS RUN", where PHASE is stopping, running, ran or look, UNSEEN_NS
 * the total to publish and RUN the VMM's start or "-". Answers each with "1" if the page claims time now,
 * else "0 WHY".
 *
 * usage: bare-host DIRECTORY NAME [DEBUGFS]
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <time.h>
#include "common/clock-sample.h"
#include "common/macro.h"
#include "plugins/page/guest-time.h"
#include "plugins/page/page.h"
#include "plugins/page/vmclock.h"

typedef struct Host {
        HostTime *time;
        GuestTime guest;
        Page *page;
        DriftRecord record;
        uint32_t sequence;
        uint64_t marker;
} Host;

static const char *const phases[] = {
        [SUSPENDD_DRIFT_STOPPING] = "stopping",
        [SUSPENDD_DRIFT_RUNNING] = "running",
        [SUSPENDD_DRIFT_RAN] = "ran",
        [SUSPENDD_DRIFT_LOOK] = "look",
};

static int phase_of(const char *word) {
        for (size_t i = 0; i < ARRAY_LEN(phases); i++)
                if (str_equal(phases[i], word))
                        return (int) i;
        return -EINVAL;
}

static int write_record(Host *h, uint64_t unseen_ns) {
        h->record.magic = DRIFT_MAGIC;
        h->record.revision = DRIFT_REVISION;
        h->record.size = sizeof(h->record);
        h->record.sequence += 2;
        h->record.epoch = 1;
        h->record.last_unseen_ns = unseen_ns - h->record.unseen_ns;
        h->record.unseen_ns = unseen_ns;
        h->record.host_realtime_ns = clock_now_ns(CLOCK_REALTIME);
        h->record.host_boottime_ns = clock_now_ns(CLOCK_BOOTTIME);
        h->record.publishings++;
        return page_write_drift(h->page, &h->record);
}

/* Returns: 1 if time is claimed; 0; a negative errno. */
static int publish(Host *h, int phase, uint64_t unseen_ns, const char *run, const char **ret_why) {
        VmclockPage clock;
        int r, is_claimed;

        if (unseen_ns != h->record.unseen_ns)
                h->marker++;
        host_time_look(h->time);
        vmclock_compose(&clock, h->sequence += 2, h->marker, false);
        is_claimed =
                        guest_time_fill(h->time,
                                        &h->guest,
                                        str_equal(run, "-") ? NULL : run,
                                        (enum suspendd_drift_phase) phase,
                                        &clock,
                                        ret_why);
        r = page_write_vmclock(h->page, &clock);
        if (r >= 0)
                r = write_record(h, unseen_ns);
        return r < 0 ? r : is_claimed;
}

static int make_page(Host *h, const char *directory, const char *name) {
        int dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int scratch = memfd_create("scratch", MFD_CLOEXEC), r;
        const char *why;

        if (dir < 0 || scratch < 0 || ftruncate(scratch, PAGE_SIZE_BYTES) < 0)
                return -errno;
        r = page_create(dir, name, scratch, &h->page);
        if (r >= 0)
                r = publish(h, SUSPENDD_DRIFT_LOOK, 0, "-", &why);
        if (r >= 0)
                r = page_appear(h->page, dir, name, geteuid());
        return r;
}

static int serve(Host *h) {
        char line[256], word[32], run[128];

        while (fgets(line, sizeof(line), stdin)) {
                const char *why = "";
                uint64_t unseen_ns;
                int r;

                if (sscanf(line, "%31s %" SCNu64 " %127s", word, &unseen_ns, run) != 3)
                        return -EINVAL;
                r = phase_of(word);
                if (r >= 0)
                        r = publish(h, r, unseen_ns, run, &why);
                if (r < 0)
                        return r;
                (void) printf("%d %s\n", r, why);
                (void) fflush(stdout);
        }
        return 0;
}

int main(int argc, char **argv) {
        Host h = { 0 };
        int r;

        if (argc < 3)
                return 2;
        r = host_time_new(argc > 3 ? argv[3] : KVM_CLOCK_ROOT, "/sys", "/proc", &h.time);
        if (r >= 0)
                r = make_page(&h, argv[1], argv[2]);
        if (r >= 0) {
                (void) puts("ready");
                (void) fflush(stdout);
                r = serve(&h);
        }
        if (r < 0)
                (void) fprintf(stderr, "bare-host: %s\n", strerror(-r));
        h.page = page_free(h.page);
        h.time = host_time_free(h.time);
        return r < 0;
}
