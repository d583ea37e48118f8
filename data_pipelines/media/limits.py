"""What a media file may ask for, and what decoding it may cost.

The limits let honest data through, such as an hour of 4K, and are checked
twice: against what a file says of itself before anything is decoded, and
against what comes out.
"""

import os
import resource
import sys
import threading
import time
from typing import NamedTuple

TOO_MUCH = 71  # exit code of a process that held too much memory
_LOOK_S = 0.02


class Limits(NamedTuple):
  """Largest values that are accepted."""

  file_bytes: int = 64 << 30
  seconds: float = 4 * 3600.0
  side_px: int = 8192
  pixels: int = 4096 * 4096  # of a video's picture
  image_pixels: int = 256_000_000  # phones of today take 200 megapixels
  image_shown_pixels: int = 64_000_000  # larger ones are read scaled
  fps: float = 1000.0
  # That one picture stands still: screens and slides do, for long; a forged
  # timestamp would for ever.
  hold_s: float = 3600.0
  streams: int = 64
  audio_rate_hz: int = 384_000
  # Of the process that decodes.
  memory_bytes: int = 4 << 30  # address space
  cpu_s: int = 2 * 3600
  wait_s: float = 30.0  # between two answers


LIMITS = Limits()


def apply(limits: Limits = LIMITS) -> None:
  """Lowers this process's own limits for good: a decoder's first step.

  Afterwards it can write no file, leave no core, hold no more memory than the
  limit (a larger claim raises MemoryError) and use no more CPU time. macOS
  does not limit the address space: there a thread watches what is held, and
  ends the process with TOO_MUCH.
  """
  _lower(resource.RLIMIT_CORE, 0)
  _lower(resource.RLIMIT_FSIZE, 0)
  if sys.platform == "darwin":
    thread = threading.Thread(
      target=_watch, args=(limits.memory_bytes,), name="memory", daemon=True
    )
    thread.start()
  else:
    _lower(resource.RLIMIT_AS, limits.memory_bytes)
  # The hard limit a second later: the soft one's signal names the reason.
  _lower(resource.RLIMIT_CPU, limits.cpu_s, limits.cpu_s + 1)


def too_much() -> str:
  """Says of a file that its decoding wants more memory than it may have."""
  return f"needs over {LIMITS.memory_bytes >> 30} GiB of memory to decode"


def _watch(most: int) -> None:
  """Ends this process as soon as it has held more than so many bytes."""
  unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
  while resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit <= most:
    time.sleep(_LOOK_S)
  os._exit(TOO_MUCH)


def _lower(which: int, soft: int, hard: int | None = None) -> None:
  """Sets soft and hard limit, never above what already holds."""
  hard = soft if hard is None else hard
  _, now = resource.getrlimit(which)
  if now != resource.RLIM_INFINITY:
    soft, hard = min(soft, now), min(hard, now)
  resource.setrlimit(which, (soft, hard))
