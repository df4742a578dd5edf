/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/libvirt/servers.h"
#include <errno.h>
#include <libxml/parser.h>
#include <libxml/uri.h>
#include <syslog.h>
#include "common/time-util.h"
#include "plugins/libvirt/event-loop.h"

#define DEFAULT_URI "qemu:///system"
#define SERVERS_MAX 64
#define WORKERS_MAX 64
#define ENUMERATE_USEC (2 * USEC_PER_SEC)
#define TROUBLE_BYTES 512
/* Troubles come together, and many are over before anybody could read of them. */
#define TROUBLE_USEC (200 * USEC_PER_MSEC)

struct Servers {
        const struct suspendd_host *host;
        Mailbox *mailbox;
        List servers;
        sd_event_source *enumeration, *telling;
        unsigned max_workers;
        char trouble[TROUBLE_BYTES]; /* as the host was told */
};

/* enumeration */

static int servers_on_enumeration(
                sd_event_source *source _unused_, uint64_t usec _unused_, void *userdata) {
        Servers *s = userdata;

        s->enumeration = sd_event_source_disable_unref(s->enumeration);
        s->host->enumerated(s->host);
        return 0;
}

static bool servers_are_settled(const Servers *s) {
        LIST_FOREACH(i, &((Servers *) s)->servers)
        if (!server_is_settled(server_from_link(i)))
                return false;
        return true;
}

static void servers_on_settled(void *userdata) {
        Servers *s = userdata;

        if (s->enumeration && servers_are_settled(s))
                (void) sd_event_source_set_time(s->enumeration, 0);
}

/* Tells when all have been looked at, but in the loop's next turn, and not for ever. */
static int servers_enumerate(Servers *s) {
        int r;

        s->enumeration = sd_event_source_disable_unref(s->enumeration);
        r = sd_event_add_time_relative(
                        s->host->event,
                        &s->enumeration,
                        CLOCK_MONOTONIC,
                        servers_are_settled(s) ? 0 : ENUMERATE_USEC,
                        1,
                        servers_on_enumeration,
                        s);
        if (r >= 0)
                (void) sd_event_source_set_description(s->enumeration, "libvirt-enumeration");
        return r;
}

/* what is wrong */

static int servers_on_telling(
                sd_event_source *source _unused_, uint64_t usec _unused_, void *userdata) {
        Servers *s = userdata;
        char text[TROUBLE_BYTES] = "", one[TROUBLE_BYTES / 2];
        FILE *f = fmemopen(text, sizeof(text), "w");

        /* What does not fit is left out. */
        LIST_FOREACH(i, &s->servers)
        if (f && server_trouble(server_from_link(i), one, sizeof(one)))
                (void) fprintf(f, "%s%s", ftell(f) > 0 ? "; " : "", one);
        if (f)
                (void) fclose(f);
        text[sizeof(text) - 1] = 0;
        s->telling = sd_event_source_disable_unref(s->telling);
        if (str_equal(text, s->trouble))
                return 0;
        (void) memcpy(s->trouble, text, sizeof(text));
        s->host->trouble(s->host, text[0] ? text : NULL);
        return 0;
}

static void servers_on_trouble(void *userdata) {
        Servers *s = userdata;

        if (!s->telling && sd_event_add_time_relative(
                                           s->host->event,
                                           &s->telling,
                                           CLOCK_MONOTONIC,
                                           TROUBLE_USEC,
                                           0,
                                           servers_on_telling,
                                           s) >= 0)
                (void) sd_event_source_set_description(s->telling, "libvirt-trouble");
}

static const ServerOps servers_ops = {
        .on_settled = servers_on_settled,
        .on_trouble = servers_on_trouble,
};

/* configuration */

static Server *servers_find(List *servers, const char *uri) {
        LIST_FOREACH(i, servers)
        if (str_equal(server_uri(server_from_link(i)), uri))
                return server_from_link(i);
        return NULL;
}

/* Returns: why @uri is none; NULL if it is one. */
static const char *uri_objection(const char *uri) {
        xmlURIPtr u = xmlParseURI(uri);
        const char *why = NULL;

        if (!u || str_empty(u->scheme))
                why = "this is no URI of libvirt's";
        else if (!str_empty(u->server))
                why = "machines of other hosts do not sleep with this one";
        else if (str_equal(u->path, "/session") &&
                 !(u->query_raw && strstr(u->query_raw, "socket=")))
                why = "whose session? say socket=, or libvirt would start one for root";
        if (u)
                xmlFreeURI(u);
        return why;
}

