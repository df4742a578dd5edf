/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Pages and Their VMMs, Fuzzed
 *
 * Pages of any name, what the owner of one does to its file, what a guest writes into it, VMMs that connect,
 * say anything, fill their eventfds and go, and descriptors of an earlier life by any name; over lives of the
 * daemon. Nothing waits, no more peers are there than may be, each is greeted as ivshmem has it, what a guest
 * answers stays within what it was told, and in the end no descriptor is left.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-event.h>
#include "common/clock-sample.h"
#include "common/json-bounded.h"
#include "common/page-layout.h"
#include "common/text-escape.h"
#include "common/time-util.h"
#include "folder.h"
#include "input.h"
#include "plugins/page/doorbell.h"
#include "plugins/page/store.h"

/* The kernel takes its time to end what a bell rings by, some ten milliseconds: one is for all lives. */
int bell_new_one(Bell **ret);
Bell *bell_free_one(Bell *b);

#define bell_new bell_new_one
#define bell_free bell_free_one
#include "plugins/page/bell.c" /* NOLINT(bugprone-suspicious-include): for these two */
#undef bell_new
#undef bell_free

static Bell *bell;

int bell_new(Bell **ret) {
        *ret = bell;
        return 0;
}

Bell *bell_free(Bell *b) {
        (void) b;
        return NULL;
}

#define STEPS_MAX 48
#define KEPT_MAX 48
#define CLIENTS_MAX 10

typedef struct KeptFdCopy {
        char *name;
        int fd;
} KeptFdCopy;

typedef struct Vmm {
        int fd, eventfd; /* -1: none */
        unsigned n_told;
} Vmm;

static struct suspendd_host host;
static Store *store;
static KeptFdCopy kept
                [KEPT_MAX]; /* what the next life is given; in use up to the first without a name */
static Vmm vmms[CLIENTS_MAX];

/* the host */

static void on_log(
                const struct suspendd_host *h,
                int level,
                const struct suspendd_machine *m,
                const char *format,
                ...) _printf_(4, 5);

static void on_log(
                const struct suspendd_host *h,
                int level,
                const struct suspendd_machine *m,
                const char *format,
                ...) {
        char text[1024];
        va_list ap;

        (void) h, (void) level, (void) m;
        va_start(ap, format);
        HOLDS(vsnprintf(text, sizeof(text), format, ap) >= 0);
        va_end(ap);
}

static void on_enumerated(const struct suspendd_host *h) {
        (void) h;
}

static int on_keep_fd(const struct suspendd_host *h, const char *name, int fd) {
        size_t i = 0;

        (void) h;
        HOLDS(*name && strlen(name) <= 200);
        while (i < KEPT_MAX && kept[i].name)
                i++;
        if (i == KEPT_MAX)
                return -ENOSPC;
        kept[i] = (KeptFdCopy){ strdup(name), fcntl(fd, F_DUPFD_CLOEXEC, 0) };
        HOLDS(kept[i].name && kept[i].fd >= 0);
        return 0;
}

static void kept_remove(size_t i) {
        free(kept[i].name);
        memmove(&kept[i], &kept[i + 1], (KEPT_MAX - 1 - i) * sizeof(*kept));
        kept[KEPT_MAX - 1] = (KeptFdCopy){ .fd = -1 };
}

static void on_drop_fd(const struct suspendd_host *h, const char *name) {
        (void) h;
        for (size_t i = 0; i < KEPT_MAX && kept[i].name;)
                if (str_equal(kept[i].name, name)) {
                        (void) close(kept[i].fd);
                        kept_remove(i);
                } else
                        i++;
}

/* lives */

static void life_begin(void) {
        HOLDS(store_new(&host, folder, &store) == 0);
        for (size_t i = 0; i < KEPT_MAX && kept[i].name; i++) {
                _cleanup_free_ char *name = strdup(kept[i].name);
                int fd = fcntl(kept[i].fd, F_DUPFD_CLOEXEC, 0);

                HOLDS(name && fd >= 0);
                store_restore_fd(store, name, fd);
                if (!kept[i].name || !str_equal(kept[i].name, name))
                        i--; /* it was dropped at once */
        }
        (void) store_load(store, NULL, 0);
}

static void life_again(void) {
        store = store_free(store);
        life_begin();
}

