/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Command Line, Fuzzed
 *
 * suspendctl with any arguments, as a hook passes them on, before a daemon that answers anything: each verb
 * ends by a status of its own, what it prints has no control character in it, whoever made it up, and it
 * writes no file that was not named to it.
 */

int suspendctl_main(int argc, char **argv);

#define main suspendctl_main
#include "cli/main.c" /* NOLINT(bugprone-suspicious-include): for its main() */
#undef main
#include "command-daemon.h"
#include "screen.h"

#define ARGUMENTS_MAX 12

/* The words, of which the last is followed by an empty one. */
static int take_arguments(Input *in, char **argv) {
        int n = 1;

        argv[0] = (char *) "suspendctl";
        while (n <= ARGUMENTS_MAX && *(argv[n] = (char *) input_text(in)))
                n++;
        argv[n] = NULL;
        return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        Input in = input_begin(data, size);
        char *argv[ARGUMENTS_MAX + 2];
        Screen out, err;
        int argc, status;

        argc = take_arguments(&in, argv);
        command_daemon_begin(&in, argv);
        (void) screen_begin(&out, &stdout);
        (void) screen_begin(&err, &stderr);
        optind = 0; /* of a command line that is another one */
        status = suspendctl_main(argc, argv);
        screen_end(&err, false);
        screen_end(&out, false);
        HOLDS(status >= STATUS_OK && status <= STATUS_LEFT_WRONG);
        input_done(&in);
        return 0;
}