/* Returns: why @text is none; NULL if it is one. */
static const char *workers_objection(const char *text, unsigned *ret) {
        char *end;
        unsigned long n;

        errno = 0;
        n = strtoul(text, &end, 10);
        if (text[0] < '0' || text[0] > '9' || *end || errno != 0 || n > WORKERS_MAX)
                return "this is no number from 0 to 64";
        *ret = (unsigned) n;
        return NULL;
}

static const char *setting_objection(Servers *servers, const struct suspendd_setting *s) {
        if (str_equal(s->key, "MaxWorkers"))
                return workers_objection(s->value, &servers->max_workers);
        if (!str_equal(s->key, "URI"))
                return "there is no such setting";
        return uri_objection(s->value);
}

static void servers_complain(Servers *s, const struct suspendd_setting *setting, const char *why) {
        s->host->log(s->host,
                     LOG_WARNING,
                     NULL,
                     "%s:%u: %s=%s is left out: %s",
                     setting->file,
                     setting->line,
                     setting->key,
                     setting->value,
                     why);
}

/* Moves the server of @uri from one list to another, or makes it there. */
static int servers_want(Servers *s, List *wanted, const char *uri) {
        Server *server = servers_find(&s->servers, uri);
        int r = 0;

        /* Named twice, it is one all the same. */
        if (servers_find(wanted, uri))
                return 0;
        if (!server)
                r = server_new(s->host, s->mailbox, uri, &servers_ops, s, &server);
        if (r >= 0) {
                server_unlink(server);
                server_link(server, wanted);
        }
        return r;
}

static int servers_read(
                Servers *s, const struct suspendd_setting *settings, size_t n, List *wanted) {
        size_t n_wanted = 0;
        int r;

        s->max_workers = WORKERS_MAX;
        for (size_t i = 0; i < n; i++) {
                bool is_uri = str_equal(settings[i].key, "URI");
                const char *why = setting_objection(s, &settings[i]);

                if (!why && is_uri && ++n_wanted > SERVERS_MAX)
                        why = "there are too many";
                if (why)
                        servers_complain(s, &settings[i], why);
                if (why || !is_uri)
                        continue;
                r = servers_want(s, wanted, settings[i].value);
                if (r == -EINVAL)
                        servers_complain(s, &settings[i], "its socket is no path");
                else if (r < 0)
                        return r;
        }
        return n_wanted > 0 ? 0 : servers_want(s, wanted, DEFAULT_URI);
}

static void servers_drop(List *servers) {
        LIST_FOREACH(i, servers)
        server_free(server_from_link(i));
}

int servers_load(Servers *s, const struct suspendd_setting *settings, size_t n) {
        List wanted = LIST_INIT(wanted);
        int r;

        r = event_loop_start();
        if (r < 0)
                return r;
        r = servers_read(s, settings, n, &wanted);
        if (r >= 0)
                servers_drop(&s->servers);
        LIST_FOREACH(i, &wanted) {
                Server *server = server_from_link(i);

                server_unlink(server);
                server_link(server, &s->servers);
        }
        if (r < 0)
                return r;
        LIST_FOREACH(i, &s->servers) {
                server_set_max_workers(server_from_link(i), s->max_workers);
                server_look_round(server_from_link(i));
        }
        servers_on_trouble(s);
        return servers_enumerate(s);
}

int servers_notify(Servers *s, const char *event, const char *name) {
        s->host->log(s->host, LOG_DEBUG, NULL, "Domain %s: %s", name, event);
        LIST_FOREACH(i, &s->servers)
        server_hint(server_from_link(i));
        return 0;
}

/* lifetime */

int servers_new(const struct suspendd_host *host, Servers **ret) {
        _cleanup_(servers_freep) Servers *s = calloc(1, sizeof(*s));
        int r;

        if (!s)
                return -ENOMEM;
        *s = (Servers){ .host = host };
        list_init(&s->servers);
        /* Before there are threads, as libxml2 wants it. */
        xmlInitParser();
        r = mailbox_new(host->event, &s->mailbox);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(s);
        return 0;
}

Servers *servers_free(Servers *s) {
        if (!s)
                return NULL;
        LIST_FOREACH(i, &s->servers)
        server_abandon(server_from_link(i));
        servers_drop(&s->servers);
        if (s->mailbox)
                mailbox_close(s->mailbox);
        (void) mailbox_unref(s->mailbox);
        sd_event_source_disable_unref(s->enumeration);
        sd_event_source_disable_unref(s->telling);
        free(s);
        return NULL;
}
