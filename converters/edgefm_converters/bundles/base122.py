"""Bytes as text of UTF-8 that takes 8/7 of their size, where base64 takes 4/3; see https://blog.kevinalbs.com/base122.

Seven bits are a character of one byte. Three of those cannot stand in a page's script as they are (NUL, carriage
return, '<'); each is carried, with the seven bits that follow, by a character of two bytes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_REFUSED = (0, 13, 60)
_BITS = 7
_FIRST = 2  # two-byte characters begin at U+0080; from U+0100 on there are no control characters among them


def base122(content: bytes) -> str:
    r"""Return bytes as text, without NUL, carriage return and '<'; the number of bytes must be known to read it.

    >>> base122(b"edge"), [hex(ord(letter)) for letter in base122(b"\x00\x01")]
    ('2Y\x0cv(', ['0x100', '0x20'])
    """
    bits = np.unpackbits(np.frombuffer(content, np.uint8))
    filled = np.pad(bits, (0, -len(bits) % _BITS)).reshape(-1, _BITS)
    symbols = np.packbits(np.pad(filled, ((0, 0), (1, 0))), axis=1)[:, 0].astype(np.uint32)
    return _text(symbols)


def _text(symbols: NDArray[np.uint32]) -> str:
    """Return symbols of seven bits as characters."""
    refused = np.flatnonzero(np.isin(symbols, _REFUSED))
    symbols = np.append(symbols, 0)  # for a refused one at the end
    codes, taken, end = symbols.copy(), np.zeros(len(symbols), bool), len(symbols) - 1
    last = -1
    for place in refused.tolist():
        if place == last:  # carried by the one before
            continue
        last = place + 1
        codes[place] = (_REFUSED.index(int(symbols[place])) + _FIRST) << _BITS | symbols[last]
        taken[last] = True
    taken[end] = True
    return codes[~taken].astype("<u4").tobytes().decode("utf-32-le")
