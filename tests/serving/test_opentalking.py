"""OpenTalking's side of its protocol, spoken to our adapter and server."""

import base64
import contextlib
import http.client
import io
import json
import os
import struct
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from speak_jax.common import packaged
from tests.serving.ask import TOKEN

sync = pytest.importorskip("websockets.sync.client", reason="no FastAPI here")
EXAMPLE = Path(__file__).parents[2] / "examples" / "opentalking_backend.py"
FRAMES = 10  # of a piece
KEY = "a key of OpenTalking"


class OpenTalking:
  """What its client does, by its documents: init, pieces, close.

  A piece is exactly `chunk` samples, all of its frames are wanted before the
  next one, and an error of a piece is a text.
  """

  def __init__(self, address):
    headers = {"Authorization": f"Bearer {KEY}"}
    self._opening = sync.connect(
      address, additional_headers=headers, max_size=50 << 20
    )

  def __enter__(self):
    self.socket = self._opening.__enter__()
    return self

  def __exit__(self, *error):
    self._opening.__exit__(*error)

  def init(self, picture, **more):
    picture = base64.b64encode(picture).decode()
    word = {"type": "init", "ref_image": picture, "prompt": "A", "seed": 9999}
    self.socket.send(json.dumps(word | more))
    self.about = json.loads(self.socket.recv(timeout=60))
    if self.about["type"] == "init_ok":
      pieces = self.about["slice_len"] * 16_000
      self.chunk = pieces // self.about["fps"]
    return self.about

  def generate(self, samples):
    """The JPEGs of a piece; a str: what was wrong."""
    self.socket.send(b"AUDI" + samples.astype(np.int16).tobytes())
    answer = self.socket.recv(timeout=60)
    if isinstance(answer, str):
      return json.loads(answer)["message"]
    assert answer[:4] == b"VIDX"
    (count,), at, out = struct.unpack("<I", answer[4:8]), 8, []
    for _ in range(count):
      (size,) = struct.unpack_from("<I", answer, at)
      out.append(answer[at + 4 : at + 4 + size])
      at += 4 + size
    assert at == len(answer)
    return out

  def close(self):
    self.socket.send(json.dumps({"type": "close"}))
    assert json.loads(self.socket.recv(timeout=60)) == {"type": "close_ok"}


@contextlib.contextmanager
def adapter(url, *words, key=KEY):
  """The example, run as a reader would; gives its address."""
  command = [sys.executable, str(EXAMPLE), "--url", url, "--port", "0"]
  env = {**os.environ, "SPEAK_SERVE_TOKEN": TOKEN, "OMNIRT_API_KEY": key}
  opened = subprocess.Popen(
    [*command, *words], stdout=subprocess.PIPE, text=True, env=env
  )
  with opened as process:
    try:
      assert process.stdout is not None
      line = process.stdout.readline()
      assert f"speaks for {url}" in line
      yield line.split()[0]
    finally:
      process.terminate()


@pytest.fixture(scope="module")
def address(served):
  words = ("--frames", str(FRAMES), "--option", "size=64")
  with adapter(served.client.url, *words) as found:
    yield found


@pytest.fixture(scope="module")
def sound():
  samples, rate = soundfile.read(packaged.SENTENCE, dtype="int16")
  assert rate == 16_000
  return samples


def of_the_server(served, face, pieces, **options):
  """The JPEGs that /stream itself gives for the same pieces."""
  from serve_client import HEADER

  start = {"type": "start", "token": TOKEN, "look_ahead": 0}
  frames = []
  url = f"ws://127.0.0.1:{served.port}/stream"
  with sync.connect(url, max_size=None) as socket:
    socket.send(json.dumps(start | {"options": options}))
    socket.send(face)
    assert json.loads(socket.recv(timeout=60))["type"] == "ready"
    for piece in pieces:
      socket.send(piece.tobytes())
      frames += [socket.recv(timeout=60)[HEADER.size :] for _ in range(FRAMES)]
  return frames


def test_a_session_speaks(served, address, face, sound):
  """Each piece has all of its frames, and they are those of the server."""
  with OpenTalking(f"{address}/v1/audio2video/flashtalk") as one:
    about = one.init(face)
    assert (about["type"], about["fps"]) == ("init_ok", 25)
    assert about["slice_len"] == about["frame_num"] == FRAMES
    assert about["chunk_samples"] == one.chunk == FRAMES * 640
    pieces = sound[: 3 * one.chunk].reshape(3, -1)
    frames = [one.generate(piece) for piece in pieces]
    one.close()
  assert [len(each) for each in frames] == [FRAMES] * 3
  first = Image.open(io.BytesIO(frames[0][0]))
  assert first.size == (about["width"], about["height"])
  assert max(first.size) == 64 and min(first.size) % 2 == 0
  want = of_the_server(served, face, pieces, size=64, seed=9999)
  assert [jpeg for each in frames for jpeg in each] == want


