# SPDX-License-Identifier: LGPL-2.1-or-later
"""All checks, the quick ones first."""

import _docs
import _faults
import _text
import _tools
import _units

CHECKS = [
    _text.licence_lines,
    _text.blanks,
    _text.unfinished,
    _text.layers,
    _text.own_header_first,
    _text.headers_guard,
    _docs.settings,
    _docs.options,
    _docs.bus_members,
    _docs.bus_policy,
    _docs.actions,
    _docs.messages,
    _docs.completions,
    _docs.versions,
    _faults.faults,
    _tools.layout,
    _tools.shell,
    _tools.manuals,
    _units.units,
    _units.exposure,
    _units.locks,
    _tools.cppcheck,
    _tools.tidy,
    _tools.analyzer,
]
SLOW = (_tools.cppcheck, _tools.tidy, _tools.analyzer)
