"""What a process that decodes does: it lives for one call, within limits."""

import contextlib
import functools
import json
import os
import signal
import socket
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from data_pipelines.media import audio, image, limits, manifest, tags, video
from data_pipelines.media.error import MediaError, MediaWarning
from data_pipelines.media.messages import send

# What a child can be asked for; each gives one value, or several in turn.
CALLS: dict[str, Callable[..., Any]] = {
  "probe": video.probe,
  "read_frames": video.read_frames,
  "read_audio": audio.read_audio,
  "read_pieces": audio.read_pieces,
  "read_sound": audio.read_sound,
  "audio_track": audio.audio_track,
  "read_image": image.read_image,
  "read_alpha": image.read_alpha,
  "read_tags": tags.read_tags,
  "read_manifest": manifest.read_manifest,
}


def serve() -> None:
  """Forks children until the one that asks is gone."""
  control = socket.socket(fileno=int(sys.argv[1]))
  while True:
    first, files, _, _ = socket.recv_fds(control, 1, 1)
    if not first:
      return
    line = bytearray(first)
    while not line.endswith(b"\n"):
      line += control.recv(1)
    request = json.loads(line)
    if "finish" in request:
      answer = _end(request["finish"])
    else:
      answer = os.fork()
      if answer == 0:
        control.close()
        _answer(request, files[0])
      os.close(files[0])
    control.sendall(f"{answer}\n".encode())


def _end(pid: int) -> int:
  """Kills a child and what it started; its wait status."""
  for kill in (os.killpg, os.kill):  # it may not have a group yet
    with contextlib.suppress(ProcessLookupError):
      kill(pid, signal.SIGKILL)
  return os.waitpid(pid, 0)[1]


def _answer(request: dict[str, Any], pipe: int) -> None:
  """A child's life: limits, the call, its messages, the end."""
  code = 1
  try:
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what crashing C prints
    os.chdir(request["cwd"])
    warnings.simplefilter("always", MediaWarning)
    warnings.showwarning = functools.partial(_warn, pipe)
    try:
      limits.apply(limits.Limits(*request["limits"]))
      result = CALLS[request["call"]](request["path"], **request["args"])
      for item in result if isinstance(result, Iterator) else [result]:
        if isinstance(item, np.ndarray):
          facts = {"shape": item.shape, "dtype": item.dtype.str}
          send(pipe, {"kind": "array", **facts}, item)
        else:
          send(pipe, {"kind": "value", "value": item})
    except MediaError as error:
      send(pipe, {"kind": "error", "reason": error.reason})
    except MemoryError:
      send(pipe, {"kind": "error", "reason": limits.too_much()})
    except BrokenPipeError:
      pass  # nobody waits for the rest
    except Exception as error:  # a library that a hostile file has confused
      what = f"cannot be read ({type(error).__name__}: {error})"
      send(pipe, {"kind": "error", "reason": what})
    else:
      send(pipe, {"kind": "end"})
    code = 0
  finally:
    os._exit(code)  # nothing of the helper's may run


def _warn(pipe: int, message, category, *where, **rest) -> None:
  """Sends a media warning instead of printing it."""
  if issubclass(category, MediaWarning):
    send(pipe, {"kind": "warning", "text": str(message)})
