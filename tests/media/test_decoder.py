"""Media that is read in a child process: the same, and no harm done."""

import os
import re
import signal
import socket
import struct
import threading
import time
import wave
import zlib
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from data_pipelines.media import (
  audio,
  decoder,
  image,
  limits,
  mp4,
  sandbox,
  video,
)
from data_pipelines.media.error import MediaError, MediaWarning
from speak_jax.common.names import printable


def picture(path: Path) -> Path:
  noise = np.random.default_rng(0).integers(0, 255, (32, 48, 3), np.uint8)
  Image.fromarray(noise).save(path)
  return path


def clip(path: Path, frames: int = 30) -> Path:
  rng = np.random.default_rng(0)
  made = (rng.integers(0, 255, (64, 64, 3), np.uint8) for _ in range(frames))
  sound = rng.integers(-9000, 9000, frames * 640, np.int16)
  mp4.write_video(path, made, 25.0, sound)
  return path


def chunk(kind: bytes, data: bytes) -> bytes:
  check = struct.pack(">I", zlib.crc32(kind + data))
  return struct.pack(">I", len(data)) + kind + data + check


def png(width: int, height: int, rows: bytes) -> bytes:
  header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
  return (
    b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", header)
    + chunk(b"IDAT", zlib.compress(rows, 9))
    + chunk(b"IEND", b"")
  )


def refused(read, path, reason: str) -> None:
  """The call fails, in one line that begins with the path."""
  with pytest.raises(MediaError) as caught:
    read(path)
  assert re.search(reason, caught.value.reason), caught.value
  assert str(caught.value).startswith(printable(f"{path}: "))
  assert "\n" not in str(caught.value)


def frames(path) -> list[np.ndarray]:
  return list(decoder.read_frames(path))


READERS = (decoder.probe, frames, decoder.read_audio, decoder.read_image)


def test_all_is_as_in_this_process(tmp_path):
  path = clip(tmp_path / "a.mp4")
  assert decoder.probe(path) == video.probe(path)
  pairs = zip(decoder.read_frames(path), video.read_frames(path), strict=True)
  assert all((a == b).all() for a, b in pairs)
  np.testing.assert_array_equal(
    decoder.read_audio(path, 7, 30.0), audio.read_audio(path, 7, 30.0)
  )
  path = picture(tmp_path / "a.png")
  np.testing.assert_array_equal(
    decoder.read_image(path), image.read_image(path)
  )


def test_warnings_and_relative_names_come_through(awkward, monkeypatch):
  monkeypatch.chdir(awkward.path("truncated_mid_stream.mp4").parent)
  with pytest.warns(MediaWarning, match="^truncated_mid_stream.mp4: breaks"):
    assert len(frames("truncated_mid_stream.mp4")) > 25


def test_frames_are_decoded_once_if_they_fit(tmp_path, monkeypatch):
  path = clip(tmp_path / "a.mp4")
  passes = []
  read = decoder.read_frames
  monkeypatch.setattr(
    decoder, "read_frames", lambda *a: passes.append(a) or read(*a)
  )
  kept = decoder.Frames(path, 25.0, 20)
  assert [len(list(kept)) for _ in range(3)] == [20, 20, 20]
  assert len(passes) == 1
  monkeypatch.setattr(decoder, "_KEEP_BYTES", 64 * 64 * 3 * 19)
  anew = decoder.Frames(path, 25.0, 20)
  for one, other in zip(anew, anew, strict=True):
    assert (one == other).all()
  assert len(passes) == 3


def test_an_abandoned_child_is_gone(tmp_path, monkeypatch):
  pids = started(monkeypatch)
  reading = decoder.read_frames(clip(tmp_path / "a.mp4", 200))
  next(reading)
  os.kill(pids[0], 0)  # it is there
  reading.close()
  with pytest.raises(ProcessLookupError):
    os.kill(pids[0], 0)


