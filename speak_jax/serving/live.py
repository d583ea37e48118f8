"""WebSocket /stream: sound in, frames out. docs/serving.md has the protocol."""

import asyncio
import contextlib
import json
import struct
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from starlette.websockets import WebSocket, WebSocketDisconnect

from speak_jax.inference.model import Model
from speak_jax.inference.stream import Frame, Stream
from speak_jax.serving import guard, options
from speak_jax.serving.jobs import described
from speak_jax.serving.limits import Limits
from speak_jax.serving.metrics import Metrics

HEADER = struct.Struct("<did")  # time, utterance, second: before each picture
QUALITY = 90  # of JPEGs
FORMATS = {"s16le": np.dtype("<i2"), "f32le": np.dtype("<f4")}
FRAMES, PACES = ("jpeg", "rgb"), ("ready", "live")
_START = ("type", "token", "format", "rate", "channels", "frames", "pace")
_START += ("lufs", "look_ahead", "options")
# WebSocket's codes: a word that was not understood, too much, try later.
_BAD, _LARGE, _LATER = 1008, 1009, 1013


class _Refusal(Exception):
  """Why a stream ends."""

  def __init__(self, what: dict[str, Any], code: int = _BAD):
    self.what, self.code = what, code


class Streams:
  """All of a server's."""

  def __init__(
    self,
    model: Model,
    folder: Path,
    token: str,
    limits: Limits,
    metrics: Metrics,
  ):
    """Takes a model that nothing else uses."""
    self._model, self._folder, self._token = model, folder, token
    self._limits, self._metrics = limits, metrics
    self._lock = threading.Lock()  # its finder of faces is for one at a time
    self._count = 0

  async def serve(self, socket: WebSocket) -> None:
    """Serves a client until it or its time is over."""
    if guard.refusal(socket.headers, self._token) is not None:
      await socket.close(_BAD)
      return
    await socket.accept()
    taken = False
    try:
      async with asyncio.timeout(self._limits.stream_s):
        start = await self._started(socket)
        if self._count >= self._limits.streams:
          raise _Refusal({"reason": "all streams are taken"}, _LATER)
        self._count, taken = self._count + 1, True
        self._metrics.streams.set(self._count)
        await self._run(socket, start)
    except _Refusal as refusal:
      await _ended(socket, refusal.what, refusal.code)
    except TimeoutError:
      await _ended(socket, {"reason": "the time is over"}, _BAD)
    except (WebSocketDisconnect, RuntimeError, OSError):
      pass  # the client is gone
    finally:
      if taken:
        self._count -= 1
        self._metrics.streams.set(self._count)

  async def _started(self, socket: WebSocket) -> dict[str, Any]:
    """The first message."""
    async with asyncio.timeout(self._limits.header_s):
      message = await socket.receive()
    start = _json(message)
    if start.get("type") != "start":
      raise _Refusal({"reason": "the first message is not of type start"})
    token = start.get("token") or guard.bearer(socket.headers)
    if self._token and not guard.fits(
      self._token, token if isinstance(token, str) else None
    ):
      raise _Refusal({"reason": "a token is needed"})
    for name in start:
      if name not in _START:
        what = {"field": name[:40], "reason": f"known are {', '.join(_START)}"}
        raise _Refusal(what)
    for name, known in (
      ("format", tuple(FORMATS)),
      ("frames", FRAMES),
      ("pace", PACES),
    ):
      if start.setdefault(name, known[0]) not in known:
        raise _Refusal({"field": name, "reason": f"not {' or '.join(known)}"})
    for name, usual, low, high in (
      ("rate", 16_000, 4_000, 384_000),
      ("channels", 1, 1, 8),
    ):
      value = start.setdefault(name, usual)
      if type(value) is not int or not low <= value <= high:
        raise _Refusal({"field": name, "reason": f"not {low} to {high}"})
    for name in ("lufs", "look_ahead"):
      value = start.setdefault(name, None)
      if value is not None and type(value) not in (int, float):
        raise _Refusal({"field": name, "reason": "is no number"})
    if not isinstance(start.setdefault("options", {}), dict):
      raise _Refusal({"field": "options", "reason": "is no object"})
    return start

  async def _run(self, socket: WebSocket, start: dict[str, Any]) -> None:
    async with asyncio.timeout(self._limits.upload_s):
      message = await socket.receive()
    picture = message.get("bytes")
    if message["type"] == "websocket.disconnect":
      raise WebSocketDisconnect
    if not picture:
      raise _Refusal({"reason": "the second message is not a picture's bytes"})
    if len(picture) > self._limits.picture_bytes:
      what = f"more than {self._limits.picture_bytes} bytes"
      raise _Refusal({"field": "identity", "reason": what}, _LARGE)
    stream = await asyncio.to_thread(self._made, picture, start)
    with contextlib.closing(stream):
      await socket.send_json(
        {
          "type": "ready",
          "fps": stream.fps,
          "width": stream.width,
          "height": stream.height,
          "look_ahead": stream.look_ahead,
        }
      )
      words: asyncio.Queue = asyncio.Queue(8)
      reading = asyncio.create_task(self._read(socket, words, start))
      try:
        await self._show(socket, stream, words, start)
      finally:
        reading.cancel()
        with contextlib.suppress(BaseException):
          await reading
    await socket.close()

  def _made(self, picture: bytes, start: dict[str, Any]) -> Stream:
    with tempfile.TemporaryDirectory(dir=self._folder) as name:
      folder = Path(name)
      path = folder / "identity"
      path.write_bytes(picture)
      try:
        fields = options.read(
          start["options"], self._limits.side_px, streamed=True
        )
        with self._lock:
          return self._model.stream(
            path, lufs=start["lufs"], look_ahead=start["look_ahead"], **fields
          )
      except Exception as error:
        raise _Refusal(described(error, folder)) from None

  async def _read(
    self, socket: WebSocket, words: asyncio.Queue, start: dict[str, Any]
  ) -> None:
    """Puts what the client says into a short line; a full one stops reading."""
    kind = FORMATS[start["format"]]
    each = kind.itemsize * start["channels"]
    try:
      while True:
        # In a live stream a client may say nothing for as long as it likes.
        wait = None if start["pace"] == "live" else self._limits.idle_s
        async with asyncio.timeout(wait):
          message = await socket.receive()
        if message["type"] == "websocket.disconnect":
          raise WebSocketDisconnect
        piece = message.get("bytes")
        if piece is None:
          word = _json(message).get("type")
          if word not in ("end", "interrupt", "stop"):
            raise _Refusal({"reason": "not of type end, interrupt or stop"})
          await words.put(word)
        elif len(piece) > self._limits.piece_bytes:
          raise _Refusal({"reason": "a piece that is too long"}, _LARGE)
        elif len(piece) % each:
          raise _Refusal({"reason": f"a piece of no whole {each} bytes"})
        else:
          sound = np.frombuffer(piece, kind).reshape(-1, start["channels"])
          await words.put(sound)
    except TimeoutError:
      await words.put(_Refusal({"reason": "nothing comes"}))
    except Exception as error:
      await words.put(error)

  async def _show(
    self,
    socket: WebSocket,
    stream: Stream,
    words: asyncio.Queue,
    start: dict[str, Any],
  ) -> None:
    """Makes frames and sends them, until the client has enough."""
    loop = asyncio.get_running_loop()
    live, begin, shown = start["pace"] == "live", loop.time(), 0
    frames: Iterator[Frame] = iter(())
    told = 0  # utterances of whose end the client knows
    while True:
      while not words.empty() and stream.queued < self._limits.queued_s:
        if not _heard(stream, words.get_nowait(), start["rate"]):
          return
      while told < stream.spoken:
        await socket.send_json({"type": "spoken", "utterance": told})
        told += 1
      began = time.perf_counter()
      frame = await asyncio.to_thread(next, frames, None)
      if frame is None:
        frames = stream.ready()
        frame = await asyncio.to_thread(next, frames, None)
      if frame is None and live:
        frame = await asyncio.to_thread(stream.idle)
      if frame is None:
        if told == stream.spoken and not _heard(
          stream, await words.get(), start["rate"]
        ):
          return
        continue
      data = await asyncio.to_thread(_encoded, frame, start["frames"])
      self._metrics.frames.inc()
      self._metrics.frame_seconds.observe(time.perf_counter() - began)
      async with asyncio.timeout(self._limits.send_s):
        await socket.send_bytes(data)
      shown += 1
      if live:  # the clock goes on, and late frames come as soon as they can
        await asyncio.sleep(max(begin + shown / stream.fps - loop.time(), 0))


