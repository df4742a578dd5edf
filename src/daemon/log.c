/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/log.h"
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include "common/text-escape.h"

/*
 * The journal is written to by a datagram of our own, for sd_journal_sendv() waits when journald does
 * not read, and takes a memfd for what does not fit. Source: https://systemd.io/JOURNAL_NATIVE_PROTOCOL
 */

#define JOURNAL_SOCKET "/run/systemd/journal/socket"
#define MESSAGE_MAX 1024
#define LINE_BYTES_MAX 2048

/* A write of no more than PIPE_BUF bytes to a pipe that polls writable does not block. */
_Static_assert(LINE_BYTES_MAX <= 4096, "a line fits into PIPE_BUF");

typedef struct LogLine {
        char text[LINE_BYTES_MAX];
        size_t n;
} LogLine;

typedef struct LogState {
        bool is_open;
        int max_level;
        int fd;            /* connected to the journal's socket, or -1 */
        bool has_prefix;   /* stderr is read by systemd: <LEVEL> goes first */
        uint64_t n_missed; /* lines lost since the last one that went through */
} LogState;

static LogState state = { .max_level = -1, .fd = -1 };

/* level */

static const char *const level_names[] = {
        "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
};

static int level_from_environment(void) {
        const char *s = getenv("SUSPENDD_LOG_LEVEL");

        for (size_t i = 0; s && i < ARRAY_LEN(level_names); i++)
                if (str_equal(s, level_names[i]) || (s[0] == '0' + (int) i && !s[1]))
                        return (int) i;
        return LOG_INFO;
}

void log_set_max_level(int level) {
        state.max_level = MIN(MAX(level, LOG_EMERG), LOG_DEBUG);
}

int log_max_level(void) {
        if (state.max_level < 0)
                state.max_level = level_from_environment();
        return state.max_level;
}

/* where lines go */

/* $JOURNAL_STREAM names the device and inode of the stream that systemd connected to the journal. */
static bool stderr_is_journal(void) {
        const char *s = getenv("JOURNAL_STREAM");
        uint64_t device, inode;
        struct stat st;

        return s && sscanf(s, "%" SCNu64 ":%" SCNu64, &device, &inode) == 2 &&
               fstat(STDERR_FILENO, &st) >= 0 && st.st_dev == device && st.st_ino == inode;
}

static int journal_connect(const char *path) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_close_ int fd = -1;

        if (strlen(path) >= sizeof(address.sun_path))
                return -ENAMETOOLONG;
        memcpy(address.sun_path, path, strlen(path) + 1);

        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        if (connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0)
                return -errno;
        return TAKE_FD(fd);
}

int log_set_journal(const char *socket_path) {
        int fd = -1;

        if (socket_path) {
                fd = journal_connect(socket_path);
                if (fd < 0)
                        return fd;
        }

        closep(&state.fd);
        state.fd = fd;
        state.has_prefix = false;
        state.is_open = true;
        return 0;
}

static void log_open(void) {
        if (state.is_open)
                return;

        state.is_open = true;
        if (stderr_is_journal() && log_set_journal(JOURNAL_SOCKET) < 0)
                state.has_prefix = true;
}

/* lines */

static void line_add(LogLine *l, const char *s, size_t n) {
        n = MIN(n, sizeof(l->text) - l->n);
        memcpy(l->text + l->n, s, n);
        l->n += n;
}

/* Appends "NAME=value\n", or nothing for no value; a field that does not fit is left out whole. */
static void line_add_field(LogLine *l, const char *name, const char *value) {
        size_t name_length = strlen(name), value_length = value ? strlen(value) : 0;

        if (value_length == 0 || l->n + name_length + value_length + 2 > sizeof(l->text))
                return;

        line_add(l, name, name_length);
        line_add(l, "=", 1);
        line_add(l, value, value_length);
        line_add(l, "\n", 1);
}