def test_a_call_may_be_forgotten_while_another_one_asks(tmp_path, monkeypatch):
  path = clip(tmp_path / "a.mp4", 200)
  pids = started(monkeypatch)
  forgotten = decoder.read_frames(path)
  next(forgotten)
  send = socket.send_fds

  def collect(*args):
    forgotten.close()  # as the garbage collector does, at any time
    return send(*args)

  monkeypatch.setattr(sandbox.socket, "send_fds", collect)
  found = []
  thread = threading.Thread(
    target=lambda: found.append(decoder.probe(path)), daemon=True
  )
  thread.start()
  thread.join(60)
  assert not thread.is_alive() and found[0].frames == 200
  assert len(pids) == 2
  for pid in pids:
    with pytest.raises(ProcessLookupError):
      os.kill(pid, 0)


def started(monkeypatch) -> list[int]:
  """Collects the process ids of the children from now on."""
  pids = []
  start = sandbox._Helper.start

  def remember(self, request):
    pid, pipe = start(self, request)
    pids.append(pid)
    return pid, pipe

  monkeypatch.setattr(sandbox._Helper, "start", remember)
  return pids


def test_a_crash_is_one_line(tmp_path, monkeypatch):
  pids = started(monkeypatch)
  path = clip(tmp_path / "a.mp4", 200)
  reading = decoder.read_frames(path)
  next(reading)
  os.kill(pids[0], signal.SIGSEGV)
  with pytest.raises(MediaError, match=r"a\.mp4: the decoder crashed .SIGSEGV"):
    list(reading)
  assert len(frames(path)) == 200  # and the next one works


def test_a_hang_is_one_line(tmp_path, monkeypatch):
  pids = started(monkeypatch)
  monkeypatch.setattr(limits, "LIMITS", limits.Limits(wait_s=0.3))
  reading = decoder.read_frames(clip(tmp_path / "a.mp4", 200))
  next(reading)
  os.kill(pids[0], signal.SIGSTOP)
  begin = time.monotonic()
  with pytest.raises(MediaError, match=r"a\.mp4: not decoded within 0\.3 s"):
    list(reading)
  assert time.monotonic() - begin < 5
  with pytest.raises(ProcessLookupError):
    os.kill(pids[0], 0)


def test_a_lost_helper_is_said_and_replaced(tmp_path):
  path = picture(tmp_path / "a.png")
  decoder.read_image(path)
  lost = sandbox._helper(os.getpid())
  lost._process.kill()
  lost._process.wait()
  refused(decoder.read_image, path, "process is gone")
  assert decoder.read_image(path).shape == (32, 48, 3)


def test_memory_is_limited(tmp_path, monkeypatch):
  path = tmp_path / "wide.png"
  Image.new("RGB", (7000, 7000)).save(path)
  monkeypatch.setattr(limits, "LIMITS", limits.Limits(memory_bytes=1 << 28))
  refused(decoder.read_image, path, "memory")


# A helper that takes itself to be on a Mac, where the address space cannot be
# limited (cpython issue 78783) and memory is told in bytes.
MACOS = """
import resource, sys
from data_pipelines.media import sandbox, worker
lower, used = resource.setrlimit, resource.getrusage
def refuse(which, both):
  if which == resource.RLIMIT_AS:
    raise ValueError("current limit exceeds maximum limit")
  lower(which, both)
class Bytes:
  def __init__(self, who):
    self.ru_maxrss = used(who).ru_maxrss * 1024
resource.setrlimit, resource.getrusage = refuse, Bytes
sys.platform = "darwin"
worker.serve()
"""


@pytest.fixture
def macos(monkeypatch):
  """The helper is on a Mac; the next test has another one."""
  monkeypatch.setattr(sandbox, "_SERVE", MACOS)
  sandbox._helper.cache_clear()
  yield
  sandbox._helper.cache_clear()


def test_files_are_read_on_macos(macos, tmp_path):
  assert decoder.read_image(picture(tmp_path / "a.png")).shape == (32, 48, 3)
  assert len(frames(clip(tmp_path / "a.mp4", 30))) == 30


