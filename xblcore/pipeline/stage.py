"""What every command that a DVC stage calls has around it.

It ends with DVC, for a killed DVC leaves its command running, which would write beside that of the
next ``dvc repro``; and a full disk or a folder that cannot be written to is one sentence.
"""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Callable

from xblcore.pipeline import lifeline

FULL = (errno.ENOSPC, errno.EDQUOT)
CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM)


def run(main: Callable[[], int]) -> int:
    """Exit code of a command's ``main``; that of an :class:`OSError` is 1, and it is told."""
    lifeline.end_with_starters()
    try:
        return main()
    except OSError as error:
        print(told(error), file=sys.stderr)
        return 1


def told(error: OSError) -> str:
    """What went wrong, and the remedy where there is one.

    >>> print(told(OSError(errno.ENOSPC, "No space left on device", "data/raw/a.gz")))
    the disk is full: [Errno 28] No space left on device: 'data/raw/a.gz'
    make room and run it again; what was finished is kept
    """
    # NumPy's own words for a file that was not written whole.
    if error.errno in FULL or re.search(r"\d+ requested and \d+ written", str(error)):
        return f"the disk is full: {error}\nmake room and run it again; what was finished is kept"
    if error.errno in CLOSED:
        return f"not permitted: {error}\nget the permission, and run it again"
    return str(error)
