# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks that what the code knows is documented, and what is documented is known. Each takes a Tree."""

import re

from _tree import Unavailable

CONFIG_PAGE = "man/suspendd.conf.5"
PLUGIN_PAGES = "man/suspendd-"  # some plugins have pages of their own, with their settings
CONFIG_FILE = "conf/suspendd.conf"
DAEMON_PAGE = "man/suspendd.8"
COMMAND_PAGE = "man/suspendctl.1"
GUEST_PAGE = "man/suspend-guest.8"
MESSAGES = "src/daemon/messages.h"
BUS = ("src/daemon/bus-manager.c", "src/daemon/bus-machine.c")
BUS_POLICY = "conf/org.suspendd1.conf"
ACTIONS = ("src/daemon/bus-api.h", "conf/org.suspendd1.policy")

# How the code names what it knows.
SETTING = r'str_equal\((?:\w+->)?key, "(\w+)"\)|\[POLICY_\w+\] = "(\w+)"'
OPTION = r'\{ "([a-z-]+)", (?:no|required|optional)_argument'
METHOD = r'SD_BUS_METHOD\w*\(\s*"([A-Z]\w+)"'
MEMBER = r'(?:SD_BUS_\w+|CHANGING|CONSTANT|WHOLE)\(\s*"([A-Z]\w+)"'

VERB = r'^        \{ "([a-z]+)",(?! \w+_argument)'

# Where completions are, and how they name options and verbs.
COMPLETIONS = (
    ("completions/%s.bash", r"(?<![\w-])--([a-z][a-z-]+)", r"verbs='([a-z ]+)'"),
    ("completions/_%s", r"(?<![\w-])--([a-z][a-z-]+)", r"^        ([a-z]+)\)(?: |$)"),
    ("completions/%s.fish", r"^complete .* -l ([a-z-]+)", r"^set -l verbs ([a-z ]+)$"),
)
# Where else the version is: the newest is the first.
VERSIONS = (
    ("debian/changelog", r"^suspendd \(([^)-]+)"),
    ("packaging/suspendd.spec", r"^Version: +(\S+)"),
)


def text_of(tree, name):
    """The text of a file without which there is nothing to check."""
    if name not in tree.files:
        raise Unavailable("no " + name)
    return tree.text(name)


def found(pattern, text):
    """All that a pattern's groups find in a text."""
    return {x for match in re.finditer(pattern, text, re.M) for x in match.groups() if x}


def differ(where, what, known, documented):
    """The problems of a place that documents something else than what is known."""
    return ["%s:1: lacks %s %s" % (where, what, x) for x in sorted(known - documented)] + \
        ["%s:1: there is no %s %s" % (where, what, x) for x in sorted(documented - known)]


def settings(tree):
    """Each setting of the configuration is in suspendd.conf(5), or in its plugin's page, and in suspendd.conf, where the
    default is the code's."""
    code = text_of(tree, "src/daemon/config.c")
    known = found(SETTING, code)
    for name in tree.ending(".c"):
        if name.startswith("src/plugins/"):
            known |= found(SETTING, tree.text(name))
    sample = text_of(tree, CONFIG_FILE)
    pages = text_of(tree, CONFIG_PAGE) + "".join(tree.text(x) for x in tree.files if x.startswith(PLUGIN_PAGES))
    problems = differ(CONFIG_PAGE, "setting", known, found(r"^\.It Va (\w+) Ns =", pages))
    problems += differ(CONFIG_FILE, "setting", known, found(r"^#?(\w+)=", sample))
    for key, default in re.findall(r'str_equal\(key, "(\w+)"\)\)\s*return [^;]*\*value \? value : "([^"]*)"', code):
        if not re.search("^#%s=%s$" % (key, re.escape(default)), sample, re.M):
            problems.append("%s:1: %s is not %s, its default" % (CONFIG_FILE, key, default))
    return problems


def options(tree):
    """Each option of the command lines is in suspendd(8), suspendctl(1) or suspend-guest(8)."""
    problems = []
    for code, page in (("src/daemon/main.c", DAEMON_PAGE), ("src/cli/main.c", COMMAND_PAGE),
                       ("src/guest/main.c", GUEST_PAGE)):
        listed = "\n".join(x for _, x in tree.lines(page) if x.startswith(".It Fl")) if text_of(tree, page) else ""
        problems += differ(page, "option", found(OPTION, text_of(tree, code)), found(r"Fl -([a-z-]+)", listed))
    return problems


def bus_members(tree):
    """Each method, signal and property on the bus is named in suspendd(8)."""
    page = text_of(tree, DAEMON_PAGE)
    known = {x for name in BUS for x in found(MEMBER, text_of(tree, name))}
    return ["%s:1: lacks %s" % (DAEMON_PAGE, x) for x in sorted(known) if not re.search(r"\b%s\b" % x, page)]


def bus_policy(tree):
    """Each method on the bus is named in the bus's policy, in which nothing of ours is that there is not."""
    known = {x for name in BUS for x in found(METHOD, text_of(tree, name))}
    named = found(r'send_interface="org\.suspendd1\.\w+"\s+send_member="(\w+)"', text_of(tree, BUS_POLICY))
    return differ(BUS_POLICY, "method", known, named)


def actions(tree):
    """Each action that polkit is asked for is told to polkit, and is in suspendd(8)."""
    code, policy = ACTIONS
    known = found(r'"(org\.suspendd1\.[a-z-]+)"', text_of(tree, code))
    return differ(policy, "action", known, found(r'<action id="([^"]+)"', text_of(tree, policy))) + \
        differ(DAEMON_PAGE, "action", known, found(r"^\.It Sy (org\.suspendd1\.[a-z-]+)$", text_of(tree, DAEMON_PAGE)))


def messages(tree):
    """Each MESSAGE_ID= that is logged is in suspendd(8)."""
    ids = dict(re.findall(r'#define (SUSPENDD_MESSAGE_\w+) "(\w+)"', text_of(tree, MESSAGES)))
    code = "".join(tree.text(x) for x in tree.ending(".c") if x.startswith("src/daemon/"))
    logged = {ids[x] for x in ids if re.search(r"\b%s\b" % x, code)}
    return differ(DAEMON_PAGE, "message", logged, found(r"^\.It Li ([0-9a-f]{32})$", text_of(tree, DAEMON_PAGE)))


def completions(tree):
    """What the shells complete: each verb and each option of the command lines, and no others."""
    problems = []
    for code, program in (("src/cli/main.c", "suspendctl"), ("src/guest/main.c", "suspend-guest")):
        text = text_of(tree, code)
        for name, option, verb in COMPLETIONS:
            name = name % program
            given = text_of(tree, name)
            problems += differ(name, "option", found(OPTION, text), found(option, given))
            problems += differ(name, "verb", found(VERB, text), set(" ".join(found(verb, given)).split()))
    return problems


def versions(tree):
    """The packages have the project's version."""
    version = found(r"^        version: '([^']+)'", text_of(tree, "meson.build"))
    problems = []
    for name, pattern in VERSIONS:
        problems += differ(name, "version", version, set(re.findall(pattern, text_of(tree, name), re.M)[:1]))
    return problems
