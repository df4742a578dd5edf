/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Definition
 *
 * What the XML of a running domain says of its sleep: whether S3 is allowed and possible, whether its
 * guest agent is there, and what its owner wants, by an element of ours in its metadata:
 *
 *      <metadata>
 *        <suspendd:sleep xmlns:suspendd="urn:suspendd:domain:1" mode="pause"/>
 *      </metadata>
 *
 * A Definition is plain data, embedded in whoever asked for it.
 */

#include "common/macro.h"

#define DEFINITION_NAMESPACE "urn:suspendd:domain:1"
#define DEFINITION_PREFIX "suspendd"
/* Ten times what a VM with many devices has: libxml2's tree takes some 37 bytes for each of these. */
#define DEFINITION_BYTES_MAX (256 * 1024)

typedef enum AgentChannel {
        AGENT_CHANNEL_NONE,
        AGENT_CHANNEL_DISCONNECTED,
        AGENT_CHANNEL_CONNECTED,
} AgentChannel;

typedef struct Definition {
        bool is_s3_off;        /* <pm><suspend-to-mem enabled='no'/> */
        bool is_s3_impossible; /* a board without it, as arm64's virt */
        const char *device;    /* static: what cannot be suspended with, or NULL */
        AgentChannel agent;
        char mode[16]; /* what our element says, whatever it be; empty if it is not there */
} Definition;

/* Returns: 0; -EBADMSG if it is no XML of a domain; -EMSGSIZE if it is too large to be looked at; -ENOMEM. */
int definition_read(const char *xml, Definition *ret);

/* Our element with @mode, for virDomainSetMetadata(); to be freed. Returns: 0; -ENOMEM. */
int definition_mode_xml(const char *mode, char **ret);