def _heard(stream: Stream, word: Any, rate: int) -> bool:
  """Does what a client says; False: it has enough."""
  if isinstance(word, Exception):
    raise word
  if isinstance(word, str):
    if word == "stop":
      return False
    stream.end() if word == "end" else stream.interrupt()
    return True
  try:
    stream.push(word, rate)
  except ValueError as error:
    raise _Refusal({"reason": str(error)}) from None
  return True


def _encoded(frame: Frame, kind: str) -> bytes:
  head = HEADER.pack(frame.time, frame.utterance, frame.second)
  if kind == "rgb":
    return head + frame.picture.tobytes()
  quality = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
  _, data = cv2.imencode(".jpg", frame.picture[..., ::-1], quality)
  return head + data.tobytes()


def _json(message: Any) -> dict[str, Any]:
  """A text message."""
  if message["type"] == "websocket.disconnect":
    raise WebSocketDisconnect
  text = message.get("text")
  if text is None or len(text) > 65_536:
    raise _Refusal({"reason": "not a short text"})
  try:
    value = json.loads(text)
  except (ValueError, RecursionError):
    raise _Refusal({"reason": "a text that is no JSON"}) from None
  if not isinstance(value, dict):
    raise _Refusal({"reason": "a JSON that is no object"})
  return value


async def _ended(socket: WebSocket, what: dict[str, Any], code: int) -> None:
  with contextlib.suppress(Exception):
    async with asyncio.timeout(2):
      await socket.send_json({"type": "error", "error": what})
      await socket.close(code)
