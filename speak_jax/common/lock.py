"""A lock on a file: one process at a time, and the others wait."""

import contextlib
import errno
import fcntl
import sys
from collections.abc import Iterator
from pathlib import Path

# What file systems say that lock nothing.
_WITHOUT = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextlib.contextmanager
def locked(path: Path, who: str, *, shared: bool = False) -> Iterator[None]:
  """Holds a lock, and says so if it has to wait for it.

  It ends with the process, however that ends; the file stays. Where a file
  system locks nothing, there is no lock.

  Args:
    path: Made if need be; its folder must be there.
    who: The command, for its line.
    shared: Several may hold it at once, but not beside one that is not shared.

  Raises:
    OSError: the file cannot be written.
  """
  kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
  with path.open("w") as file:
    try:
      fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
      line = f"{who}: waiting for another run ({path})"
      print(line, file=sys.stderr, flush=True)
      fcntl.flock(file, kind)
    except OSError as error:
      if error.errno not in _WITHOUT:
        raise
    yield
