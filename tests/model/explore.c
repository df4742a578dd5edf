/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "explore.h"
#include <errno.h>

#define DEPTH_MAX 250

/* A state that was come to, and how. */
typedef struct Node {
        State s;
        Move move;
        uint32_t from; /* index + 1; 0: the beginning */
} Node;

typedef struct Nodes {
        Node *all;
        size_t n, n_max;
        uint32_t *table; /* index + 1, 0 if empty; at most half full */
        size_t n_table;  /* a power of two */
} Nodes;

/* the states that are known */

static void *take_memory(void *p) {
        if (!p)
                abort();
        return p;
}

static size_t state_hash(const State *s) {
        const uint8_t *bytes = (const uint8_t *) s;
        uint64_t hash = UINT64_C(0xcbf29ce484222325), word = 0;

        for (size_t i = 0; i < sizeof(*s); i += sizeof(word)) {
                (void) memcpy(&word, bytes + i, MIN(sizeof(word), sizeof(*s) - i));
                hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
                hash ^= hash >> 32;
        }
        return (size_t) hash;
}

static size_t nodes_slot(const Nodes *n, const State *s) {
        size_t mask = n->n_table - 1, i = state_hash(s) & mask;

        while (n->table[i] != 0 && memcmp(&n->all[n->table[i] - 1].s, s, sizeof(*s)) != 0)
                i = (i + 1) & mask;
        return i;
}

static void nodes_grow(Nodes *n) {
        n->n_max = n->n_max ? 2 * n->n_max : 1U << 16;
        n->n_table = 2 * n->n_max;
        n->all = take_memory(reallocarray(n->all, n->n_max, sizeof(*n->all)));
        free(n->table);
        n->table = take_memory(calloc(n->n_table, sizeof(*n->table)));
        for (size_t i = 0; i < n->n; i++)
                n->table[nodes_slot(n, &n->all[i].s)] = (uint32_t) i + 1;
}

/* Returns: whether it is new. */
static bool nodes_add(Nodes *n, const State *s, Move move, uint32_t from) {
        size_t slot;

        if (n->n == n->n_max)
                nodes_grow(n);
        slot = nodes_slot(n, s);
        if (n->table[slot] != 0)
                return false;
        n->all[n->n++] = (Node){ *s, move, from };
        n->table[slot] = (uint32_t) n->n;
        return true;
}

/* what is told */

static void tell_state(FILE *f, const State *s) {
        static const char *const notes[] = { "none", "held", "watched", "asked" };

        (void) fprintf(f,
                       "%s%s%s",
                       s->is_alive ? cycle_state_to_string(s->cycle) : "no daemon",
                       s->is_announced ? ", announced" : "",
                       s->is_locked ? ", lock" : "");
        for (unsigned i = 0; i < s->n_vms; i++) {
                const ModelVm *vm = &s->vms[i];
                const char *by = vm->is_paused || vm->is_suspended
                                                 ? (vm->paused_by | vm->suspended_by) & BY_US
                                                                   ? " by us"
                                                                   : " by others"
                                                 : "";

                (void) fprintf(f,
                               "; vm%u %s%s%s%s, %s, note %s",
                               i,
                               vm->is_in_error    ? "in error"
                               : vm->is_paused    ? "paused"
                               : vm->is_suspended ? "suspended"
                               : vm->is_here      ? "runs"
                                                  : "is gone",
                               vm->is_paused && vm->is_suspended ? " and suspended" : "",
                               by,
                               vm->n_monitor > 0 ? " (commands under way)" : "",
                               vm->m.is_known ? machine_state_to_string(vm->m.state) : "unknown",
                               notes[vm->note]);
        }
        (void) fputc('\n', f);
}

static void tell_move(FILE *f, Move move, const State *s) {
        char name[64];

        (void) snprintf(name, sizeof(name), "%s", move_to_string(move.kind));
        if (move_is_of_vm(move.kind))
                (void) snprintf(name + strlen(name), sizeof(name) - strlen(name), " vm%u", move.vm);
        (void) fprintf(f, "  %-34s ", name);
        if (move.fuse != 0)
                (void) fprintf(f, "[the daemon dies before effect %u] ", move.fuse);
        tell_state(f, s);
}

static void explore_tell(Exploration *x, const Nodes *n, size_t last, Move move, const Play *p) {
        uint32_t way[DEPTH_MAX + 1];
        size_t size, length = 0;
        FILE *f = take_memory(open_memstream(&x->trace, &size));

        for (uint32_t i = (uint32_t) last + 1; i != 0 && length <= DEPTH_MAX;
             i = n->all[i - 1].from)
                way[length++] = i;
        (void) fprintf(f, "%s:\n", p->fault);
        while (length-- > 1)
                tell_move(f, n->all[way[length - 1] - 1].move, &n->all[way[length - 1] - 1].s);
        if (move.kind != MOVE_MAX)
                tell_move(f, move, &p->s);
        else {
                (void) fprintf(f, "  then all cooperate, and it ends: ");
                tell_state(f, &p->s);
        }
        (void) fclose(f);
}

/* going on */

/* Whether the promises about the end hold from the state at @at. */
static bool explore_settle(Exploration *x, const Nodes *n, size_t at) {
        Play from = { .s = n->all[at].s, .mistake = x->mistake }, end;

        for (int strikes = 0; strikes < 2; strikes++) {
                promise_settle(&from, strikes, &end);
                if (end.fault) {
                        explore_tell(x, n, at, (Move){ .kind = MOVE_MAX }, &end);
                        return false;
                }
        }
        return true;
}

/* A move, and the same with the daemon's death before each of its effects. */
static bool explore_move(Exploration *x, Nodes *n, size_t at, Move move) {
        unsigned n_effects = 0;

        for (unsigned fuse = 0; fuse <= n_effects; fuse++) {
                Play p = { .s = n->all[at].s, .mistake = x->mistake };

                move.fuse = (uint8_t) fuse;
                if (!world_play(&p, move))
                        return true;
                x->n_moves++;
                if (fuse == 0)
                        n_effects = p.n_effects;
                if (p.fault) {
                        explore_tell(x, n, at, move, &p);
                        return false;
                }
                (void) nodes_add(n, &p.s, move, (uint32_t) at + 1);
        }
        return true;
}

static bool explore_from(Exploration *x, Nodes *n, size_t at) {
        if (!explore_settle(x, n, at))
                return false;
        for (unsigned kind = 0; kind < MOVE_MAX; kind++) {
                unsigned n_vms = move_is_of_vm(kind) ? x->initial.n_vms : 1;

                if (x->without & UINT64_C(1) << kind)
                        continue;
                for (unsigned vm = 0; vm < n_vms; vm++)
                        if (!explore_move(x, n, at, (Move){ (uint8_t) kind, (uint8_t) vm, 0 }))
                                return false;
        }
        return true;
}

void explore(Exploration *x) {
        unsigned depth_max = x->depth_max ? x->depth_max : DEPTH_MAX;
        Nodes n = { 0 };
        size_t at = 0;
        bool is_good = true;

        (void) nodes_add(&n, &x->initial, (Move){ 0 }, 0);
        for (x->depth = 0; is_good && at < n.n && x->depth <= depth_max; x->depth++)
                for (size_t end = n.n; is_good && at < end; at++)
                        is_good = explore_from(x, &n, at);
        x->n_states = n.n;
        free(n.all);
        free(n.table);
}

void exploration_done(Exploration *x) {
        free(TAKE_PTR(x->trace));
}
