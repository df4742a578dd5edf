/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guest control
 *
 * A command line for tests on a virtio port of the lab's guest. A line is a tag
 * and a command, its answer is one line of the tag and "ok ..." or "error ...".
 * Clocks are read without a fork, so that a test gets them as exactly as the port
 * allows. A virtio port and not a serial line, which loses bytes in a suspend.
 *
 *   clock             ok MONOTONIC BOOTTIME REALTIME MONOTONIC_RAW, in ns
 *   set-clock NS      sets CLOCK_REALTIME
 *   stop-agent        SIGSTOP to the guest agent
 *   cont-agent        SIGCONT to it
 *   suspend-delay S   what `systemctl suspend` waits before it suspends
 *   sh COMMAND        runs it; ok STATUS OUTPUT, its newlines written as \n
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int port_fd = -1;
static const char *tag = "";

__attribute__((format(printf, 1, 2))) static void answer(const char *format, ...) {
        char line[16384];
        va_list ap;
        size_t done = 0;
        int n;

        n = snprintf(line, sizeof(line) / 2, "%s ", tag);
        va_start(ap, format);
        n += vsnprintf(line + n, sizeof(line) - n - 1, format, ap);
        va_end(ap);
        if (n >= (int) sizeof(line) - 1)
                n = sizeof(line) - 2;
        line[n++] = '\n';
        while (done < (size_t) n) {
                ssize_t k = write(port_fd, line + done, n - done);

                if (k < 0 && errno != EINTR)
                        return;
                if (k > 0)
                        done += k;
        }
}

static long long clock_ns(clockid_t clock) {
        struct timespec ts;

        clock_gettime(clock, &ts);
        return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static void command_clock(const char *argument) {
        (void) argument;
        answer("ok %lld %lld %lld %lld",
               clock_ns(CLOCK_MONOTONIC),
               clock_ns(CLOCK_BOOTTIME),
               clock_ns(CLOCK_REALTIME),
               clock_ns(CLOCK_MONOTONIC_RAW));
}

static void command_set_clock(const char *argument) {
        long long ns = atoll(argument);
        struct timespec ts = { .tv_sec = ns / 1000000000LL, .tv_nsec = ns % 1000000000LL };

        if (clock_settime(CLOCK_REALTIME, &ts) < 0)
                answer("error %s", strerror(errno));
        else
                answer("ok");
}

static void signal_agent(int signo) {
        FILE *f = fopen("/run/qga.pid", "re");
        int pid = 0;

        if (!f || fscanf(f, "%d", &pid) != 1 || pid <= 1 || kill(pid, signo) < 0)
                answer("error no agent");
        else
                answer("ok %d", pid);
        if (f)
                fclose(f);
}

static void command_stop_agent(const char *argument) {
        (void) argument;
        signal_agent(SIGSTOP);
}

static void command_cont_agent(const char *argument) {
        (void) argument;
        signal_agent(SIGCONT);
}

static void command_suspend_delay(const char *argument) {
        FILE *f = fopen("/run/suspend-delay", "we");

        if (!f || fprintf(f, "%s\n", argument) < 0)
                answer("error %s", strerror(errno));
        else
                answer("ok");
        if (f)
                fclose(f);
}

static void command_sh(const char *argument) {
        char output[8192];
        size_t n = 0;
        int c, status;
        FILE *f = popen(argument, "re");

        if (!f) {
                answer("error %s", strerror(errno));
                return;
        }
        while ((c = fgetc(f)) != EOF) {
                if (n + 3 >= sizeof(output))
                        continue;
                if (c == '\n')
                        output[n++] = '\\';
                output[n++] = c == '\n' ? 'n' : c;
        }
        output[n] = 0;
        status = pclose(f);
        answer("ok %d %s",
               WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
               output);
}

static const struct {
        const char *name;
        void (*run)(const char *argument);
} commands[] = {
        { "clock", command_clock },
        { "set-clock", command_set_clock },
        { "stop-agent", command_stop_agent },
        { "cont-agent", command_cont_agent },
        { "suspend-delay", command_suspend_delay },
        { "sh", command_sh },
};

static void run_line(char *line) {
        char *command = strchr(line, ' '), *argument;

        tag = line;
        if (!command) {
                answer("error no command");
                return;
        }
        *command++ = 0;
        argument = strchr(command, ' ');
        if (argument)
                *argument++ = 0;
        for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
                if (strcmp(command, commands[i].name) == 0) {
                        commands[i].run(argument ?: "");
                        return;
                }
        answer("error unknown command");
}

/* A read of a port gives 0 as long as nobody on the host is connected to it. */
int main(int argc, char **argv) {
        const struct timespec pause = { .tv_nsec = 50 * 1000 * 1000 };
        char line[4096];
        size_t n = 0;

        port_fd = argc == 2 ? open(argv[1], O_RDWR | O_CLOEXEC) : -1;
        if (port_fd < 0)
                return EXIT_FAILURE;
        for (;;) {
                ssize_t k = read(port_fd, line + n, 1);

                if (k <= 0) {
                        n = 0;
                        nanosleep(&pause, NULL);
                } else if (line[n] == '\n') {
                        line[n] = 0;
                        n = 0;
                        run_line(line);
                } else if (n < sizeof(line) - 1)
                        n++;
        }
}