def test_what_hears_nothing_stays(served, address, face, sound):
  """An empty piece keeps a session alive and changes no frame."""
  with OpenTalking(address) as one:
    one.init(face)
    piece = sound[: one.chunk]
    assert one.generate(piece[:0]) == []
    frames = one.generate(piece)
    one.close()
  assert frames == of_the_server(served, face, [piece], size=64, seed=9999)


def test_two_at_once_and_one_after_another(address, face, sound):
  """Who begins anew is not in the way of himself; a third is told."""
  with contextlib.ExitStack() as stack:
    one, two, three = (
      stack.enter_context(OpenTalking(address)) for _ in range(3)
    )
    assert one.init(face)["type"] == "init_ok"
    assert two.init(face)["type"] == "init_ok"
    assert one.init(face, seed=3)["type"] == "init_ok"
    piece = sound[: one.chunk]
    shown = one.generate(piece), two.generate(piece)
    assert len(shown[0]) == len(shown[1]) == FRAMES and shown[0] != shown[1]
    assert "all streams are taken" in three.init(face)["message"]
    one.close()
    assert three.init(face)["type"] == "init_ok"


def test_what_is_wrong_is_a_line(address, face):
  with OpenTalking(address) as one:
    nothing = np.zeros(6_400, np.int16)
    # By these words OpenTalking knows that it is to begin anew.
    assert "no active session" in one.generate(nothing).lower()
    for said, line in (
      ("{", "Invalid JSON"),
      ("[1]", "Invalid JSON"),
      ('{"type": "dance"}', "Unknown message type: dance"),
      ('{"type": "init"}', "ref_image: is missing"),
      ('{"type": "init", "ref_image": "*"}', "ref_image: no base64"),
      ('{"type": "init", "ref_image": 7}', "ref_image: no base64"),
    ):
      one.socket.send(said)
      answer = json.loads(one.socket.recv(timeout=60))
      assert answer == {"type": "error", "message": line}
    assert "identity: " in one.init(b"no picture")["message"]
    assert one.init(face)["type"] == "init_ok"
    one.socket.send(b"AUDI1")
    assert "int16" in json.loads(one.socket.recv(timeout=60))["message"]
    one.socket.send(b"MUSI12")
    assert "AUDI" in json.loads(one.socket.recv(timeout=60))["message"]
    assert len(one.generate(nothing)) == FRAMES
    one.close()


def test_a_server_that_goes_is_told_and_comes_back(face, sound):
  """The words again, by which OpenTalking begins anew."""
  from websockets.sync.server import serve

  def once(socket):
    socket.recv()
    socket.recv()
    ready = {"type": "ready", "fps": 25, "width": 64, "height": 64}
    socket.send(json.dumps(ready))
    socket.recv()  # and goes

  with serve(once, "127.0.0.1", 0) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.socket.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with adapter(url) as address, OpenTalking(address) as one:
      assert one.init(face)["type"] == "init_ok"
      assert "no active session" in one.generate(sound[:640]).lower()
      assert one.init(face)["type"] == "init_ok"
      one.close()
    server.shutdown()


def ask(address, path, **headers):
  host = address.removeprefix("ws://")
  connection = http.client.HTTPConnection(host, timeout=30)
  connection.request("GET", path, headers=headers)
  answer = connection.getresponse()
  return answer.status, answer.read()


def test_it_says_which_models_there_are(address):
  key = {"Authorization": f"Bearer {KEY}"}
  for path in ("/v1/audio2video/models", "/"):
    status, text = ask(address, path, **key)
    assert status == 200
    assert json.loads(text) == {
      "models": ["flashtalk"],
      "statuses": [{"id": "flashtalk", "connected": True}],
    }
  assert ask(address, "/etc/passwd", **key)[0] == 404
  assert ask(address, "/")[0] == 401


def test_a_page_of_elsewhere_and_one_without_the_key_are_refused(address):
  from websockets.exceptions import InvalidStatus

  for headers, status in (
    ({"Authorization": f"Bearer {KEY}", "Origin": "http://evil.org"}, 403),
    ({"Authorization": "Bearer other"}, 401),
    ({}, 401),
  ):
    with pytest.raises(InvalidStatus, match=str(status)):
      sync.connect(address, additional_headers=headers, legacy=True)
