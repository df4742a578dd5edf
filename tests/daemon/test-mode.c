/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Who decides what mode a machine has, and what becomes of those that block. */

#include <errno.h>
#include "daemon/manager-internal.h"
#include "scratch.h"

static Manager manager;
static Machine machine;

static void setup(void) {
        scratch_make();
        manager = (Manager){ 0 };
        machine = (Machine){ .name = (char *) "web", .key = "fake:web@1" };
        ck_assert_int_eq(runtime_state_open(scratch_path("state.json"), &manager.runtime_state), 0);
        ck_assert_int_eq(config_load_text("test.conf", "", 0, &manager.config), 0);
}

static void teardown(void) {
        runtime_state_free(manager.runtime_state);
        config_free(manager.config);
        free(machine.mode_source);
        scratch_remove();
}

static void configure(const char *text) {
        config_free(manager.config);
        ck_assert_int_eq(config_load_text("test.conf", text, strlen(text), &manager.config), 0);
}

static void assert_mode(Mode mode, const char *source) {
        manager_fill_policy(&manager, &machine);
        ck_assert_int_eq(machine.policy.mode, mode);
        ck_assert_str_eq(machine.mode_source, source);
}

START_TEST(test_the_nearest_word_counts) {
        assert_mode(MODE_AUTO, "default");
        configure("[Machine web]\nMode=pause\nTimeSync=off\n");
        assert_mode(MODE_PAUSE, "test.conf:2");

        machine.own_mode = (char *) "ignore";
        machine.own_mode_source = (char *) "its metadata";
        assert_mode(MODE_IGNORE, "its metadata");
        ck_assert_int_eq(machine.policy.time_sync, TIME_SYNC_OFF); /* of which it says nothing */
        ck_assert_int_eq(runtime_state_set_mode(manager.runtime_state, "web", MODE_BLOCK), 0);
        assert_mode(MODE_BLOCK, "command");

        ck_assert_int_eq(runtime_state_set_mode(manager.runtime_state, "web", MODE_INVALID), 0);
        assert_mode(MODE_IGNORE, "its metadata");
        machine.own_mode = machine.own_mode_source = NULL;
        assert_mode(MODE_PAUSE, "test.conf:2");
}
END_TEST

START_TEST(test_mode_that_cannot_be_stored_is_not_in_force) {
        const char *why = NULL;

        ck_assert_int_eq(runtime_state_set_mode(manager.runtime_state, "web", MODE_BLOCK), 0);
        ck_assert_int_eq(mkdir(scratch_path("state.json.new"), 0700), 0);
        ck_assert_int_lt(manager_set_mode(&manager, &machine, MODE_PAUSE, &why), 0);
        ck_assert_str_eq(why, "the mode cannot be stored");
        assert_mode(MODE_BLOCK, "command");
        ck_assert_int_lt(manager_set_mode(&manager, &machine, MODE_INVALID, &why), 0);
        assert_mode(MODE_BLOCK, "command");
        ck_assert_int_eq(rmdir(scratch_path("state.json.new")), 0);
}
END_TEST

START_TEST(test_word_that_is_no_mode_does_not_count) {
        configure("[Machine web]\nMode=pause\n");
        machine.own_mode = (char *) "Pause!";
        machine.own_mode_source = (char *) "its metadata";
        assert_mode(MODE_PAUSE, "test.conf:2");
}
END_TEST

START_TEST(test_definition_need_not_say_where) {
        machine.own_mode = (char *) "suspend";
        assert_mode(MODE_SUSPEND, "the VM's own definition");
}
END_TEST

/* What it is set by must not dangle when the configuration is replaced. */
START_TEST(test_source_is_the_machines_own) {
        configure("[Machine web]\nMode=pause\n");
        manager_fill_policy(&manager, &machine);
        configure("");
        ck_assert_str_eq(machine.mode_source, "test.conf:2");
}
END_TEST

/* the lock of those that block, and the bus, stand here for the real ones */

static int reword_error;
static unsigned n_reworded, n_told;
static char reworded[128];

__typeof__(inhibitor_reword) __wrap_inhibitor_reword;
__typeof__(bus_api_manager_changed) __wrap_bus_api_manager_changed;

int __wrap_inhibitor_reword(Inhibitor *i _unused_, const char *why) {
        n_reworded++;
        (void) snprintf(reworded, sizeof(reworded), "%s", why);
        return reword_error;
}

void __wrap_bus_api_manager_changed(BusApi *b _unused_, const char *property) {
        n_told += str_equal(property, "Blocking");
}

START_TEST(test_block_that_could_not_be_told_is_told_again) {
        struct ManagerPrivate private = { 0 };
        Cycle cycle = { 0 };

        list_init(&cycle.machines);
        list_append(&cycle.machines, &machine.machines);
        manager.cycle = &cycle;
        manager.private = &private;
        machine.policy.mode = MODE_BLOCK;
        machine.run_state = SUSPENDD_STATE_RUNNING;

        reword_error = -ENOTCONN;
        ck_assert_int_eq(manager_update_block(&manager), -ENOTCONN);
        ck_assert_ptr_null(private.blocked_why);
        reword_error = 0;
        ck_assert_int_eq(manager_update_block(&manager), 0);
        ck_assert_uint_eq(n_reworded, 2);
        ck_assert_str_eq(reworded, "VM web runs and may not be stopped");
        ck_assert_str_eq(private.blocked_why, "VM web");

        ck_assert_int_eq(manager_update_block(&manager), 0); /* nothing has changed */
        ck_assert_uint_eq(n_reworded, 2);
        ck_assert_uint_eq(n_told, 1);
        free(private.blocked_why);
}
END_TEST

int main(void) {
        TCase *c = tcase_create("mode");

        tcase_add_checked_fixture(c, setup, teardown);
        tcase_add_test(c, test_the_nearest_word_counts);
        tcase_add_test(c, test_mode_that_cannot_be_stored_is_not_in_force);
        tcase_add_test(c, test_block_that_could_not_be_told_is_told_again);
        tcase_add_test(c, test_word_that_is_no_mode_does_not_count);
        tcase_add_test(c, test_definition_need_not_say_where);
        tcase_add_test(c, test_source_is_the_machines_own);
        return scratch_run(c, "mode");
}
