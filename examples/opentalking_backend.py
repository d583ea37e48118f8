"""`speak serve` as a backend of OpenTalking (github.com/datascale-ai).

  speak serve
  python examples/opentalking_backend.py [--port 8765] [--option size=512]

OpenTalking gives a picture and its voice's sound in pieces of one length, and
wants the frames of each piece back: what its documents call the protocol that
is compatible with FlashTalk (init, AUDI, VIDX). This passes them on to
`/stream`. Needs no more than Python and the package websockets; --url is the
server's address, $SPEAK_SERVE_TOKEN its token. docs/serving.md says what
OpenTalking is told.
"""

import argparse
import asyncio
import base64
import contextlib
import http
import json
import os
import struct

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

HEADER = struct.Struct("<did")  # of our frames: time, utterance, second of it
COUNT = struct.Struct("<I")  # of frames, and of bytes
AUDIO, VIDEO = b"AUDI", b"VIDX"
RATE = 16_000  # Hz; mono, int16
MOST = 30 << 20  # bytes of a message: a picture in base64
ALIVE_S = 20.0  # our server ends a stream from which nothing comes in 60 s
TRIES = 5  # for a place at the server, half a second each
MODELS = "/v1/audio2video/models"
# What OpenTalking takes as: begin anew, and send that piece again.
LOST = "No active session. Send 'init' first."
TOKEN = os.environ.get("SPEAK_SERVE_TOKEN", "")
KEY = os.environ.get("OMNIRT_API_KEY", "")  # that OpenTalking sends
WORDS = "field", "reason"  # of our server's errors


class Refusal(Exception):
  """One line for OpenTalking."""


class Face:
  """A picture that is at our server, and the sound it has heard."""

  def __init__(self, socket, ready: dict):
    """Takes a stream that has begun."""
    self.ready, self._socket = ready, socket
    self._samples = self._made = 0
    self._alive = asyncio.create_task(self._stay())

  @classmethod
  async def opened(cls, url: str, picture: bytes, options: dict) -> "Face":
    """Sends a picture.

    Raises:
      Refusal: no face, no such option, or no place.
    """
    start = {
      "type": "start",
      "token": TOKEN,
      "rate": RATE,
      # A piece's frames are wanted before the next piece: they hear all of
      # theirs, and what follows is mirrored.
      "look_ahead": 0,
      "options": options,
    }
    for left in reversed(range(TRIES)):
      try:
        socket = await connect(f"{url}/stream", max_size=None, open_timeout=30)
      except OSError as error:
        raise Refusal(f"{url}: {error}") from None
      try:
        await socket.send(json.dumps(start))
        await socket.send(picture)
        word = json.loads(await socket.recv())
        if word["type"] == "ready":
          return cls(socket, word)
        await socket.wait_closed()
      except ConnectionClosed:
        word = {"error": {"reason": "the server has closed the stream"}}
      if socket.close_code != 1013 or not left:  # try again later
        what = word["error"]
        raise Refusal(": ".join(filter(None, map(what.get, WORDS))))
      await asyncio.sleep(0.5)  # somebody may be leaving
    raise AssertionError

  async def frames(self, sound: bytes) -> list[bytes]:
    """The JPEGs of a piece of sound."""
    self._samples += len(sound) // 2
    want = self._samples * self.ready["fps"] // RATE - self._made
    await self._socket.send(sound)
    out = []
    while len(out) < want:
      message = await self._socket.recv()
      if isinstance(message, str):
        raise Refusal(LOST)  # it ends
      out.append(message[HEADER.size :])
    self._made += len(out)
    return out

  async def close(self) -> None:
    """Leaves."""
    self._alive.cancel()
    with contextlib.suppress(ConnectionClosed):
      await self._socket.send(json.dumps({"type": "stop"}))
    await self._socket.close()

  async def _stay(self) -> None:
    with contextlib.suppress(ConnectionClosed):
      while True:
        await asyncio.sleep(ALIVE_S)
        await self._socket.send(b"")


