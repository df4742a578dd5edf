/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Linked List
 *
 * A circular, doubly linked list whose links are embedded in the elements. A List is a head or a
 * link; an element that is in no list points to itself, so unlinking twice is harmless.
 */

#include <stdbool.h>
#include <stddef.h>

typedef struct List List;

struct List {
        List *next, *prev;
};

#define LIST_INIT(_l) ((List){ .next = &(_l), .prev = &(_l) })

/* The element of type @_type whose member @_member is the link @_link. */
#define LIST_ENTRY(_link, _type, _member) \
        ((_type *) (void *) ((char *) (_link) -offsetof(_type, _member)))

/* Walks the list @_head; the element at hand may be unlinked and freed. */
#define LIST_FOREACH(_i, _head)                                              \
        for (List *_i = (_head)->next, *_i##_next = _i->next; _i != (_head); \
             _i = _i##_next, _i##_next = _i->next)

static inline void list_init(List *l) {
        *l = LIST_INIT(*l);
}

static inline bool list_is_empty(const List *l) {
        return l->next == l;
}

static inline void list_append(List *head, List *link) {
        link->prev = head->prev;
        link->next = head;
        head->prev->next = link;
        head->prev = link;
}

static inline void list_unlink(List *link) {
        link->prev->next = link->next;
        link->next->prev = link->prev;
        list_init(link);
}
