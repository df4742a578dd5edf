# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks that other programs make. Each takes a Tree and returns its problems."""

import concurrent.futures
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile

from _tree import Unavailable

CLANG = 14
GCC = 12
# Optimized, code says less of what was meant. What list links and cleanup attributes hold counts as lost
# with it, so its word on leaks is nothing; that is for the sanitizers, valgrind and the fuzzers.
ANALYZE = ["-fanalyzer", "-O0", "-U_FORTIFY_SOURCE", "-Wno-analyzer-malloc-leak", "-fdiagnostics-plain-output",
           "-S", "-o", os.devnull]
TIDY_TIMEOUT = 180
GCC_ONLY = ("-Wno-unknown-warning-option", "-Wno-ignored-optimization-argument")


def run(tree, command, timeout=120):
    """(exit code, output) of a program run in the tree."""
    if not shutil.which(command[0]):
        raise Unavailable("no " + command[0])
    done = subprocess.run(command, cwd=tree.root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=timeout)
    return done.returncode, done.stdout.decode(errors="replace")


def need_clang(tree, program):
    """Other versions lay out and judge otherwise."""
    _, version = run(tree, [program, "--version"])
    major = int((re.search(r"version (\d+)", version) or [0, 0])[1])
    if major != CLANG:
        raise Unavailable("%s %d is here, the rules are for %d" % (program, major, CLANG))
    return version


def problems_of(code, output):
    """The lines of a program that complained."""
    return [x for x in output.splitlines() if x.strip()] or ["exit code %d" % code] if code else []


def layout(tree):
    """clang-format would change nothing."""
    need_clang(tree, "clang-format")
    files = tree.ending(".c", ".h")
    if not files:
        return []
    code, output = run(tree, ["clang-format", "--dry-run", "-Werror"] + files)
    lines = [x.split(":")[:2] for x in output.splitlines() if ": error:" in x]
    places = {name: [y for x, y in lines if x == name] for name, _ in lines}
    return ["%s:%s: %d places are laid out otherwise (./dev format)" % (name, numbers[0], len(numbers))
            for name, numbers in places.items()] or problems_of(code, output)


def shell(tree):
    """shellcheck finds nothing to warn about."""
    scripts = tree.scripts("bash", "sh") + [x for x in tree.ending(".bash") if x.startswith("completions/")]
    return problems_of(*run(tree, ["shellcheck", "-S", "warning", "-e", "SC2187", "-f", "gcc"] + scripts)) if scripts else []


def manuals(tree):
    """mandoc understands the man pages without a warning."""
    pages = [x for x in tree.files if re.search(r"^man/.*\.[1-8](\.in)?$", x)]
    if not pages:
        raise Unavailable("no man pages")
    code, output = run(tree, ["mandoc", "-Tlint", "-Wwarning"] + pages)
    return problems_of(code, output)


def cppcheck(tree):
    """cppcheck finds no error, nothing doubtful for portability or speed."""
    if not any(x.startswith("src/") for x in tree.ending(".c")):
        return []
    # It knows no cleanup attribute, so its word on leaks is nothing; nor that a frame may lend out its own flag.
    quiet = ["--suppress=" + x for x in ("memleak", "autoVariables", "missingInclude", "normalCheckLevelMaxBranches")]
    code, output = run(tree, ["cppcheck", "--quiet", "--std=c11", "--enable=portability,performance", "--inline-suppr",
                              "--error-exitcode=1", "-D__linux__", "-D__GNUC__=12", "-I", "src", "-j", "2", "src"]
                       + quiet, 300)
    return problems_of(code, output)


# what looks at each file that is compiled, with a memory

class CleanCache:
    """Remembers which file was clean, by a hash of all that the answer depends on."""

    def __init__(self, tree, folder, base):
        self.tree = tree
        self.folder = folder
        os.makedirs(self.folder, exist_ok=True)
        self.base = base.encode()

    def key(self, entry, included):
        """The hash for a file of the compilation database and what it includes."""
        digest = hashlib.sha256(self.base + entry["command"].encode())
        for name in sorted(included):
            with open(name, "rb") as f:
                digest.update(name.encode() + b"\0" + f.read() + b"\0")
        return digest.hexdigest()

    def knows(self, key):
        """Whether this was clean before."""
        return os.path.exists(os.path.join(self.folder, key))

    def remember(self, key):
        """Notes that it is clean."""
        with open(os.path.join(self.folder, key), "w"):
            pass


