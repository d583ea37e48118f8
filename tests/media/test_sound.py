"""Sound stays in step with the picture: within a millisecond of the source.

Lags are measured by cross-correlation, to a fraction of a sample.
"""

import contextlib
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import av.error
import numpy as np
import pytest
from scipy.signal import resample_poly

from data_pipelines.faces import cut
from data_pipelines.media import decoder
from speak_jax import spec

RATE = spec.SAMPLE_RATE_HZ
SECONDS = 1.6


def lag_ms(late: np.ndarray, early: np.ndarray) -> float:
  """How far `late` is behind `early`, both at 16 kHz."""
  n = 2 * (len(late) + len(early))
  spectrum = np.fft.rfft(late, n) * np.conj(np.fft.rfft(early, n))
  likeness = np.fft.irfft(spectrum, n)
  top = int(likeness.argmax())
  a, b, c = likeness[[top - 1, top, (top + 1) % n]]
  assert b > 0.8 * np.linalg.norm(late) * np.linalg.norm(early)
  shift = top - n if top > n // 2 else top
  return (shift + (a - c) / 2 / (a - 2 * b + c)) / RATE * 1000


def test_the_measure():
  early = noise()
  late = np.concatenate([np.zeros(40), early])
  assert lag_ms(late, early) == pytest.approx(2.5, abs=1e-3)
  assert lag_ms(early, late) == pytest.approx(-2.5, abs=1e-3)


def noise() -> np.ndarray:
  """Speech-like: 0.1 to 3 kHz, rising and falling; 16 kHz."""
  n = round(SECONDS * RATE)
  band = np.fft.rfft(np.random.default_rng(0).normal(size=n))
  hz = np.fft.rfftfreq(n, 1 / RATE)
  band[(hz < 100) | (hz > 3000)] = 0
  sound = np.fft.irfft(band, n) * (1.5 + np.sin(np.arange(n) / 3000))
  return 9000 * sound / np.abs(sound).max()


class File(NamedTuple):
  """What a file is made of; without `video` it is sound alone."""

  name: str
  video: str
  fps: float
  sound: str
  rate: int
  layout: str = "mono"
  late: float = 0.0  # seconds


FILES = (
  File("phone.mp4", "libx264", 30, "aac", 44100, "stereo"),
  File("film.mov", "libx264", 24000 / 1001, "pcm_s16le", 48000, "stereo"),
  File("tv.mp4", "libx264", 30000 / 1001, "aac", 48000, "stereo"),
  File("slow.mp4", "libx264", 12.5, "aac", 22050, late=0.4),
  File("fast.mkv", "libx264", 60, "aac", 48000, "stereo", late=0.4),
  File("pal.mkv", "libx264", 50, "libopus", 48000),
  File("web.webm", "libvpx", 25, "libopus", 48000),
  File("crema.flv", "flv", 30, "libmp3lame", 44100),
  File("flash.flv", "flv", 15, "aac", 44100),
  File("old.mpg", "mpeg2video", 25, "mp2", 48000),
  File("air.ts", "libx264", 25, "aac", 44100),
  File("voxceleb.m4a", "", 0, "aac", 16000),
  File("song.mp3", "", 0, "libmp3lame", 44100, "stereo"),
  File("mail.ogg", "", 0, "libopus", 48000),
)


