"""Records packed for a store whose memory is dear, and read again whatever was made of them."""

from __future__ import annotations

import zlib

# Shorter ones hardly shrink; below this gain the work of unpacking buys nothing.
_LEAST_BYTES = 256
_LEAST_GAIN = 0.9
# What begins a packed record: records themselves begin with their version, which is a small number.
_MARK = b"\x78"
_MOST_BYTES = 256 * 2**20


def packed(record: bytes) -> bytes:
    """Return a record in fewer bytes, or as it is where that is no gain.

    Example:
        >>> record = bytes([1]) + b"an answer, and another answer " * 20
        >>> len(packed(record)) < len(record) / 3, unpacked(packed(record)) == record
        (True, True)
    """
    if len(record) < _LEAST_BYTES or record.startswith(_MARK):
        return record
    shorter = zlib.compress(record)
    return shorter if len(shorter) < _LEAST_GAIN * len(record) else record


def unpacked(record: bytes) -> bytes:
    """Return the record that was packed; what is none of ours comes back as it is, and then its seal does not hold.

    Nothing larger than 256 MB comes out, whatever somebody put there.
    """
    if not record.startswith(_MARK):
        return record
    reader = zlib.decompressobj()
    try:
        whole = reader.decompress(record, _MOST_BYTES)
    except zlib.error:
        return record
    return whole if reader.eof else record
