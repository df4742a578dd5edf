/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * libvirt-floor URI PREFIX [CONNECTIONS [THREADS]]
 *
 * The least that stopping N domains through libvirt can cost: virDomainSuspend() and
 * virDomainResume() on all active domains whose names begin with PREFIX, from CONNECTIONS (4)
 * connections with THREADS (5) threads each, and nothing else: no state is looked at. The connections,
 * the domains and the threads are there before the first command. By its default libvirtd works on five
 * calls of a client at a time (max_client_requests), with 20 threads for all. A connection beside them
 * only sees the events come, whoever acts. On stdin:
 *
 *   stop | cont            acts, and prints "done N ELAPSED_NS LAST_NS": on how many domains it succeeded,
 *                          and the time from before the first call until the last had returned, and
 *                          until the last event had come
 *   clear                  forgets the events up to now
 *   last STOP | RESUME     prints "last N LAST_NS": how many such events came since, and when the last did,
 *                          by CLOCK_MONOTONIC
 */

#include <errno.h>
#include <libvirt/libvirt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CONNECTIONS_MAX 64
#define THREADS_MAX 64
#define EVENTS_SECONDS 5

typedef int (*Act)(virDomainPtr);

typedef struct Client Client;

/* A connection with the domains that are its share: every CONNECTIONSth. */
typedef struct Connection {
        Client *client;
        virConnectPtr libvirt;
        virDomainPtr *domains;
        size_t n_domains;
        size_t n_taken;
} Connection;

struct Client {
        Connection connections[CONNECTIONS_MAX];
        size_t n_connections;
        size_t n_domains;
        size_t n_working;
        size_t n_done;
        unsigned round;
        Act act;
        pthread_mutex_t lock;
        pthread_cond_t begun;
        pthread_cond_t over;
};

static long long now_ns(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* what the events say */

typedef struct Seen {
        size_t n;
        long long last_ns;
} Seen;

static struct {
        pthread_mutex_t lock;
        pthread_cond_t more;
        Seen stopped, resumed;
} seen = { .lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER };

static int on_lifecycle(
                virConnectPtr conn, virDomainPtr domain, int event, int detail, void *userdata) {
        Seen *s = event == VIR_DOMAIN_EVENT_SUSPENDED ? &seen.stopped
                  : event == VIR_DOMAIN_EVENT_RESUMED ? &seen.resumed
                                                      : NULL;

        (void) conn;
        (void) domain;
        (void) detail;
        (void) userdata;
        if (!s)
                return 0;
        (void) pthread_mutex_lock(&seen.lock);
        s->n++;
        s->last_ns = now_ns();
        (void) pthread_cond_broadcast(&seen.more);
        (void) pthread_mutex_unlock(&seen.lock);
        return 0;
}

static void *watch_run(void *userdata) {
        (void) userdata;
        while (virEventRunDefaultImpl() >= 0)
                ;
        return NULL;
}

/* Behind the other connections, which so do without an event loop. */
static int watch(const char *uri) {
        virConnectPtr conn;
        pthread_t thread;

        if (virEventRegisterDefaultImpl() < 0 ||
            pthread_create(&thread, NULL, watch_run, NULL) != 0)
                return -EIO;
        (void) pthread_detach(thread);
        conn = virConnectOpen(uri);
        if (!conn || virConnectDomainEventRegisterAny(
                                     conn,
                                     NULL,
                                     VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                                     VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle),
                                     NULL,
                                     NULL) < 0)
                return -ECONNREFUSED;
        return 0;
}

static void seen_clear(void) {
        (void) pthread_mutex_lock(&seen.lock);
        seen.stopped = seen.resumed = (Seen){ 0 };
        (void) pthread_mutex_unlock(&seen.lock);
}

/* Waits until @n events have come, for EVENTS_SECONDS at most. */
static Seen seen_await(const Seen *s, size_t n) {
        struct timespec until;
        Seen now;

        (void) clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += EVENTS_SECONDS;
        (void) pthread_mutex_lock(&seen.lock);
        while (s->n < n && pthread_cond_timedwait(&seen.more, &seen.lock, &until) == 0)
                ;
        now = *s;
        (void) pthread_mutex_unlock(&seen.lock);
        return now;
}

static void seen_print(const Seen *s) {
        Seen now = seen_await(s, 0);

        printf("last %zu %lld\n", now.n, now.last_ns);
}

/* acting */

/* Acts on domains of the connection as long as there are any that no other thread took. */
static size_t connection_act(Connection *c, Act act) {
        size_t n_done = 0;

        for (;;) {
                size_t i = __atomic_fetch_add(&c->n_taken, 1, __ATOMIC_RELAXED);

                if (i >= c->n_domains)
                        return n_done;
                n_done += act(c->domains[i]) == 0;
        }
}

static void *thread_run(void *userdata) {
        Connection *c = userdata;
        Client *client = c->client;
        unsigned round = 0;

        (void) pthread_mutex_lock(&client->lock);
        for (;;) {
                size_t n_done;

                while (client->round == round)
                        (void) pthread_cond_wait(&client->begun, &client->lock);
                round = client->round;
                (void) pthread_mutex_unlock(&client->lock);

                n_done = connection_act(c, client->act);

                (void) pthread_mutex_lock(&client->lock);
                client->n_done += n_done;
                if (--client->n_working == 0)
                        (void) pthread_cond_signal(&client->over);
        }
        return NULL;
}

