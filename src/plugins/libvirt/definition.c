/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/libvirt/definition.h"
#include <errno.h>
#include <libxml/parser.h>
#include <libxml/xpath.h>
#include <libxml/xpathInternals.h>
#include "common/text-escape.h"

#define AGENT_NAME "org.qemu.guest_agent.0"

/* What stands against a suspend to RAM, in the order in which it is told. */
static const struct {
        const char *path;
        const char *what;
} objections[] = {
        { "/domain/devices/hostdev[@type='pci' or @type='mdev']", "VFIO device" },
        { "/domain/devices/interface[@type='hostdev' or @type='vdpa']", "VFIO device" },
        { "/domain/devices/hostdev", "device of the host's" },
        { "/domain/devices/filesystem[driver/@type='virtiofs']", "virtiofs/vhost-user device" },
        { "/domain/devices/*[@type='vhostuser']", "virtiofs/vhost-user device" },
        { "/domain/devices/*[@model='vhost-user' or @backend='vhost-user' or backend/@type='vhost-user']",
          "virtiofs/vhost-user device" },
};

static bool xpath_holds(xmlXPathContextPtr x, const char *expression) {
        xmlXPathObjectPtr o = xmlXPathEvalExpression((const xmlChar *) expression, x);
        bool holds = o && xmlXPathCastToBoolean(o);

        xmlXPathFreeObject(o);
        return holds;
}

static void xpath_string(xmlXPathContextPtr x, const char *expression, char *buf, size_t size) {
        xmlXPathObjectPtr o = xmlXPathEvalExpression((const xmlChar *) expression, x);
        xmlChar *s = o ? xmlXPathCastToString(o) : NULL;

        (void) text_cut(buf, size, s ? (const char *) s : "");
        xmlFree(s);
        xmlXPathFreeObject(o);
}

static AgentChannel definition_agent(xmlXPathContextPtr x) {
        const char *channel = "/domain/devices/channel/target[@name='" AGENT_NAME "']";
        char connected[128];

        if (!xpath_holds(x, channel))
                return AGENT_CHANNEL_NONE;
        (void) snprintf(connected, sizeof(connected), "%s[@state='connected']", channel);
        return xpath_holds(x, connected) ? AGENT_CHANNEL_CONNECTED : AGENT_CHANNEL_DISCONNECTED;
}

static void definition_fill(xmlXPathContextPtr x, Definition *d) {
        *d = (Definition){
                .is_s3_off = xpath_holds(x, "/domain/pm/suspend-to-mem[@enabled='no']"),
                .is_s3_impossible =
                                xpath_holds(x,
                                            "/domain/os/type[starts-with(@machine, 'virt') or "
                                            "starts-with(@machine, 'microvm')]"),
                .agent = definition_agent(x),
        };
        for (size_t i = 0; !d->device && i < ARRAY_LEN(objections); i++)
                if (xpath_holds(x, objections[i].path))
                        d->device = objections[i].what;
        xpath_string(x, "/domain/metadata/s:sleep/@mode", d->mode, sizeof(d->mode));
}

int definition_read(const char *xml, Definition *ret) {
        size_t size = strlen(xml);
        xmlXPathContextPtr x;
        xmlDocPtr document;
        int r = -EBADMSG;

        if (size > DEFINITION_BYTES_MAX)
                return -EMSGSIZE;
        document =
                        xmlReadMemory(xml,
                                      (int) size,
                                      "domain.xml",
                                      NULL,
                                      XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
        if (!document)
                return -EBADMSG;
        x = xmlXPathNewContext(document);
        if (!x ||
            xmlXPathRegisterNs(x, (const xmlChar *) "s", (const xmlChar *) DEFINITION_NAMESPACE) !=
                            0)
                r = -ENOMEM;
        else if (xpath_holds(x, "/domain")) {
                definition_fill(x, ret);
                r = 0;
        }
        xmlXPathFreeContext(x);
        xmlFreeDoc(document);
        return r;
}

int definition_mode_xml(const char *mode, char **ret) {
        char *xml;

        if (asprintf(&xml, "<sleep mode='%s'/>", mode) < 0)
                return -ENOMEM;
        *ret = xml;
        return 0;
}
