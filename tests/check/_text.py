# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks that read the text alone. Each takes a Tree and returns its problems as "FILE:LINE: what"."""

import os
import re

PUBLIC = {"src/plugins/plugin-api.h", "src/common/page-layout.h"}
NO_LICENCE_LINE = (".gitignore", ".clang-format", ".clang-tidy", ".editorconfig")
NO_COMMENTS = ("/corpus/", "/trees/", "/LICENSES/", "/debian/changelog", "/debian/source/format", ".json")
BLANKS_MATTER = ("/corpus/", "/LICENSES/", ".patch", ".diff")

# Who may include whom: path below src/ -> what its includes may begin with.
LAYERS = [
    ("common/", ("common/",)),
    ("daemon/", ("daemon/", "common/", "plugins/plugin-api.h")),
    ("cli/", ("cli/", "common/")),
    ("guest/", ("guest/", "common/page-layout.h")),
]
COMMON_NEVER_LOGS = re.compile(r'<(systemd/sd-journal|syslog)\.h>')

# In halves, so that this file does not find itself.
UNFINISHED = re.compile(r"\b(" + "|".join(a + b for a, b in (("TO", "DO"), ("FIX", "ME"), ("XX", "X"), ("HA", "CK")))
                        + r")\b")


def is_exempt(name, patterns):
    """Whether a file's name holds one of the patterns."""
    return any(x in "/" + name for x in patterns)


def licence_lines(tree):
    """A licence line in the first four lines of each file; MIT-0 where others' code includes it."""
    problems = []
    for name in tree.files:
        if is_exempt(name, NO_COMMENTS) or os.path.basename(name).startswith(NO_LICENCE_LINE) or not tree.text(name):
            continue
        licence = "MIT-0" if name in PUBLIC else "LGPL-2.1-or-later"
        head = "\n".join(tree.text(name).split("\n")[:4])
        if "SPDX-License-Identifier: " + licence not in head:
            problems.append("%s:1: no line SPDX-License-Identifier: %s" % (name, licence))
    return problems


def blanks(tree):
    """No blanks at the end of a line, one newline at the end of a file, no carriage returns."""
    problems = []
    for name in tree.files:
        text = tree.text(name)
        if is_exempt(name, BLANKS_MATTER) or not text:
            continue
        problems += ["%s:%d: blank at the end of the line" % (name, number)
                     for number, line in tree.lines(name) if line != line.rstrip()]
        if not text.endswith("\n") or text.endswith("\n\n"):
            problems.append("%s:%d: not one newline at the end" % (name, text.count("\n") + 1))
    return problems


def unfinished(tree):
    """No words that say that something is left to do."""
    return ["%s:%d: %s" % (name, number, line.strip())
            for name in tree.files if not is_exempt(name, NO_COMMENTS)
            for number, line in tree.lines(name) if UNFINISHED.search(line)]


def allowed_includes(name):
    """What the includes of a file in src/ may begin with."""
    for prefix, allowed in LAYERS:
        if name.startswith(prefix):
            return allowed
    parts = name.split("/")
    if parts[0] == "plugins" and len(parts) == 2:
        return ()
    return ("plugins/plugin-api.h", "common/", "/".join(parts[:2]) + "/")


def layers(tree):
    """The include rule: daemon -> common, plugin-api.h; plugin -> the same and itself; cli -> common."""
    problems = []
    for path in tree.ending(".c", ".h"):
        if not path.startswith("src/"):
            continue
        name = path[len("src/"):]
        for number, line in tree.lines(path):
            include = re.match(r'\s*#\s*include\s*"([^"]*)"', line)
            if include and not include.group(1).startswith(allowed_includes(name) or ("-",)):
                problems.append("%s:%d: may not include %s" % (path, number, include.group(1)))
            if name.startswith("common/") and COMMON_NEVER_LOGS.search(line):
                problems.append("%s:%d: common never logs" % (path, number))
    return problems


def own_header_first(tree):
    """Each source includes its own header first, so that each header stands alone."""
    problems = []
    for path in tree.ending(".c"):
        header = path[:-2] + ".h"
        if not path.startswith("src/") or header not in tree.files:
            continue
        includes = [line for _, line in tree.lines(path) if line.startswith("#include")]
        if not includes or includes[0] != '#include "%s"' % header[len("src/"):]:
            problems.append("%s:1: does not include its own header first" % path)
    return problems


def headers_guard(tree):
    """Each header says #pragma once."""
    return ["%s:1: no #pragma once" % name for name in tree.ending(".h")
            if not re.search(r"^#pragma once$", tree.text(name), re.M)]
