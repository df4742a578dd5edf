# SPDX-License-Identifier: LGPL-2.1-or-later
"""A D-Bus client for calls that are waited for, without a process for each. Types: what the soak calls need."""

import os
import socket
import struct

ALIGN = {"y": 1, "g": 1, "v": 1, "b": 4, "u": 4, "i": 4, "s": 4, "o": 4, "a": 4, "t": 8, "x": 8, "d": 8, "(": 8, "{": 8}
NUMBERS = {"y": "B", "b": "I", "u": "I", "i": "i", "t": "Q", "x": "q", "d": "d"}
CALL, REPLY, ERROR = 1, 2, 3
PATH, INTERFACE, MEMBER, ERROR_NAME, REPLY_SERIAL, DESTINATION, SIGNATURE = 1, 2, 3, 4, 5, 6, 8
CLOSINGS = {"(": ")", "{": "}"}


class BusError(Exception):
    """A call that failed, by the error's name; or there is no bus."""


def first_type(signature):
    """The first complete type of a signature."""
    if signature[0] == "a":
        return "a" + first_type(signature[1:])
    depth = 0
    for i, c in enumerate(signature):
        depth += (c in "({") - (c in ")}")
        if depth == 0:
            return signature[:i + 1]
    raise BusError("bad signature " + signature)


class Reader:
    """Values from the bytes of a message."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def align(self, n):
        self.at = -(-self.at // n) * n

    def number(self, code):
        self.align(ALIGN[code])
        value, = struct.unpack_from("<" + NUMBERS[code], self.data, self.at)
        self.at += ALIGN[code]
        return bool(value) if code == "b" else value

    def text(self, n):
        value = self.data[self.at:self.at + n].decode(errors="replace")
        self.at += n + 1
        return value

    def array(self, element):
        n = self.number("u")
        self.align(ALIGN[element[0]])
        end, values = self.at + n, []
        while self.at < end:
            values.append(self.value(element))
        return dict(values) if element[0] == "{" else values

    def value(self, kind):
        """One value of a complete type."""
        if kind in NUMBERS:
            return self.number(kind)
        if kind in "so":
            return self.text(self.number("u"))
        if kind == "g":
            return self.text(self.number("y"))
        if kind == "v":
            return self.value(self.value("g"))
        if kind[0] == "a":
            return self.array(kind[1:])
        self.align(8)
        return tuple(self.values(kind[1:-1]))

    def values(self, signature):
        """The values of a signature, in order."""
        while signature:
            kind = first_type(signature)
            yield self.value(kind)
            signature = signature[len(kind):]


def pack(signature, values):
    """The bytes of numbers, strings and signatures."""
    out = bytearray()
    for kind, value in zip(signature, values):
        out += b"\0" * (-len(out) % ALIGN[kind])
        if kind in NUMBERS:
            out += struct.pack("<" + NUMBERS[kind], value)
        else:
            raw = value.encode()
            out += struct.pack("<I" if kind in "so" else "<B", len(raw)) + raw + b"\0"
    return bytes(out)


def pack_fields(fields):
    """A header's fields."""
    out = bytearray()
    for code, kind, value in fields:
        out += b"\0" * (-len(out) % 8) + pack("yg", (code, kind))
        out += b"\0" * (-len(out) % ALIGN[kind]) + pack(kind, (value,))
    return bytes(out)


class Connection:
    """To the bus at a path."""

    def __init__(self, path, timeout=10):
        self._serial, self._file = 0, None
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(path)
            self._socket.sendall(b"\0AUTH EXTERNAL %s\r\nBEGIN\r\n" % str(os.geteuid()).encode().hex().encode())
            self._file = self._socket.makefile("rb")
            if not self._file.readline().startswith(b"OK "):
                raise BusError("the bus does not let us in")
            self.call("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello")
        except OSError as error:
            self.close()
            raise BusError(str(error)) from None

    def close(self):
        """Leaves the bus."""
        if self._file:
            self._file.close()
        self._socket.close()

    def call(self, destination, path, interface, member, signature="", *values):
        """What a method returns: a tuple; a BusError if it fails."""
        try:
            serial = self._send(destination, path, interface, member, signature, values)
            while True:
                kind, fields, body = self._receive()
                if fields.get(REPLY_SERIAL) == serial:
                    break
        except (OSError, struct.error) as error:
            raise BusError("%s: %s" % (member, error)) from None
        answer = tuple(Reader(body).values(fields.get(SIGNATURE, "")))
        if kind == ERROR:
            raise BusError("%s: %s: %s" % (member, fields.get(ERROR_NAME), answer))
        return answer

    def get_all(self, destination, path, interface):
        """All properties."""
        return self.call(destination, path, "org.freedesktop.DBus.Properties", "GetAll", "s", interface)[0]

    def get(self, destination, path, interface, name):
        """One property."""
        return self.call(destination, path, "org.freedesktop.DBus.Properties", "Get", "ss", interface, name)[0]

    def _send(self, destination, path, interface, member, signature, values):
        self._serial += 1
        body = pack(signature, values)
        fields = [(PATH, "o", path), (INTERFACE, "s", interface), (MEMBER, "s", member),
                  (DESTINATION, "s", destination)] + ([(SIGNATURE, "g", signature)] if signature else [])
        head = pack_fields(fields)
        # A service that is not there is not started for us.
        start = struct.pack("<cBBBIII", b"l", CALL, 2, 1, len(body), self._serial, len(head))
        self._socket.sendall(start + head + b"\0" * (-len(head) % 8) + body)
        return self._serial

    def _receive(self):
        start = self._file.read(16)
        _, kind, _, _, n_body, _, n_fields = struct.unpack("<cBBBIII", start)
        n_padded = -(-n_fields // 8) * 8
        head = Reader(start[12:] + b"\0\0\0\0" + self._file.read(n_padded))
        body = self._file.read(n_body)
        head.at, end, fields = 8, 8 + n_fields, {}
        while head.at < end:
            code, value = head.value("(yv)")
            fields[code] = value
        return kind, fields, body
