/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A page's doorbell before clients that do as they should, and before those that do not. */

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "common/clock-sample.h"
#include "common/macro.h"
#include "common/page-layout.h"
#include "common/time-util.h"
#include "fake-host.h"
#include "ivshmem-client.h"
#include "plugins/page/doorbell.h"

#define NAME "vm.c5" /* a page may be called so */
#define N_VECTORS 2
#define N_GREETING (3 + N_VECTORS)
#define NOBODY 65534

static FakeHost fake;
static Doorbells *all;
static Doorbell *doorbell;
static char directory[32], path[64];
static int page_fd;
static Client clients[DOORBELL_PEERS_MAX + 1];

/* set up */

static void begin(void) {
        ck_assert_int_eq(doorbells_new(&fake.host, directory, &all), 0);
}

static void open_doorbell(void) {
        ck_assert_int_eq(doorbell_new(all, NAME, page_fd, geteuid(), N_VECTORS, &doorbell), 0);
}

static void set_up(void) {
        (void) strcpy(directory, "/tmp/test-page-XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(directory));
        (void) snprintf(path, sizeof(path), "%s/%s.sock", directory, NAME);
        page_fd = memfd_create("page", MFD_CLOEXEC);
        ck_assert_int_eq(ftruncate(page_fd, PAGE_SIZE_BYTES), 0);
        for (size_t i = 0; i < ARRAY_LEN(clients); i++)
                client_init(clients + i, -1);
        fake_host_init(&fake);
        begin();
        open_doorbell();
}

static void tear_down(void) {
        char command[128];

        for (size_t i = 0; i < ARRAY_LEN(clients); i++)
                client_done(clients + i);
        doorbell = doorbell_free(doorbell);
        all = doorbells_free(all);
        fake_host_done(&fake);
        (void) close(page_fd);
        (void) snprintf(command, sizeof(command), "rm -r %s", directory);
        ck_assert_int_eq(system(command), 0);
}

/* Ends the daemon's life, and begins another with what was kept; pages are not there yet. */
static void live_again(void) {
        doorbell = doorbell_free(doorbell);
        all = doorbells_free(all);
        begin();
        for (size_t i = 0; i < fake.n_kept; i++) {
                int fd = fcntl(fake.kept[i].fd, F_DUPFD_CLOEXEC, 0);

                ck_assert_int_ge(fd, 0);
                ck_assert(doorbells_restore(all, fake.kept[i].name, fd));
        }
}

static void turn(void) {
        for (int i = 0; i < 8; i++)
                fake_host_turn(&fake, 0);
}

static Client *join(unsigned i) {
        Client *c = clients + i;

        ck_assert_int_eq(client_connect(c, path), 0);
        FAKE_HOST_WAIT(&fake, (client_read(c), c->n_messages == N_GREETING));
        return c;
}

static bool is_quick(void) {
        return getenv("SUSPENDD_TEST_QUICK"); /* NOLINT(concurrency-mt-unsafe) */
}

static size_t count_fds(void) {
        DIR *d = opendir("/proc/self/fd");
        size_t n = 0;

        ck_assert_ptr_nonnull(d);
        while (readdir(d)) /* NOLINT(concurrency-mt-unsafe) */
                n++;
        (void) closedir(d);
        return n;
}

/* what is told */

START_TEST(test_greeting_byte_for_byte) {
        static const uint8_t expected[N_GREETING][8] = {
                { 0 }, { 0 }, { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff }, { 0 }, { 0 },
        };
        Client *c = join(0);

        turn();
        client_read(c);
        ck_assert_uint_eq(c->n_messages, N_GREETING);
        for (size_t i = 0; i < N_GREETING; i++) {
                ck_assert_mem_eq(c->messages[i].bytes, expected[i], 8);
                ck_assert_int_eq(c->messages[i].fd >= 0, i >= 2);
        }
        ck_assert(!c->is_over);
}
END_TEST

START_TEST(test_memory_is_the_page) {
        Client *c = join(0);
        char *ours = mmap(NULL, PAGE_SIZE_BYTES, PROT_READ, MAP_SHARED, page_fd, 0);
        char *theirs =
                        mmap(NULL,
                             PAGE_SIZE_BYTES,
                             PROT_READ | PROT_WRITE,
                             MAP_SHARED,
                             c->messages[2].fd,
                             0);

        ck_assert(ours != MAP_FAILED && theirs != MAP_FAILED);
        theirs[ANSWER_OFFSET] = 'x';
        ck_assert_int_eq(ours[ANSWER_OFFSET], 'x');
        (void) munmap(ours, PAGE_SIZE_BYTES);
        (void) munmap(theirs, PAGE_SIZE_BYTES);
}
END_TEST

START_TEST(test_client_cannot_change_how_the_page_is_written) {
        Client *c = join(0);

        ck_assert_int_eq(fcntl(c->messages[2].fd, F_SETFL, O_APPEND), 0);
        ck_assert_int_eq(fcntl(page_fd, F_GETFL) & O_APPEND, 0);
}
END_TEST

START_TEST(test_peers_are_not_told_of_each_other) {
        Client *a = join(0), *b = join(1);

        ck_assert_int_eq(client_id(a), 0);
        ck_assert_int_eq(client_id(b), 1);
        client_done(b);
        FAKE_HOST_WAIT(&fake, doorbell_n_peers(doorbell) == 1);
        client_read(a);
        ck_assert_uint_eq(a->n_messages, N_GREETING);
}
END_TEST

START_TEST(test_number_of_who_left_is_given_again) {
        (void) join(0);
        (void) join(1);
        client_done(clients);
        FAKE_HOST_WAIT(&fake, doorbell_n_peers(doorbell) == 1);
        ck_assert_int_eq(client_id(join(2)), 0);
        ck_assert_int_eq(client_id(join(3)), 2);
}
END_TEST

START_TEST(test_ring_reaches_vector_0_of_each) {
        Client *a = join(0), *b = join(1);

        doorbell_ring(doorbell);
        doorbell_ring(doorbell);
        ck_assert_uint_eq(client_take_rings(a, 1), 0);
        ck_assert_uint_eq(client_take_rings(a, 0), 2);
        ck_assert_uint_eq(client_take_rings(b, 0), 2);
        doorbell_ring(doorbell);
        ck_assert_uint_eq(client_take_rings(a, 0), 1);
}
END_TEST

/* who may come */

START_TEST(test_socket_is_its_owners_alone) {
        struct stat st;

        ck_assert_int_eq(lstat(path, &st), 0);
        ck_assert_uint_eq(st.st_mode, S_IFSOCK | 0600);
        ck_assert_uint_eq(st.st_uid, geteuid());
}
END_TEST

/* Connects as that user, with root's group if he may have it. Returns: 0 if its greeting came; else the errno, or 255 if it was hung up on. */
static int connect_as(uid_t uid) {
        pid_t pid = fork();
        int status;

        ck_assert_int_ge(pid, 0);
        if (pid == 0) {
                char byte;
                Client c;
                int r;

                if (setresuid(uid, uid, uid) < 0)
                        _exit(254);
                r = client_connect(&c, path);
                if (r < 0)
                        _exit(-r);
                (void) fcntl(c.fd, F_SETFL, 0);
                _exit(recv(c.fd, &byte, 1, 0) == 1 ? 0 : 255);
        }
        while (waitpid(pid, &status, WNOHANG) == 0)
                fake_host_turn(&fake, 10000);
        return WEXITSTATUS(status);
}

START_TEST(test_other_users_are_turned_away) {
        if (geteuid() != 0)
                return;
        ck_assert_int_eq(chmod(directory, 0755), 0);
        ck_assert_int_eq(connect_as(NOBODY), EACCES);
        ck_assert_int_eq(chmod(path, 0666), 0); /* and where the file system would let them in */
        ck_assert_int_eq(connect_as(NOBODY), 255);
        ck_assert_uint_eq(fake.n_warnings, 1);
        ck_assert_int_eq(connect_as(0), 0);
        doorbell = doorbell_remove(doorbell);
        ck_assert_int_eq(doorbell_new(all, NAME, page_fd, NOBODY, 1, &doorbell), 0);
        ck_assert_int_eq(connect_as(NOBODY), 0);
        ck_assert_int_eq(connect_as(NOBODY - 1), EACCES);
        ck_assert_int_eq(connect_as(0), 0);
}
END_TEST

START_TEST(test_as_many_as_may_come_and_no_more) {
        Client *late = clients + DOORBELL_PEERS_MAX;

        for (unsigned i = 0; i < DOORBELL_PEERS_MAX; i++)
                (void) join(i);
        ck_assert_int_eq(client_connect(late, path), 0);
        FAKE_HOST_WAIT(&fake, (client_read(late), late->is_over));
        ck_assert_uint_eq(late->n_messages, 0);
        client_done(late);
        doorbell_ring(doorbell);
        for (unsigned i = 0; i < DOORBELL_PEERS_MAX; i++)
                ck_assert_uint_eq(client_take_rings(clients + i, 0), 1);

        client_done(clients + 3);
        FAKE_HOST_WAIT(&fake, doorbell_n_peers(doorbell) == DOORBELL_PEERS_MAX - 1);
        ck_assert_int_eq(client_id(join(3)), 3);
}
END_TEST

START_TEST(test_socket_left_behind_is_replaced) {
        doorbell = doorbell_free(doorbell);
        fake_host_done(&fake);
        fake_host_init(&fake);
        all = doorbells_free(all);
        begin();
        ck_assert_int_eq(client_connect(clients, path), -ECONNREFUSED);
        open_doorbell();
        (void) join(0);
}
END_TEST

START_TEST(test_path_that_nobody_could_connect_to_is_refused) {
        Doorbell *other = NULL;
        char name[101];

        memset(name, 'n', 100);
        name[100] = '\0';
        ck_assert_int_eq(doorbell_new(all, name, page_fd, geteuid(), 1, &other), -ENAMETOOLONG);
        ck_assert_int_eq(doorbell_new(all, "x", page_fd, geteuid(), 0, &other), -EINVAL);
        ck_assert_int_eq(
                        doorbell_new(all, "x", page_fd, geteuid(), PEER_VECTORS_MAX + 1, &other),
                        -EINVAL);
}
END_TEST

START_TEST(test_removed_page_leaves_nothing) {
        size_t n_fds = count_fds();
        Client *c = join(0);
        int late = dup(fake_host_kept(&fake, NAME ".c0")); /* whoever keeps it takes his time */

        doorbell = doorbell_remove(doorbell);
        ck_assert_uint_eq(fake.n_kept, 0);
        ck_assert_int_eq(access(path, F_OK), -1);
        client_read(c);
        ck_assert(c->is_over);
        client_done(c);
        (void) close(late);
        open_doorbell();
        ck_assert_uint_eq(count_fds(), n_fds);
}
END_TEST

/* hostile */

START_TEST(test_ring_does_not_wait_for_a_full_eventfd) {
        Client *c = join(0), *other = join(1);
        uint64_t most = UINT64_MAX - 1;

        /* the flags are of the opening, which is theirs as well as ours */
        ck_assert_int_eq(write(client_vector(c, 0), &most, sizeof(most)), sizeof(most));
        ck_assert_int_eq(fcntl(client_vector(c, 0), F_SETFL, 0), 0);
        (void) alarm(5);
        for (int i = 0; i < 3; i++)
                doorbell_ring(doorbell);
        (void) alarm(0);
        ck_assert_uint_eq(client_take_rings(other, 0), 3);
        ck_assert_uint_eq(fake.n_warnings, 0);
}
END_TEST

/* The rest of this process has no io_setup(), as if somebody had taken all that there is of it. */
static void lose_asynchronous_io(void) {
        struct sock_filter code[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_setup, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAGAIN),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        const struct sock_fprog program = { .len = ARRAY_LEN(code), .filter = code };

        ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

START_TEST(test_pages_are_there_where_others_have_taken_all_asynchronous_io) {
        Client *c;

        lose_asynchronous_io();
        live_again();
        open_doorbell();
        c = join(0);
        doorbell_ring(doorbell);
        ck_assert_uint_eq(client_take_rings(c, 0), 0);
        ck_assert_uint_eq(fake.n_warnings, 1);
}
END_TEST

/* The loop opens a descriptor of its own for its first timer. */
static void warm_up(void) {
        sd_event_source *s = NULL;

        ck_assert_int_ge(
                        sd_event_add_time_relative(
                                        fake.host.event, &s, CLOCK_MONOTONIC, 0, 1, NULL, NULL),
                        0);
        sd_event_source_disable_unref(s);
}

/* Comes, and goes in one of four ways; the last at the next one's coming. */
static void come_and_go(Client *c, int way) {
        client_done(c);
        FAKE_HOST_WAIT(&fake, client_connect(c, path) == 0);
        switch (way) {
        case 0: /* before it is looked at */
                client_done(c);
                break;
        case 1: /* having said something */
                ck_assert_int_eq(send(c->fd, "hello", 5, 0), 5);
                client_done(c);
                break;
        case 2: /* in the middle of its greeting */
                FAKE_HOST_WAIT(&fake, (client_read(c), c->n_messages > 0));
                client_done(c);
                break;
        default: /* having said nothing, and read nothing */
                FAKE_HOST_WAIT(&fake, doorbell_n_peers(doorbell) > 0);
                break;
        }
}

START_TEST(test_thousand_clients_leave_no_descriptor) {
        size_t n_fds, n_kept = fake.n_kept;

        warm_up();
        n_fds = count_fds();
        for (int i = 0; i < (is_quick() ? 200 : 1000); i++)
                come_and_go(clients + i % 2, i % 4);
        client_done(clients);
        client_done(clients + 1);
        (void) join(2);
        client_done(clients + 2);
        FAKE_HOST_WAIT(&fake, doorbell_n_peers(doorbell) == 0);
        ck_assert_uint_eq(count_fds(), n_fds);
        ck_assert_uint_eq(fake.n_kept, n_kept);
}
END_TEST

START_TEST(test_flood_is_not_read_and_costs_no_turn) {
        Client *c = join(0), *other = join(1);
        char junk[4096] = { 1 };
        ssize_t sent, total = 0;

        while ((sent = send(c->fd, junk, sizeof(junk), MSG_DONTWAIT)) > 0)
                total += sent;
        ck_assert_int_gt(total, 0);
        ck_assert_int_lt(total, 16 * 1024 * 1024);
        turn();
        ck_assert_int_eq(sd_event_run(fake.host.event, 0), 0); /* nothing is there to do */
        doorbell_ring(doorbell);
        ck_assert_uint_eq(client_take_rings(c, 0), 1);
        ck_assert_uint_eq(client_take_rings(other, 0), 1);
        client_done(c);
        FAKE_HOST_WAIT(&fake, doorbell_n_peers(doorbell) == 1);
}
END_TEST

START_TEST(test_client_that_ends_its_own_sending_is_still_there) {
        Client *c = join(0);

        ck_assert_int_eq(shutdown(c->fd, SHUT_WR), 0);
        turn();
        ck_assert_int_eq(sd_event_run(fake.host.event, 0), 0);
        ck_assert_uint_eq(doorbell_n_peers(doorbell), 1);
        doorbell_ring(doorbell);
        ck_assert_uint_eq(client_take_rings(c, 0), 1);
}
END_TEST

/* How many turns of the loop that had something to do there are in that time. */
static unsigned count_turns(uint64_t usec) {
        uint64_t until = clock_now_usec(CLOCK_MONOTONIC) + usec, now;
        unsigned n = 0;

        while ((now = clock_now_usec(CLOCK_MONOTONIC)) < until)
                n += sd_event_run(fake.host.event, until - now) > 0;
        return n;
}

START_TEST(test_lack_of_descriptors_does_not_spin) {
        struct rlimit limit, none;
        Client *c = clients;
        uint64_t began;

        ck_assert_int_eq(client_connect(c, path), 0);
        ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
        none = (struct rlimit){ .rlim_cur = 3, .rlim_max = limit.rlim_max };
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
        ck_assert_uint_lt(count_turns(USEC_PER_SEC), 10);
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        if (is_quick())
                return; /* valgrind acts the limit out by taking the connection, and losing it */
        FAKE_HOST_WAIT(&fake, (client_read(c), c->n_messages == N_GREETING));
        began = clock_now_usec(CLOCK_MONOTONIC);
        for (unsigned i = 1; i < 5; i++)
                (void) join(i); /* and at once again */
        ck_assert_uint_lt(clock_now_usec(CLOCK_MONOTONIC) - began, 2 * USEC_PER_SEC);
}
END_TEST

START_TEST(test_one_who_comes_again_and_again_is_held_up) {
        uint64_t until = clock_now_usec(CLOCK_MONOTONIC) + USEC_PER_SEC;
        unsigned n_before = fake.n_keeps, n;

        while (clock_now_usec(CLOCK_MONOTONIC) < until) {
                Client c;

                (void) client_connect(&c, path);
                turn();
                client_done(&c);
        }
        n = fake.n_keeps - n_before; /* an eventfd of each, and mostly a connection */
        ck_assert_uint_ge(n, 50);
        ck_assert_uint_le(n, 400); /* a second has parts of two */
        FAKE_HOST_WAIT(&fake, client_connect(clients, path) == 0);
        FAKE_HOST_WAIT(&fake, (client_read(clients), clients[0].n_messages == N_GREETING));
}
END_TEST

/* One whose socket takes no more is told the rest when it does. */
typedef struct Told {
        unsigned n_greeted, n_ended;
} Told;

static void on_greeted(void *userdata, Peer *p) {
        Told *t = userdata;

        (void) p;
        t->n_greeted++;
}

static void on_end(void *userdata, Peer *p) {
        Told *t = userdata;

        (void) p;
        t->n_ended++;
}

static Peer *peer_with_small_socket(Told *told, Client *c, PeerGreeting *greeting) {
        static const PeerOps ops = { .on_greeted = on_greeted, .on_end = on_end };
        int pair[2], size = 1, event = dup(page_fd);
        Peer *p;

        ck_assert_int_eq(
                        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair),
                        0);
        ck_assert_int_eq(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
        client_init(c, pair[1]);
        *greeting = (PeerGreeting){ .memory_fd = page_fd, .n_vectors = PEER_VECTORS_MAX };
        ck_assert_int_eq(peer_new(fake.host.event, 0x1234, pair[0], event, &ops, told, &p), 0);
        ck_assert_int_eq(peer_greet(p, greeting), 0);
        ck_assert_uint_eq(told->n_greeted, 0);
        return p;
}

START_TEST(test_full_socket_is_told_the_rest_later) {
        Client *c = clients;
        Told told = { 0 };
        PeerGreeting greeting;
        Peer *p = peer_with_small_socket(&told, c, &greeting);

        ck_assert_uint_lt(count_turns(100 * USEC_PER_MSEC), 3); /* it does not spin either */
        FAKE_HOST_WAIT(&fake, (client_read(c), told.n_greeted == 1));
        client_read(c);
        ck_assert_uint_eq(c->n_messages, 3 + PEER_VECTORS_MAX);
        for (size_t i = 0; i < c->n_messages; i++) {
                ck_assert_int_eq(client_number(c, i), i == 0 ? 0 : i == 2 ? -1 : 0x1234);
                ck_assert_int_eq(c->messages[i].fd >= 0, i >= 2);
        }
        ck_assert_uint_eq(told.n_ended, 0);
        peer_free(p);
}
END_TEST

START_TEST(test_full_socket_that_goes_is_seen_to) {
        Client *c = clients;
        Told told = { 0 };
        PeerGreeting greeting;
        Peer *p = peer_with_small_socket(&told, c, &greeting);

        client_done(c);
        FAKE_HOST_WAIT(&fake, told.n_ended == 1);
        ck_assert_uint_eq(told.n_greeted, 0);
        peer_free(p);
}
END_TEST

/* another life */

START_TEST(test_next_life_rings_the_same_eventfds) {
        Client *a = join(0), *b = join(1);

        doorbell_ring(doorbell);
        live_again();
        open_doorbell();
        ck_assert_uint_eq(doorbell_n_peers(doorbell), 2);
        doorbell_ring(doorbell);
        ck_assert_uint_eq(client_take_rings(a, 0), 2);
        ck_assert_uint_eq(client_take_rings(b, 0), 2);
        turn();
        client_read(a);
        ck_assert_uint_eq(a->n_messages, N_GREETING); /* nothing more was told */
        ck_assert(!a->is_over);
        ck_assert_int_eq(send(a->fd, "hello", 5, 0), 5);
        ck_assert_int_eq(sd_event_run(fake.host.event, 0), 0); /* nor is anything read */

        client_done(a);
        FAKE_HOST_WAIT(&fake, doorbell_n_peers(doorbell) == 1);
        ck_assert_int_eq(client_id(join(2)), 0);
        ck_assert_int_eq(client_id(join(3)), 2);
}
END_TEST

START_TEST(test_lives_do_not_pile_up_descriptors) {
        size_t n_fds, n_kept;

        (void) join(0);
        live_again();
        open_doorbell();
        n_fds = count_fds();
        n_kept = fake.n_kept;
        for (int i = 0; i < 5; i++) {
                live_again();
                open_doorbell();
                doorbells_settle(all);
        }
        ck_assert_uint_eq(count_fds(), n_fds);
        ck_assert_uint_eq(fake.n_kept, n_kept);
        ck_assert_uint_eq(n_kept, 3);
}
END_TEST

START_TEST(test_who_comes_between_two_lives_is_let_in) {
        doorbell = doorbell_free(doorbell);
        ck_assert_int_eq(client_connect(clients, path), 0);
        live_again();
        open_doorbell();
        FAKE_HOST_WAIT(&fake, (client_read(clients), clients[0].n_messages == N_GREETING));
}
END_TEST

START_TEST(test_who_goes_between_two_lives_is_missed) {
        (void) join(0);
        doorbell = doorbell_free(doorbell);
        client_done(clients);
        live_again();
        open_doorbell();
        FAKE_HOST_WAIT(&fake, doorbell_n_peers(doorbell) == 0);
        ck_assert_uint_eq(fake.n_kept, 1);
}
END_TEST

START_TEST(test_halves_of_a_peer_are_given_up) {
        Client *a = join(0), *b = join(1);

        fake.host.drop_fd(&fake.host, NAME ".e0");
        fake.host.drop_fd(&fake.host, NAME ".c1");
        live_again();
        open_doorbell();
        ck_assert_uint_eq(doorbell_n_peers(doorbell), 0);
        ck_assert_uint_eq(fake.n_kept, 1);
        client_read(a);
        client_read(b);
        ck_assert(a->is_over && b->is_over);
}
END_TEST

START_TEST(test_pages_that_are_gone_are_given_up) {
        size_t n_fds;

        (void) join(0);
        live_again();
        n_fds = count_fds();
        doorbells_settle(all);
        ck_assert_uint_eq(fake.n_kept, 0);
        ck_assert_uint_eq(count_fds(), n_fds - 6); /* three here, and three that were kept */
}
END_TEST

START_TEST(test_socket_that_was_deleted_is_made_anew) {
        ck_assert_int_eq(unlink(path), 0);
        live_again();
        open_doorbell();
        (void) join(0);
        ck_assert_uint_eq(fake.n_kept, 3);
}
END_TEST

START_TEST(test_only_our_names_are_taken) {
        static const char *const others[] = {
                "",          "s",
                ".s",        "vm",
                "vm.",       "vm.x",
                "vm.c",      "vm.e",
                "vm.c65536", "vm.c1x",
                "vm.c-1",    "vm.s1",
                "vm.c 1",    "vm.c99999999999999999999",
                "vm.e5.x",
        };

        for (size_t i = 0; i < ARRAY_LEN(others); i++)
                ck_assert_msg(!doorbells_restore(all, others[i], -1), "%s", others[i]);
        ck_assert(doorbells_restore(all, "vm.c1.e65535", -1));
        ck_assert_int_eq(kept_take(all->kept, "vm", KEPT_CONNECTION, 1), -ENOENT);
        ck_assert_int_eq(kept_take(all->kept, "vm.c1", KEPT_CONNECTION, 65535), -ENOENT);
        ck_assert_int_eq(kept_take(all->kept, "vm.c1", KEPT_EVENTFD, 65535), -1);
}
END_TEST

START_TEST(test_without_anybody_who_keeps_it_rings_all_the_same) {
        doorbell = doorbell_remove(doorbell);
        fake.keep_error = -EOPNOTSUPP;
        open_doorbell();
        (void) join(0);
        doorbell_ring(doorbell);
        ck_assert_uint_eq(client_take_rings(clients, 0), 1);
        ck_assert_uint_eq(fake.n_warnings, 0);

        fake.keep_error = -ENOSPC;
        (void) join(1);
        (void) join(2);
        ck_assert_uint_eq(fake.n_warnings, 1); /* said once */
}
END_TEST

static Suite *suite(void) {
        Suite *s = suite_create("page-doorbell");
        TCase *told = tcase_create("told"), *coming = tcase_create("coming");
        TCase *hostile = tcase_create("hostile"), *lives = tcase_create("lives");

        tcase_add_checked_fixture(told, set_up, tear_down);
        tcase_add_test(told, test_greeting_byte_for_byte);
        tcase_add_test(told, test_memory_is_the_page);
        tcase_add_test(told, test_client_cannot_change_how_the_page_is_written);
        tcase_add_test(told, test_peers_are_not_told_of_each_other);
        tcase_add_test(told, test_number_of_who_left_is_given_again);
        tcase_add_test(told, test_ring_reaches_vector_0_of_each);
        suite_add_tcase(s, told);

        tcase_add_checked_fixture(coming, set_up, tear_down);
        tcase_add_test(coming, test_socket_is_its_owners_alone);
        tcase_add_test(coming, test_other_users_are_turned_away);
        tcase_add_test(coming, test_as_many_as_may_come_and_no_more);
        tcase_add_test(coming, test_socket_left_behind_is_replaced);
        tcase_add_test(coming, test_path_that_nobody_could_connect_to_is_refused);
        tcase_add_test(coming, test_removed_page_leaves_nothing);
        suite_add_tcase(s, coming);

        tcase_add_checked_fixture(hostile, set_up, tear_down);
        tcase_set_timeout(hostile, 60);
        tcase_add_test(hostile, test_ring_does_not_wait_for_a_full_eventfd);
        tcase_add_test(hostile, test_pages_are_there_where_others_have_taken_all_asynchronous_io);
        tcase_add_test(hostile, test_thousand_clients_leave_no_descriptor);
        tcase_add_test(hostile, test_flood_is_not_read_and_costs_no_turn);
        tcase_add_test(hostile, test_client_that_ends_its_own_sending_is_still_there);
        tcase_add_test(hostile, test_lack_of_descriptors_does_not_spin);
        tcase_add_test(hostile, test_one_who_comes_again_and_again_is_held_up);
        tcase_add_test(hostile, test_full_socket_is_told_the_rest_later);
        tcase_add_test(hostile, test_full_socket_that_goes_is_seen_to);
        suite_add_tcase(s, hostile);

        tcase_add_checked_fixture(lives, set_up, tear_down);
        tcase_add_test(lives, test_next_life_rings_the_same_eventfds);
        tcase_add_test(lives, test_lives_do_not_pile_up_descriptors);
        tcase_add_test(lives, test_who_comes_between_two_lives_is_let_in);
        tcase_add_test(lives, test_who_goes_between_two_lives_is_missed);
        tcase_add_test(lives, test_halves_of_a_peer_are_given_up);
        tcase_add_test(lives, test_pages_that_are_gone_are_given_up);
        tcase_add_test(lives, test_socket_that_was_deleted_is_made_anew);
        tcase_add_test(lives, test_only_our_names_are_taken);
        tcase_add_test(lives, test_without_anybody_who_keeps_it_rings_all_the_same);
        suite_add_tcase(s, lives);
        return s;
}

int main(void) {
        SRunner *sr = srunner_create(suite());
        int n_failed;

        srunner_run_all(sr, CK_ENV);
        n_failed = srunner_ntests_failed(sr);
        srunner_free(sr);
        return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
