"""A server of its own thread, and clients that speak plain sockets."""

import socket
import sys
import threading
import time
import types
from pathlib import Path

import pytest
import soundfile

import speak_jax
from speak_jax.common import packaged
from tests.serving.ask import TOKEN, Client

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

SECONDS = 0.6


def started(folder: Path, token: str, limits) -> tuple:
  """A server that listens: (its `Server`, uvicorn's, thread, port)."""
  import uvicorn

  from speak_jax.serving import app, guard

  made = app.Server(speak_jax.load, folder, token=token, limits=limits)
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
  config = uvicorn.Config(
    app.make(made, "0"),
    port=port,
    http=guard.protocol(limits),
    ws="websockets-sansio",
    ws_max_size=limits.picture_bytes,
    log_level="critical",
    timeout_graceful_shutdown=1,
  )
  server = uvicorn.Server(config)
  thread = threading.Thread(target=server.run, daemon=True)
  thread.start()
  end = time.monotonic() + 60
  while not server.started and time.monotonic() < end:
    time.sleep(0.05)
  return made, server, thread, port


@pytest.fixture(scope="package")
def served(tmp_path_factory):
  """A server with small limits and a token."""
  pytest.importorskip("fastapi", reason="no FastAPI here")
  from speak_jax.serving.limits import Limits

  limits = Limits(
    upload_bytes=400_000,
    upload_s=3.0,
    header_s=2.0,
    sound_s=3.0,
    side_px=128,
    wait_s=60.0,
    queue=3,
    kept_s=600.0,
    streams=2,
    idle_s=3.0,
    piece_bytes=40_000,
    picture_bytes=300_000,
  )
  folder = tmp_path_factory.mktemp("served")
  made, server, thread, port = started(folder, TOKEN, limits)
  yield types.SimpleNamespace(
    client=Client(port, TOKEN), port=port, folder=folder, server=made
  )
  server.should_exit = True
  thread.join(timeout=60)
  assert not thread.is_alive()
  assert not list(folder.iterdir())


@pytest.fixture(scope="package")
def face() -> bytes:
  return packaged.PORTRAIT.read_bytes()


@pytest.fixture(scope="package")
def voice(tmp_path_factory) -> bytes:
  """The begin of the sentence, wav."""
  sound, rate = soundfile.read(packaged.SENTENCE, dtype="int16")
  path = tmp_path_factory.mktemp("voice") / "voice.wav"
  soundfile.write(path, sound[: round(SECONDS * rate)], rate)
  return path.read_bytes()