/* A newline in a value would begin a field of its own, an escape sequence would steer a terminal. */
static void line_add_fields(LogLine *l, const LogFields *f) {
        char buf[256];

        line_add_field(l, "MESSAGE_ID", f->message_id);
        line_add_field(l, "SUSPENDD_CYCLE_ID", f->cycle_id);
        if (f->machine) {
                (void) text_escape_to(buf, sizeof(buf), f->machine);
                line_add_field(l, "SUSPENDD_MACHINE", buf);
        }
        if (f->plugin) {
                (void) text_escape_to(buf, sizeof(buf), f->plugin);
                line_add_field(l, "SUSPENDD_PLUGIN", buf);
        }
        line_add_field(l, "SUSPENDD_STATE", f->state);
        if (f->elapsed_usec > 0) {
                (void) snprintf(buf, sizeof(buf), "%" PRIu64, f->elapsed_usec);
                line_add_field(l, "SUSPENDD_ELAPSED_USEC", buf);
        }
}

static int send_journal(const LogFields *fields, int level, int error, const char *text) {
        LogLine l = { .n = 0 };
        char buf[16];

        (void) snprintf(buf, sizeof(buf), "%d", level);
        line_add_field(&l, "PRIORITY", buf);
        line_add_field(&l, "SYSLOG_IDENTIFIER", "suspendd");
        line_add_field(&l, "MESSAGE", text);
        if (error < 0) {
                (void) snprintf(buf, sizeof(buf), "%d", -error);
                line_add_field(&l, "ERRNO", buf);
        }
        if (fields)
                line_add_fields(&l, fields);

        if (send(state.fd, l.text, l.n, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
                return 0;
        return -errno;
}

static int send_stderr(int level, const char *text) {
        struct pollfd p = { .fd = STDERR_FILENO, .events = POLLOUT };
        LogLine l = { .n = 0 };
        char prefix[8];

        if (state.has_prefix) {
                (void) snprintf(prefix, sizeof(prefix), "<%d>", level);
                line_add(&l, prefix, strlen(prefix));
        }
        line_add(&l, text, strlen(text));
        line_add(&l, "\n", 1);

        if (poll(&p, 1, 0) <= 0 || p.revents != POLLOUT) /* with an error, SIGPIPE would come */
                return -EAGAIN;
        return write(STDERR_FILENO, l.text, l.n) < 0 ? -errno : 0;
}

static int log_send(const LogFields *fields, int level, int error, const char *text) {
        int r;

        if (state.fd < 0)
                return send_stderr(level, text);

        r = send_journal(fields, level, error, text);
        /* A restarted journald has another socket at the same place. */
        if ((r == -ECONNREFUSED || r == -ENOTCONN || r == -ECONNRESET) &&
            log_set_journal(JOURNAL_SOCKET) >= 0)
                r = send_journal(fields, level, error, text);
        return r;
}

static void log_tell_missed(void) {
        char text[80];

        if (state.n_missed == 0)
                return;

        (void) snprintf(text,
                        sizeof(text),
                        "%" PRIu64 " log lines were lost: the log did not take them in time",
                        state.n_missed);
        if (log_send(NULL, LOG_WARNING, 0, text) >= 0)
                state.n_missed = 0;
}

int log_full(const LogFields *fields, int level, int error, const char *format, ...) {
        char raw[MESSAGE_MAX], text[MESSAGE_MAX + MESSAGE_MAX / 4];
        int saved_errno = errno, n;
        va_list ap;

        if (level > log_max_level())
                return error;
        log_open();

        va_start(ap, format);
        n = vsnprintf(raw, sizeof(raw), format, ap);
        va_end(ap);
        if (n < 0)
                raw[0] = 0;

        if (error < 0 && n >= 0 && (size_t) n < sizeof(raw)) {
                errno = -error; /* %m, for strerror() is not safe where a plugin has threads */
                (void) snprintf(raw + n, sizeof(raw) - (size_t) n, ": %m");
        }
        text_make_valid(raw);
        (void) text_escape_to(text, sizeof(text), raw);

        log_tell_missed();
        if (log_send(fields, level, error, text) < 0)
                state.n_missed++;
        errno = saved_errno;
        return error;
}
