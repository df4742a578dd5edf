/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * ivshmem Client
 *
 * A VMM at a doorbell, as a test wants it: connects, takes messages byte by byte and descriptor by
 * descriptor when it is told to, and keeps them.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLIENT_MESSAGES_MAX 64

typedef struct ClientMessage {
        uint8_t bytes[8];
        int fd; /* what came with it, or -1 */
} ClientMessage;

typedef struct Client {
        int fd; /* its socket, or -1 */
        ClientMessage messages[CLIENT_MESSAGES_MAX];
        size_t n_messages;
        bool is_over; /* the server has hung up */
} Client;

/* A client of a socket that is there, or of @path. Returns: 0; a negative errno. */
void client_init(Client *c, int fd);
int client_connect(Client *c, const char *path);
void client_done(Client *c);

/* Takes what has come, without waiting. */
void client_read(Client *c);

/* The number that a message is, and the one that the client was given. */
int64_t client_number(const Client *c, size_t i);
int64_t client_id(const Client *c);

/* The descriptor of its vector @i, or -1. */
int client_vector(const Client *c, unsigned i);

/* How often that vector was rung since it was last asked. */
uint64_t client_take_rings(const Client *c, unsigned i);
