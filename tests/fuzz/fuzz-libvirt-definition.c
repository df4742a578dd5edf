/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A Domain's Definition, Fuzzed
 *
 * Any bytes for the XML: an error out of the contract and nothing written, or a definition whose words
 * are within their bounds; the same each time.
 */

#include <errno.h>
#include <libxml/parser.h>
#include "fuzz.h"
#include "plugins/libvirt/definition.h"

static bool is_known_device(const char *device) {
        return !device || str_equal(device, "VFIO device") ||
               str_equal(device, "device of the host's") ||
               str_equal(device, "virtiofs/vhost-user device");
}

static void expect_same(const char *xml, int r, const Definition *d) {
        Definition again = { 0 };

        HOLDS(definition_read(xml, &again) == r);
        if (r < 0)
                return;
        HOLDS(again.is_s3_off == d->is_s3_off && again.is_s3_impossible == d->is_s3_impossible);
        HOLDS(again.device == d->device && again.agent == d->agent);
        HOLDS(str_equal(again.mode, d->mode));
}

static bool are_same_bytes(const void *a, const void *b, size_t size) {
        return memcmp(a, b, size) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *xml = malloc(size + 1);
        Definition d, untouched;
        int r;

        HOLDS(xml);
        if (size > 0)
                (void) memcpy(xml, data, size);
        xml[size] = 0;
        (void) memset(&d, 0xa5, sizeof(d));
        untouched = d;

        r = definition_read(xml, &d);
        HOLDS(r == 0 || r == -EBADMSG || r == -EMSGSIZE);
        HOLDS(r != -EMSGSIZE || strlen(xml) > DEFINITION_BYTES_MAX);
        if (r < 0)
                HOLDS(are_same_bytes(&d, &untouched, sizeof(d)));
        else {
                HOLDS(memchr(d.mode, 0, sizeof(d.mode)));
                HOLDS(is_known_device(d.device));
                HOLDS(d.agent >= AGENT_CHANNEL_NONE && d.agent <= AGENT_CHANNEL_CONNECTED);
        }
        expect_same(xml, r, &d);
        return 0;
}