def written(path: Path, file: File) -> Path:
  """Writes `noise` as the codec has it, encoder delay and all."""
  with av.open(str(path), "w") as out:
    picture = None
    if file.video:
      rate = Fraction(file.fps).limit_denominator(1001)
      picture = out.add_stream(file.video, rate=rate)
      picture.width = picture.height = 32
      picture.pix_fmt = "yuv420p"
    sound = out.add_stream(file.sound, rate=file.rate, layout=file.layout)
    if picture is not None:
      grey = np.full((32, 32, 3), 90, np.uint8)
      for i in range(round(SECONDS * file.fps)):
        frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
        frame.pts, frame.time_base = i, 1 / rate
        out.mux(picture.encode(frame))
      out.mux(picture.encode(None))
    common = np.gcd(file.rate, RATE)
    pcm = resample_poly(noise(), file.rate // common, RATE // common)
    pcm = np.repeat(pcm[:, None], 1 + (file.layout == "stereo"), 1)
    whole = av.AudioFrame.from_ndarray(
      pcm.astype(np.int16).reshape(1, -1), format="s16", layout=file.layout
    )
    whole.sample_rate, whole.time_base = file.rate, Fraction(1, file.rate)
    whole.pts = round(file.late * file.rate)
    context = sound.codec_context
    pieces = av.AudioResampler(
      format=context.format,
      layout=file.layout,
      rate=file.rate,
      frame_size=context.frame_size or 1024,
    )
    for frame in (*pieces.resample(whole), *pieces.resample(None)):
      out.mux(sound.encode(frame))
    out.mux(sound.encode(None))
  return path


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_container_keeps_time(tmp_path, file):
  got = decoder.read_audio(written(tmp_path / file.name, file))
  lag = lag_ms(got.astype(float), noise())
  assert abs(lag - 1000 * file.late) < 1, lag


def test_a_hole_in_the_sound_is_silent(tmp_path):
  """Packets that were lost must not pull the rest forward."""
  whole = written(tmp_path / "a.mkv", FILES[4])
  holed = tmp_path / "b.mkv"
  with av.open(str(whole)) as source, av.open(str(holed), "w") as out:
    to = {s.index: out.add_stream_from_template(s) for s in source.streams}
    for packet in source.demux():
      if packet.dts is None:
        continue
      time = float(packet.pts * packet.time_base)
      if packet.stream.type == "audio" and 1.0 < time < 1.3:
        continue
      packet.stream = to[packet.stream.index]
      out.mux(packet)
  before, after = (
    decoder.read_audio(path).astype(float) for path in (whole, holed)
  )
  tail = slice(round(1.5 * RATE), None)
  assert abs(lag_ms(after[tail], before[tail])) < 1
  assert np.abs(after[round(1.1 * RATE) : round(1.25 * RATE)]).max() < 50


def own_sound(path: Path) -> np.ndarray:
  """A file's sound by another way: native rate, SciPy's resampling.

  Starts with the first picture, as the packets' times say.
  """
  with av.open(str(path)) as container:
    first = next(iter(container.decode(video=0))).time
  with av.open(str(path)) as container:
    frames = []
    with contextlib.suppress(av.error.FFmpegError):  # where it breaks off
      frames.extend(container.decode(audio=0))
  rate = frames[0].sample_rate
  planes = [np.atleast_2d(frame.to_ndarray()) for frame in frames]
  mono = np.concatenate([plane.mean(0) for plane in planes])
  start = round((frames[0].time - first) * rate)
  mono = np.pad(mono, (max(start, 0), 0))[max(-start, 0) :]
  common = np.gcd(rate, RATE)
  return resample_poly(mono, RATE // common, rate // common)


AWKWARD = (
  "audio_late_400ms",
  "audio_longer_than_video",
  "fps_29_97",
  "rotated_phone",
  "truncated_mid_stream",
  "vfr",
)


@pytest.mark.parametrize("name", AWKWARD)
@pytest.mark.filterwarnings("ignore::data_pipelines.media.error.MediaWarning")
def test_awkward_files_keep_time(awkward, face_models, name):
  path = awkward.path(f"{name}.mp4")
  (clip,) = cut.clips_of(path, cut.Settings(size=64))
  true = own_sound(path)
  start = round(clip.start * 640)
  true = true[start : start + len(clip.audio)]
  lag = lag_ms(clip.audio.astype(float), true)
  print(f"{name}: {lag:.3f} ms")
  assert abs(lag) < 1


def test_late_sound_is_late_by_400_ms(awkward, face_models):
  """Against a film with the same sound, which is not late."""
  late = awkward.path("audio_late_400ms.mp4")
  (clip,) = cut.clips_of(late, cut.Settings(size=64))
  true = own_sound(awkward.plain())[: 3 * RATE]
  assert abs(lag_ms(clip.audio.astype(float), true) - 400) < 1


def test_sound_of_a_file_beside_the_video(awkward, face_models, tmp_path):
  """As VoxCeleb2 has it: the video is silent, the sound an m4a."""
  path = awkward.path("no_audio.mp4")
  beside = written(tmp_path / "a.m4a", File("a.m4a", "", 0, "aac", 16000))
  (clip,) = cut.clips_of(path, cut.Settings(size=64), audio_path=beside)
  assert len(clip.audio) == len(clip.frames) * 640
  assert abs(lag_ms(clip.audio.astype(float), noise())) < 1
