# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a crash journal says, read as src/daemon/journal-format.c does: {key: kind} of the notes that count."""

import struct

KINDS = ("none", "held", "watched", "asked", "paused", "suspended")
FILE_HEADER, BATCH_HEADER, NOTE_HEADER = "<8sIIQQ32s", "<IIQIIQQ", "<IIq"
BATCH_MAGIC = 0x4a505553
MASK = (1 << 64) - 1


def checksum(h, data):
    """The format's own, over words of eight bytes."""
    for word, in struct.iter_unpack("<Q", data):
        h = (h ^ word) * 0x9e3779b97f4a7c15 & MASK
        h ^= h >> 29
    return h ^ h >> 32


def read_batch(data, at, salt):
    """(index, sequence, size, [(kind, key)]) of the whole batch there, or None."""
    if at + 40 > len(data):
        return None
    magic, index, sequence, size, n_notes, _, expected = struct.unpack_from(BATCH_HEADER, data, at)
    if magic != BATCH_MAGIC or size < 40 or size % 8 or at + size > len(data):
        return None
    header = data[at:at + 32] + bytes(8)
    if checksum(checksum(salt, header), data[at + 40:at + size]) != expected:
        return None
    notes, note = [], at + 40
    for _ in range(n_notes):
        n, kind, _ = struct.unpack_from(NOTE_HEADER, data, note)
        notes.append((KINDS[kind], data[note + 16:note + n].split(b"\0")[0].decode(errors="replace")))
        note += n
    return index, sequence, size, notes


def read_slot(slot, salt):
    """(sequence, {key: kind}) of a slot; the sequence is 0 if it is not whole."""
    found, at, index, sequence = {}, 0, 0, 0
    while True:
        batch = read_batch(slot, at, salt)
        if not batch or batch[0] != index or (index > 0 and batch[1] != sequence):
            return sequence, found
        sequence = batch[1]
        for kind, key in batch[3]:
            found.pop(key, None)
            if kind != "none":
                found[key] = kind
        at += batch[2]
        index += 1


def read(path):
    """The notes in a journal file; ValueError if it is none."""
    with open(path, "rb") as f:
        data = f.read()
    magic, _, size, salt = struct.unpack_from(FILE_HEADER, data)[:4]
    if magic != b"SUSPDJNL":
        raise ValueError("no journal")
    slots = [read_slot(data[64 + i * size:64 + (i + 1) * size], salt) for i in range(2)]
    return max(slots, key=lambda x: x[0])[1]