/* Something that an earlier life, or a bug of it, may have left. */
static void keep_any(Input *in) {
        const char *name = input_text(in);
        int fds[2] = { -1, -1 };

        switch (input_choice(in, 4)) {
        case 0:
                fds[0] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
                break;
        case 1:
                fds[0] = memfd_create("any", MFD_CLOEXEC);
                break;
        case 2:
                fds[0] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
                break;
        default:
                HOLDS(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
        }
        HOLDS(fds[0] >= 0);
        if (*name && strlen(name) <= 200)
                (void) on_keep_fd(&host, name, fds[0]);
        closep(&fds[0]);
        closep(&fds[1]);
}

/* names */

static const char *take_name(Input *in) {
        static const char *const usual[] = { "vm", "a.c5", "6a1b1fd0-2b5c-4c2a-9d6e-0123456789ab" };
        unsigned i = input_choice(in, ARRAY_LEN(usual) + 1);

        return i < ARRAY_LEN(usual) ? usual[i] : input_text(in);
}

/* The path of a page, of its socket or of its state; NULL if that is none in its folder. */
static const char *path_of(const char *directory, const char *name, const char *suffix) {
        char relative[256];

        if (!*name || *name == '.' || strlen(name) > 100 || strchr(name, '/'))
                return NULL;
        (void) snprintf(relative, sizeof(relative), "%s/%s%s", directory, name, suffix);
        return folder_path(relative);
}

/* what the bus and the core ask for */

static void create(Input *in) {
        const char *name = take_name(in), *owner = input_text_if(in), *why = NULL;
        unsigned vectors = input_byte(in) % 20;
        int r = store_create(store, name, owner, vectors, input_byte(in) & 1, &why);

        HOLDS(r <= 0);
        HOLDS(r < 0 || (text_is_clean(name) && !strchr(name, '/') && *name != '.'));
}

static void load(Input *in) {
        const struct suspendd_setting setting = {
                .key = "Page", .value = input_text(in), .file = "f", .line = 1
        };

        (void) store_load(store, &setting, 1);
}

static void drift(Input *in) {
        int64_t now_ns = clock_now_ns(CLOCK_BOOTTIME);
        struct suspendd_drift d = {
                .size = sizeof(d),
                .phase = (enum suspendd_drift_phase) input_choice(in, SUSPENDD_DRIFT_MAX),
                .name = take_name(in),
                .uuid = input_text_if(in),
                .run = input_text_if(in),
                .cycle = input_byte(in),
                .is_seen = input_byte(in) & 1,
                .from_boottime_ns = now_ns - (int64_t) input_byte(in) * NSEC_PER_MSEC,
                .host_realtime_ns = clock_now_ns(CLOCK_REALTIME),
                .host_boottime_ns = now_ns,
        };

        d.to_boottime_ns =
                        MIN(d.from_boottime_ns + (int64_t) input_byte(in) * NSEC_PER_MSEC, now_ns);
        HOLDS(store_drift(store, &d) <= 1);
}

static void look(Input *in) {
        _cleanup_json_ JsonObject *pages = NULL;
        const JsonLimits limits = { .size_max = 1 << 20, .values_max = 10000, .depth_max = 8 };
        _cleanup_free_ char *list = store_list(store);
        struct suspendd_answer answer = { .size = sizeof(answer) };

        HOLDS(list && text_is_clean(list));
        HOLDS(json_bounded_parse(list, strlen(list), &limits, &pages) == 0);
        if (store_answer(store, take_name(in), NULL, &answer) <= 0)
                return;
        HOLDS(answer.applied_ns >= 0 && answer.refused_ns >= 0);
        HOLDS(answer.refused_ns <= answer.applied_ns);
}

/* what a page's owner and its guest do */

/* What he tries may well be refused. */
static void try(ssize_t result) {
        (void) result;
}

static void scribble(Input *in) {
        const char *path = path_of("pages", take_name(in), "");
        uint16_t at = (uint16_t) (input_byte(in) << 8 | input_byte(in));
        const char *bytes = input_text(in);
        int fd = path ? open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) : -1;

        if (fd < 0)
                return;
        try(pwrite(fd, bytes, strlen(bytes), at % PAGE_SIZE_BYTES));
        (void) close(fd);
}

/* Whole answers, for which single bytes would take long. */
static void answer(Input *in) {
        const char *path = path_of("pages", take_name(in), "");
        DriftAnswer a = { .magic = ANSWER_MAGIC };
        int fd = path ? open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) : -1;
        DriftRecord record;

        if (fd < 0)
                return;
        if (pread(fd, &record, sizeof(record), DRIFT_OFFSET) == sizeof(record) &&
            input_byte(in) & 1)
                a.epoch = record.epoch;
        a.applied_ns = input_number(in);
        a.refused_ns = input_number(in);
        a.corrects = input_byte(in);
        try(pwrite(fd, &a, sizeof(a), ANSWER_OFFSET));
        (void) close(fd);
}

static void spoil(Input *in) {
        const char *path = path_of(input_byte(in) & 1 ? "pages" : "page-state", take_name(in), "");
        unsigned how = input_choice(in, 6);

        if (!path)
                return;
        if (how == 0)
                try(truncate(path, (off_t) input_byte(in) * 512));
        if (how == 1)
                try(chmod(path, input_byte(in)));
        if (how >= 2)
                try(unlink(path));
        if (how == 3)
                try(symlink("vm", path));
        if (how == 4)
                try(mkfifo(path, 0600));
        if (how == 5)
                try(mkdir(path, 0700));
}

/* VMMs */

static void vmm_leave(Vmm *v) {
        closep(&v->fd);
        closep(&v->eventfd);
        *v = (Vmm){ .fd = -1, .eventfd = -1 };
}

