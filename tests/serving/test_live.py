"""WebSocket /stream, asked well and badly."""

import io
import json
import time

import numpy as np
import pytest
from PIL import Image

from tests.serving.ask import TOKEN

RATE = 16_000
sync = pytest.importorskip("websockets.sync.client", reason="no FastAPI here")
START = {"type": "start", "token": TOKEN, "options": {"size": 64}}


@pytest.fixture
def talk(served):
  """Opens a socket."""
  url = f"ws://127.0.0.1:{served.port}/stream"

  def open_one():
    return sync.connect(url, open_timeout=30, max_size=None)

  return open_one


def begin(socket, face, **more):
  socket.send(json.dumps(START | more))
  socket.send(face)
  return json.loads(socket.recv(timeout=60))


def until_spoken(socket):
  """The frames up to the end of an utterance: (time, utterance, second)."""
  from serve_client import HEADER

  frames = []
  while True:
    message = socket.recv(timeout=60)
    if isinstance(message, str):
      assert json.loads(message)["type"] == "spoken"
      return frames
    picture = Image.open(io.BytesIO(message[HEADER.size :]))
    assert max(picture.size) == 64
    frames.append(HEADER.unpack_from(message))


def test_sound_in_frames_out(talk, face):
  with talk() as socket:
    ready = begin(socket, face)
    assert (ready["type"], ready["fps"]) == ("ready", 25)
    for _ in range(8):
      socket.send(np.zeros(RATE // 10, np.int16).tobytes())
    socket.send('{"type": "end"}')
    frames = until_spoken(socket)
    assert [f[1] for f in frames] == [0] * 20
    assert [round(f[0] * 25) for f in frames] == list(range(20))
    socket.send('{"type": "stop"}')


def test_a_live_head_moves_while_nothing_comes(talk, face):
  from serve_client import HEADER

  with talk() as socket:
    begin(socket, face, pace="live", frames="rgb")
    frames = [socket.recv(timeout=60) for _ in range(10)]
  heads = [HEADER.unpack_from(frame) for frame in frames]
  assert {head[1] for head in heads} == {-1}
  assert len(set(frame[HEADER.size :] for frame in frames)) > 5


def test_an_interrupt_ends_an_utterance(talk, face):
  with talk() as socket:
    begin(socket, face)
    socket.send(np.zeros(RATE, np.int16).tobytes()[:32_000])
    socket.send('{"type": "interrupt"}')
    until_spoken(socket)
    socket.send(np.zeros(RATE // 5, np.int16).tobytes())
    socket.send('{"type": "end"}')
    assert [f[1] for f in until_spoken(socket)] == [1] * 5


@pytest.mark.parametrize(
  "first",
  [
    "nonsense",
    "[]",
    "{}",
    "[" * 60_000,
    b"\x00\x01",
    json.dumps(START | {"token": "wrong"}),
    json.dumps(START | {"token": 5}),
    json.dumps({"type": "start"}),
    json.dumps(START | {"rate": 1e99}),
    json.dumps(START | {"rate": "16000"}),
    json.dumps(START | {"channels": 0}),
    json.dumps(START | {"format": "mp3"}),
    json.dumps(START | {"path": "/etc/passwd"}),
    json.dumps(START | {"options": []}),
  ],
)
def test_a_bad_start_is_refused(talk, first):
  with talk() as socket:
    socket.send(first)
    answer = json.loads(socket.recv(timeout=30))
    assert answer["type"] == "error"
    assert "/" not in answer["error"]["reason"]


@pytest.mark.parametrize(
  "more",
  [
    {"options": {"emotion": "/etc/passwd"}},
    {"options": {"pose": "/etc/passwd"}},
    {"options": {"size": 5_000}},
    {"options": {"size": [1]}},
    {"options": {"fps": 30}},
    {"look_ahead": 99},
    {"lufs": 99},
  ],
)
def test_bad_options_are_refused(talk, face, more):
  with talk() as socket:
    answer = begin(socket, face, **more)
    assert answer["type"] == "error"
    assert "root:" not in answer["error"]["reason"]


@pytest.mark.parametrize("picture", [b"nonsense", b"#EXTM3U\n/etc/passwd\n"])
def test_what_is_no_picture_is_refused(talk, picture):
  with talk() as socket:
    answer = begin(socket, picture)
    assert answer["error"]["field"] == "identity"
    assert "/" not in answer["error"]["reason"]


@pytest.mark.parametrize(
  "piece",
  [b"odd", b"\x00" * 50_000, "nonsense", '{"type": "format"}', '{"type": []}'],
)
def test_a_bad_piece_ends_the_stream(talk, face, piece):
  with talk() as socket:
    begin(socket, face)
    socket.send(piece)
    answer = json.loads(socket.recv(timeout=30))
    assert answer["type"] == "error"


def test_sound_that_is_no_number_ends_the_stream(talk, face):
  with talk() as socket:
    begin(socket, face, format="f32le")
    socket.send(np.full(100, np.nan, "<f4").tobytes())
    answer = json.loads(socket.recv(timeout=30))
    assert "no numbers" in answer["error"]["reason"]


def test_who_says_nothing_is_given_up(talk, face):
  began = time.monotonic()
  with talk() as socket:  # no start
    assert json.loads(socket.recv(timeout=30))["type"] == "error"
  with talk() as socket:  # no sound
    begin(socket, face)
    assert json.loads(socket.recv(timeout=30))["type"] == "error"
  assert time.monotonic() - began < 40


def test_more_streams_than_there_may_be_are_told_to_wait(talk, face, served):
  with talk() as one, talk() as two:
    assert begin(one, face, pace="live")["type"] == "ready"
    assert begin(two, face, pace="live")["type"] == "ready"
    with talk() as three:  # now: who says nothing for 2 s is sent away
      three.send(json.dumps(START))
      answer = json.loads(three.recv(timeout=30))
    assert answer["error"]["reason"] == "all streams are taken"
  end = time.monotonic() + 20
  while served.server.streams._count and time.monotonic() < end:
    time.sleep(0.1)
  assert served.server.streams._count == 0