def test_memory_is_watched_on_macos(macos, tmp_path, monkeypatch):
  path = tmp_path / "wide.png"
  Image.new("RGB", (7000, 7000)).save(path)
  monkeypatch.setattr(limits, "LIMITS", limits.Limits(memory_bytes=1 << 28))
  refused(decoder.read_image, path, "memory")
  small = picture(tmp_path / "a.png")
  assert decoder.read_image(small).shape == (32, 48, 3)


def test_a_limit_that_cannot_be_set_is_said(tmp_path, monkeypatch):
  """Where nobody expects it: a line with the reason, not a number."""
  elsewhere = MACOS.replace('sys.platform = "darwin"', "")
  monkeypatch.setattr(sandbox, "_SERVE", elsewhere)
  sandbox._helper.cache_clear()
  reason = "ValueError: current limit exceeds maximum limit"
  refused(decoder.read_image, picture(tmp_path / "a.png"), reason)
  sandbox._helper.cache_clear()


def test_cpu_time_is_limited(tmp_path, monkeypatch):
  path = clip(tmp_path / "a.mp4", 100)
  monkeypatch.setattr(limits, "LIMITS", limits.Limits(cpu_s=0))
  refused(frames, path, "takes over 0 s to decode")


# --- files that mean harm --------------------------------------------------


