"""Disks that take no more. Loads no torch."""

import errno

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}


def is_full(error: OSError) -> bool:
    """Whether this is what a disk says that is full, or one's share of it, or that nobody may write to."""
    return error.errno in _NO_ROOM