static void vmm_join(Vmm *v, Input *in) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        const char *path = path_of("pages", take_name(in), ".sock");

        vmm_leave(v);
        if (!path || strlen(path) >= sizeof(address.sun_path))
                return;
        (void) strcpy(address.sun_path, path);
        v->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        HOLDS(v->fd >= 0);
        if (connect(v->fd, (struct sockaddr *) &address, sizeof(address)) < 0)
                vmm_leave(v);
}

static void vmm_check(Vmm *v, int64_t number, int fd) {
        if (v->n_told == 0)
                HOLDS(number == 0 && fd < 0);
        else if (v->n_told == 1)
                HOLDS(number >= 0 && number < DOORBELL_PEERS_MAX && fd < 0);
        else
                HOLDS(fd >= 0 && (v->n_told == 2) == (number == -1));
        v->n_told++;
        if (fd < 0)
                return;
        closep(&v->eventfd);
        v->eventfd = fd;
}

/* Reads one message. Returns: whether there was one. */
static bool vmm_read(Vmm *v) {
        union {
                struct cmsghdr header;
                char room[CMSG_SPACE(sizeof(int))];
        } control = { 0 };
        int64_t number = 0;
        struct iovec vector = { .iov_base = &number, .iov_len = sizeof(number) };
        struct msghdr m = { .msg_iov = &vector,
                            .msg_iovlen = 1,
                            .msg_control = &control,
                            .msg_controllen = sizeof(control) };
        int fd = -1;

        if (v->fd < 0 || recvmsg(v->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != sizeof(number))
                return false;
        if (m.msg_controllen > 0 && control.header.cmsg_type == SCM_RIGHTS)
                memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
        vmm_check(v, number, fd);
        return true;
}

/* Whoever writes to it now waits for ever. */
static void vmm_fill(Vmm *v) {
        const uint64_t full = UINT64_MAX - 1;
        uint64_t n;

        if (v->eventfd < 0)
                return;
        try(read(v->eventfd, &n, sizeof(n)));
        if (write(v->eventfd, &full, sizeof(full)) == sizeof(full))
                try(fcntl(v->eventfd, F_SETFL, 0));
}

static void vmm_act(Vmm *v, Input *in) {
        const char *text;

        switch (input_choice(in, 6)) {
        case 0:
                vmm_join(v, in);
                break;
        case 1:
                vmm_leave(v);
                break;
        case 2:
                text = input_text(in);
                if (v->fd >= 0)
                        (void) send(v->fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL);
                break;
        case 3:
                if (v->fd >= 0)
                        (void) shutdown(v->fd, (int) input_choice(in, 3));
                break;
        case 4:
                vmm_fill(v);
                break;
        default:
                while (vmm_read(v))
                        ;
        }
}

/* all of it */

static void step(Input *in) {
        const char *why = NULL, *name;

        switch (input_choice(in, 12)) {
        case 0:
                create(in);
                break;
        case 1:
                name = take_name(in);
                (void) store_remove(store, name, input_byte(in) & 1, &why);
                break;
        case 2:
                load(in);
                break;
        case 3:
        case 4:
                drift(in);
                break;
        case 5:
                look(in);
                break;
        case 6:
                scribble(in);
                break;
        case 7:
                answer(in);
                break;
        case 8:
                spoil(in);
                break;
        case 9:
                keep_any(in);
                break;
        case 10:
                life_again();
                break;
        default:
                vmm_act(&vmms[input_choice(in, CLIENTS_MAX)], in);
        }
}

static size_t count_fds(void) {
        DIR *d = opendir("/proc/self/fd");
        size_t n = 0;

        HOLDS(d);
        while (readdir(d)) /* NOLINT(concurrency-mt-unsafe) */
                n++;
        (void) closedir(d);
        return n;
}

static void begin(void) {
        folder_make();
        host = (struct suspendd_host){
                .abi = SUSPENDD_PLUGIN_ABI,
                .size = sizeof(host),
                .enumerated = on_enumerated,
                .keep_fd = on_keep_fd,
                .drop_fd = on_drop_fd,
                .log = on_log,
        };
        HOLDS(sd_event_new(&host.event) >= 0);
        for (size_t i = 0; i < KEPT_MAX; i++)
                kept[i] = (KeptFdCopy){ .fd = -1 };
        for (size_t i = 0; i < CLIENTS_MAX; i++)
                vmms[i] = (Vmm){ .fd = -1, .eventfd = -1 };
        life_begin();
}

static void end(void) {
        for (size_t i = 0; i < CLIENTS_MAX; i++)
                vmm_leave(&vmms[i]);
        store = store_free(store);
        host.event = sd_event_unref(host.event);
        while (kept[0].name) {
                (void) close(kept[0].fd);
                kept_remove(0);
        }
        folder_empty();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        Input in = input_begin(data, size);
        size_t n_fds;

        if (!bell)
                HOLDS(bell_new_one(&bell) == 0);
        n_fds = count_fds();
        begin();
        for (unsigned i = 0; i < STEPS_MAX && !input_is_over(&in); i++) {
                step(&in);
                while (sd_event_run(host.event, 0) > 0)
                        ;
        }
        end();
        HOLDS(count_fds() == n_fds);
        input_done(&in);
        return 0;
}
