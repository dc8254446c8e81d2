"""Damage done to bytes at random."""

from __future__ import annotations

import random


def edited(chance: random.Random, data: bytes) -> bytes:
    """The bytes with up to four pieces changed, put in, taken out or repeated; or cut short."""
    out = bytearray(data)
    for _ in range(chance.choice((0, 1, 1, 2, 4))):
        at = chance.randrange(len(out) + 1)
        if chance.random() < 0.3:
            at = min(at, chance.randrange(40))  # where headers are
        kind, length = chance.randrange(6), chance.randint(1, 8)
        if kind == 0 and out:
            out[at % len(out)] ^= 1 << chance.randrange(8)
        elif kind == 1:
            out[at : at + length] = chance.randbytes(length)
        elif kind == 2:
            out[at:at] = chance.randbytes(length)
        elif kind == 3:
            del out[at : at + length]
        elif kind == 4:
            out[at:at] = out[at : at + 4 * length]
        else:
            del out[at:]
    return bytes(out)