@pytest.mark.parametrize("read", READERS)
def test_scripts_open_nothing(tmp_path, read):
  clip(tmp_path / "secret.mp4")
  for name, text in (
    ("list.mp4", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.mp4\n"),
    ("concat.mp4", "ffconcat version 1.0\nfile secret.mp4\n"),
    ("session.mp4", "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 1 RTP/AVP 96\n"),
    ("drawn.png", '<svg xmlns="http://www.w3.org/2000/svg"/>'),
    ("page.png", "%!PS-Adobe-3.0 EPSF-3.0\n"),
  ):
    (tmp_path / name).write_text(text)
    refused(read, tmp_path / name, "cannot be read|not a picture")


@pytest.mark.parametrize("read", READERS)
def test_what_is_no_file_is_not_opened(tmp_path, read):
  os.mkfifo(tmp_path / "pipe.mp4")
  (tmp_path / "folder.mp4").mkdir()
  (tmp_path / "device.mp4").symlink_to("/dev/zero")
  (tmp_path / "loop.mp4").symlink_to(tmp_path / "loop.mp4")
  (tmp_path / "dangling.mp4").symlink_to(tmp_path / "nowhere")
  with socket.socket(socket.AF_UNIX) as plug:
    plug.bind(str(tmp_path / "plug.mp4"))
  begin = time.monotonic()
  for name, reason in (
    ("pipe", "not a regular file"),
    ("folder", "is a folder"),
    ("device", "not a regular file"),
    ("plug", "not a regular file"),
    ("loop", "cannot be read"),
    ("dangling", "no such file"),
    ("missing", "no such file"),
  ):
    refused(read, tmp_path / f"{name}.mp4", reason)
  refused(read, "a\0b.mp4", "cannot be read")
  assert time.monotonic() - begin < 5


def test_names_are_names(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  for name in (
    "-i",
    "-",
    "concat:a|b.mp4",
    "data:x",
    "http:a",
    "%03d",
    "ü\udcff",
  ):
    os.replace(clip(tmp_path / "a.mp4", 3), name)
    assert decoder.probe(name).frames == 3
    os.replace(picture(tmp_path / "a.png"), name)
    assert decoder.read_image(name).shape == (32, 48, 3)
  (tmp_path / "link.png").symlink_to(name)
  assert decoder.read_image("link.png").shape == (32, 48, 3)


def test_claims_of_size_are_not_believed(tmp_path):
  path = tmp_path / "bomb.png"
  for side, rows in (
    (30_000, bytes(90_001 * 30)),
    (100_000, b""),
    (20_000, b""),
  ):
    path.write_bytes(png(side, side, rows))
    refused(decoder.read_image, path, "^over 256 megapixels$")
  # Of the container's two claims the codec's own is believed.
  data = clip(tmp_path / "a.mp4").read_bytes()
  at = data.index(b"avc1", data.index(b"stsd")) + 4 + 24
  assert data[at : at + 4] == struct.pack(">HH", 64, 64)
  path = tmp_path / "claim.mp4"
  path.write_bytes(
    data[:at] + struct.pack(">HH", 60_000, 60_000) + data[at + 4 :]
  )
  assert frames(path)[0].shape == (64, 64, 3)
  # Here there is the container's alone.
  path = small(tmp_path / "a.avi", 64, 64)
  data = bytearray(path.read_bytes())
  at = data.index(b"strf") + 12
  assert data[at : at + 8] == struct.pack("<ii", 64, 64)
  data[at : at + 8] = struct.pack("<ii", 100_000, 100_000)
  path.write_bytes(data)
  refused(frames, path, "100000x100000 is over|no picture can")
  refused(frames, small(tmp_path / "b.avi", 8208, 16), "8208x16 is over")


def small(path: Path, width: int, height: int) -> Path:
  """A video of one picture, whose codec does not know its size."""
  with av.open(str(path), "w") as out:
    stream = out.add_stream("huffyuv", rate=25)
    stream.width, stream.height = width, height
    stream.pix_fmt = "yuv422p"
    grey = np.full((height, width, 3), 90, np.uint8)
    out.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
    out.mux(stream.encode(None))
  return path


def test_claims_of_length_are_not_believed(tmp_path):
  path = tmp_path / "long.wav"
  with wave.open(str(path), "wb") as file:
    file.setparams((1, 2, 16000, 0, "NONE", ""))
    file.writeframes(np.full(1600, 5000, "<i2").tobytes())
  data = bytearray(path.read_bytes())
  data[4:8] = data[40:44] = struct.pack("<I", 2**32 - 2)  # 2^31 samples
  path.write_bytes(data)
  assert len(decoder.read_audio(path)) == 1600  # what is there counts
  data[24:28] = struct.pack("<I", 2_000_000_000)  # samples a second
  path.write_bytes(data)
  refused(decoder.read_audio, path, "Hz|cannot be read")


def test_a_picture_in_ten_years_is_refused(tmp_path):
  path = tmp_path / "late.mp4"
  data = bytearray(clip(tmp_path / "a.mp4").read_bytes())
  at = data.index(b"stts") + 8  # entry count, then (count, duration) pairs
  data[at + 8 : at + 12] = struct.pack(">I", 2**31 - 1)
  path.write_bytes(data)
  with pytest.warns(MediaWarning, match="breaks off"):
    refused(frames, path, "a picture that lasts")


@pytest.mark.parametrize("form", ["wav", "avi", "flac", "matroska", "mp4"])
def test_titles_may_be_in_any_encoding(tmp_path, form):
  path = tmp_path / "old"
  with av.open(str(path), "w", format=form) as out:
    out.metadata["title"] = "Gr--e aus K-ln"
    codec = "flac" if form == "flac" else "aac"
    stream = out.add_stream(
      "pcm_s16le" if form in ("wav", "avi") else codec, rate=16000
    )
    frame = av.AudioFrame.from_ndarray(
      np.full((1, 1024), 5000, np.int16), "s16", "mono"
    )
    frame.sample_rate = 16000
    for one in (frame, None):
      out.mux(stream.encode(one))
  data = path.read_bytes()
  assert data.count(b"Gr--e aus K-ln") == 1
  path.write_bytes(data.replace(b"Gr--e aus K-ln", b"Gr\xf6\xdfe aus K\xf6ln"))
  assert decoder.audio_track(path) == 0
  assert len(decoder.read_audio(path)) >= 1024