static void client_act(Client *client, Act act, size_t n_threads) {
        const Seen *s = act == virDomainSuspend ? &seen.stopped : &seen.resumed;
        long long start_ns, end_ns;

        seen_clear();
        for (size_t i = 0; i < client->n_connections; i++)
                client->connections[i].n_taken = 0;
        start_ns = now_ns();

        (void) pthread_mutex_lock(&client->lock);
        client->act = act;
        client->n_done = 0;
        client->n_working = client->n_connections * n_threads;
        client->round++;
        (void) pthread_cond_broadcast(&client->begun);
        while (client->n_working > 0)
                (void) pthread_cond_wait(&client->over, &client->lock);
        (void) pthread_mutex_unlock(&client->lock);

        end_ns = now_ns();
        printf("done %zu %lld %lld\n",
               client->n_done,
               end_ns - start_ns,
               seen_await(s, client->n_done).last_ns - start_ns);
}

/* The domains of the connection that are its share, of those that have the prefix. */
static int connection_find(Connection *c, const char *prefix, size_t share) {
        Client *client = c->client;
        virDomainPtr *all = NULL;
        size_t n_found = 0;
        int n;

        n = virConnectListAllDomains(c->libvirt, &all, VIR_CONNECT_LIST_DOMAINS_ACTIVE);
        if (n < 0)
                return -EIO;
        c->domains = calloc((size_t) n + 1, sizeof(virDomainPtr));
        if (!c->domains)
                return -ENOMEM;
        for (int i = 0; i < n; i++)
                if (strncmp(virDomainGetName(all[i]), prefix, strlen(prefix)) == 0 &&
                    n_found++ % client->n_connections == share)
                        c->domains[c->n_domains++] = all[i];
                else
                        (void) virDomainFree(all[i]);
        free(all);
        client->n_domains += c->n_domains;
        return 0;
}

static int client_connect(Client *client, const char *uri, const char *prefix, size_t n_threads) {
        int r;

        for (size_t i = 0; i < client->n_connections; i++) {
                Connection *c = &client->connections[i];

                c->client = client;
                c->libvirt = virConnectOpen(uri);
                if (!c->libvirt)
                        return -ECONNREFUSED;
                r = connection_find(c, prefix, i);
                if (r < 0)
                        return r;
                for (size_t k = 0; k < n_threads; k++) {
                        pthread_t thread;

                        r = pthread_create(&thread, NULL, thread_run, c);
                        if (r != 0)
                                return -r;
                        (void) pthread_detach(thread);
                }
        }
        return 0;
}

/* Returns: the number that the argument says, or the default without one; 0 if it makes no sense. */
static size_t count_of(const char *s, size_t n_default, size_t n_max) {
        unsigned long n = s ? strtoul(s, NULL, 10) : n_default;

        return n <= n_max ? n : 0;
}

static void client_obey(Client *client, const char *line, size_t n_threads) {
        if (strcmp(line, "stop") == 0)
                client_act(client, virDomainSuspend, n_threads);
        else if (strcmp(line, "cont") == 0)
                client_act(client, virDomainResume, n_threads);
        else if (strcmp(line, "clear") == 0)
                seen_clear();
        else if (strcmp(line, "last STOP") == 0)
                seen_print(&seen.stopped);
        else if (strcmp(line, "last RESUME") == 0)
                seen_print(&seen.resumed);
        else
                fprintf(stderr, "libvirt-floor: not understood: %s\n", line);
}

int main(int argc, char **argv) {
        static Client client = {
                .lock = PTHREAD_MUTEX_INITIALIZER,
                .begun = PTHREAD_COND_INITIALIZER,
                .over = PTHREAD_COND_INITIALIZER,
        };
        size_t n_threads = count_of(argc > 4 ? argv[4] : NULL, 5, THREADS_MAX);
        char line[64];
        int r;

        client.n_connections = count_of(argc > 3 ? argv[3] : NULL, 4, CONNECTIONS_MAX);
        if (argc < 3 || argc > 5 || client.n_connections == 0 || n_threads == 0) {
                fprintf(stderr, "usage: libvirt-floor URI PREFIX [CONNECTIONS [THREADS]]\n");
                return EXIT_FAILURE;
        }
        (void) setvbuf(stdout, NULL, _IOLBF, 0);
        r = client_connect(&client, argv[1], argv[2], n_threads);
        if (r >= 0)
                r = watch(argv[1]);
        if (r < 0) {
                fprintf(stderr, "libvirt-floor: %s: %s\n", argv[1], strerror(-r));
                return EXIT_FAILURE;
        }
        printf("ready %zu\n", client.n_domains);

        while (fgets(line, sizeof(line), stdin)) {
                line[strcspn(line, "\n")] = 0;
                client_obey(&client, line, n_threads);
        }
        return EXIT_SUCCESS;
}