def compiled(build):
    """The compilation database, by file: one that is compiled twice is looked at once."""
    database = os.path.join(build, "compile_commands.json")
    if not os.path.exists(database):
        raise Unavailable("no build")
    with open(database) as f:
        entries = {os.path.realpath(os.path.join(x["directory"], x["file"])): x for x in json.load(f)}
    return {x: entries[x] for x in sorted(entries) if os.path.exists(x)}


def look_at_all(tree, entries, cache, look):
    """The problems that @look(entry) finds, files that were clean left out."""
    def one(entry):
        key = cache.key(entry, included_files(entry, tree.root))
        if cache.knows(key):
            return []
        problems = look(entry)
        if not problems:
            cache.remember(key)
        return problems
    with concurrent.futures.ThreadPoolExecutor(min(os.cpu_count() or 1, 4)) as pool:
        return sorted({line for answer in pool.map(one, entries) for line in answer})


def told_by(tree, entry, output):
    """Its lines, with paths as they are in the tree: they come by way of the build folder."""
    output = output.replace(os.path.join(entry["directory"], "../"), "").replace(tree.root + os.sep, "")
    return [re.sub(r"^(\.\./)+", "", x) for x in output.splitlines()]


def included_files(entry, root):
    """The files below @root that a file of the compilation database is made of, itself too."""
    words = entry["command"].split()
    command = [x for i, x in enumerate(words) if x not in ("-c", "-o", "-MD", "-MQ", "-MF")
               and not (i and words[i - 1] in ("-o", "-MQ", "-MF"))]
    done = subprocess.run(command + ["-MM"], cwd=entry["directory"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          timeout=60)
    names = done.stdout.decode().replace("\\\n", " ").split()[1:]
    paths = {os.path.realpath(os.path.join(entry["directory"], x)) for x in names}
    paths.add(os.path.realpath(os.path.join(entry["directory"], entry["file"])))
    return {x for x in paths if x.startswith(os.path.realpath(root) + os.sep) and os.path.exists(x)}


def tidy(tree, build=None):
    """clang-tidy by .clang-tidy on all that is compiled; this is what limits functions to 60 lines."""
    version = need_clang(tree, "clang-tidy")
    build = build or tree.path("build")
    rules = "".join(tree.text(x) for x in tree.files if os.path.basename(x) == ".clang-tidy")

    def look(entry):
        path = os.path.realpath(os.path.join(entry["directory"], entry["file"]))
        code, output = run(tree, ["clang-tidy", "--quiet", "-p", build, "--header-filter=" + re.escape(tree.root) + "/(src|tests)/"]
                           + ["--extra-arg=" + x for x in GCC_ONLY] + [path], TIDY_TIMEOUT)
        if code == 0:
            return []
        lines = told_by(tree, entry, output)
        return [x for x in lines if ": error:" in x] or problems_of(code, output)
    entries = compiled(build)
    cache = CleanCache(tree, os.path.join(build, "tidy-clean"), version + rules)
    return look_at_all(tree, entries.values(), cache, look)


def is_excepted(tree, line):
    """Whether the line that "FILE:LINE:…" is of says NOANALYZE, and why."""
    place = re.match(r"([^:]+):(\d+):", line)
    if not place or not os.path.exists(tree.path(place[1])):
        return False
    return "NOANALYZE:" in tree.text(place[1]).splitlines()[int(place[2]) - 1]


def analyzer(tree, build=None):
    """gcc -fanalyzer finds nothing in what is installed. Its word differs from version to version."""
    code, version = run(tree, ["gcc", "-dumpfullversion"])
    if code != 0 or int(version.split(".")[0]) != GCC:
        raise Unavailable("gcc %s is here, it is judged by %d" % (version.strip(), GCC))
    build = build or tree.path("build")

    def look(entry):
        words = shlex.split(entry["command"])
        command = ["gcc"] + [x for i, x in enumerate(words[1:]) if x not in ("-c", "-o", "-MD", "-MQ", "-MF")
                             and words[i] not in ("-o", "-MQ", "-MF")] + ANALYZE
        done = subprocess.run(command, cwd=entry["directory"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=TIDY_TIMEOUT)
        output = done.stdout.decode(errors="replace")
        found = [x for x in told_by(tree, entry, output) if "-Wanalyzer" in x and not is_excepted(tree, x)]
        return found or problems_of(done.returncode, output)
    sources = tree.path("src") + os.sep
    entries = [x for path, x in compiled(build).items() if path.startswith(os.path.realpath(sources))]
    return look_at_all(tree, entries, CleanCache(tree, os.path.join(build, "analyzer-clean"), version + repr(ANALYZE)), look)