class Backend:
  """Serves OpenTalking."""

  def __init__(self, url: str, frames: int, options: dict[str, str]):
    """Takes our server's address, frames of a piece, and options."""
    self._url, self._each, self._options = url, frames, options

  async def __call__(self, socket) -> None:
    """Serves one of its sessions after another, until it leaves."""
    face: Face | None = None
    try:
      async for message in socket:
        try:
          if isinstance(message, bytes):
            await socket.send(await self._shown(face, message))
            continue
          word = _word(message)
          if word.get("type") not in ("init", "close"):
            raise Refusal(f"Unknown message type: {word.get('type')}")
          if face is not None:
            await face.close()
            face = None
          if word["type"] == "close":
            await socket.send(json.dumps({"type": "close_ok"}))
            continue
          face = await self._begun(word)
          await socket.send(json.dumps(self._told(face)))
        except Refusal as why:
          error = {"type": "error", "message": str(why)}
          await socket.send(json.dumps(error))
    except ConnectionClosed:
      pass
    finally:
      if face is not None:
        await face.close()

  async def _begun(self, word: dict) -> Face:
    try:
      picture = base64.b64decode(word.get("ref_image") or "", validate=True)
    except (TypeError, ValueError):
      raise Refusal("ref_image: no base64") from None
    if not picture:
      raise Refusal("ref_image: is missing")
    seed = {"seed": word["seed"]} if type(word.get("seed")) is int else {}
    return await Face.opened(self._url, picture, seed | self._options)

  def _told(self, face: Face) -> dict:
    fps = face.ready["fps"]
    return {
      "type": "init_ok",
      "frame_num": self._each,
      "motion_frames_num": 0,  # of a piece that repeat the last one's end
      "slice_len": self._each,
      "fps": round(fps),
      "width": face.ready["width"],
      "height": face.ready["height"],
      "chunk_samples": round(self._each * RATE / fps),
    }

  async def _shown(self, face: Face | None, message: bytes) -> bytes:
    if face is None:
      raise Refusal(LOST)
    sound = message[len(AUDIO) :]
    if not message.startswith(AUDIO) or len(sound) % 2:
      raise Refusal("not AUDI and int16 samples")
    try:
      frames = await face.frames(sound)
    except ConnectionClosed:
      raise Refusal(LOST) from None
    sized = (COUNT.pack(len(frame)) + frame for frame in frames)
    return VIDEO + COUNT.pack(len(frames)) + b"".join(sized)


def _word(text: str) -> dict:
  try:
    word = json.loads(text)
  except (ValueError, RecursionError):
    word = None
  if not isinstance(word, dict):
    raise Refusal("Invalid JSON")
  return word


def answered(names: list[str]):
  """What is said to plain HTTP: which models there are, to who may ask."""

  def answer(connection, request):
    if KEY and request.headers.get("Authorization") != f"Bearer {KEY}":
      return connection.respond(http.HTTPStatus.UNAUTHORIZED, "a key is needed")
    if request.headers.get("Upgrade", "").lower() == "websocket":
      return None
    if request.path not in ("/", MODELS):
      return connection.respond(http.HTTPStatus.NOT_FOUND, "no such page")
    status = [{"id": name, "connected": True} for name in names]
    text = json.dumps({"models": names, "statuses": status})
    response = connection.respond(http.HTTPStatus.OK, text)
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = "application/json"
    return response

  return answer


async def run(args: argparse.Namespace) -> None:
  """Serves until it is ended."""
  options = dict(option.split("=", 1) for option in args.option)
  backend = Backend(args.url.replace("http", "ws", 1), args.frames, options)
  # No web page of elsewhere may ask: a browser says its Origin.
  async with serve(
    backend,
    args.host,
    args.port,
    origins=[None],
    process_request=answered(args.name or ["flashtalk"]),
    max_size=MOST,
    ping_timeout=180,
  ) as server:
    host, port = server.sockets[0].getsockname()[:2]
    print(f"ws://{host}:{port} speaks for {args.url}", flush=True)
    await server.serve_forever()


def main() -> None:
  """Reads the words of the command."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--url", default="http://127.0.0.1:8000")
  parser.add_argument("--host", default="127.0.0.1")
  parser.add_argument("--port", type=int, default=8765)
  parser.add_argument("--frames", type=int, default=28, help="of a piece")
  parser.add_argument(
    "--name", action="append", help="as OpenTalking calls it (flashtalk)"
  )
  parser.add_argument(
    "--option", action="append", default=[], help="NAME=VALUE, as size=256"
  )
  args = parser.parse_args()
  if args.host not in ("127.0.0.1", "::1", "localhost") and not KEY:
    parser.error("another host needs $OMNIRT_API_KEY, which OpenTalking sends")
  with contextlib.suppress(KeyboardInterrupt):
    asyncio.run(run(args))


if __name__ == "__main__":
  main()
