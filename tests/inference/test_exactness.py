"""Sound, mouth and pictures keep time, whatever rates and codecs go in and out.

Properties of random files: few of them here, hundreds with --campaigns.
"""

import tempfile
from fractions import Fraction
from pathlib import Path

import av
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from data_pipelines.faces.eyes import EyeReader
from data_pipelines.media import decoder, mp4
from data_pipelines.media.mp4 import frame_rate
from speak_jax import spec
from speak_jax.inference import take as takes
from speak_jax.inference import talking_photograph, windows
from speak_jax.inference.inputs import read_speech
from speak_jax.inference.motion_model import MotionModel, MotionSettings
from speak_jax.inference.request import Request
from speak_jax.photograph import composition, head_motion
from tests.test_generate import Centred

# Random sound may be that.
pytestmark = pytest.mark.filterwarnings("ignore:.*very quiet")

HEARD = spec.SAMPLE_RATE_HZ
# ffmpeg's coder, and the rates that it takes.
CODECS = {
  "wav": ("pcm_s16le", (8000, 11025, 16000, 22050, 44100, 48000, 96000)),
  "flac": ("flac", (8000, 16000, 32000, 44100, 48000, 96000)),
  "mp3": ("libmp3lame", (16000, 22050, 32000, 44100, 48000)),
  "m4a": ("aac", (16000, 22050, 44100, 48000)),
  "aac": ("aac", (16000, 44100, 48000)),
  "opus": ("libopus", (8000, 16000, 48000)),
  "ogg": ("flac", (16000, 44100, 48000)),
  "webm": ("libopus", (16000, 48000)),
  "mov": ("alac", (16000, 44100, 48000)),
}
# By which the file's own end may be off, samples: its edit lists count in
# milliseconds, or it has none.
LOOSE_END_S = {"m4a": 1e-3, "mp3": 1e-3, "aac": 0.15}
RATES = (23.976, 24.0, 25.0, 29.97, 30.0, 48.0, 50.0, 59.94, 60.0)


def several(examples: int):
  """Settings of a property: the same examples each time."""
  return settings(
    max_examples=examples,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.generate,),  # the first that fails says enough
    suppress_health_check=list(HealthCheck),
  )


def bursts(seconds: float, rate: int, seed: int) -> np.ndarray:
  """Sound that comes and goes irregularly, full scale 1."""
  rng = np.random.default_rng(seed)
  n = round(seconds * rate)
  knots = rng.uniform(0, 1, round(seconds * 8) + 2) ** 3
  level = np.interp(np.arange(n) / rate * 8, np.arange(len(knots)), knots)
  slow = np.repeat(rng.normal(0, 1, n // 4 + 1), 4)[:n]
  return (0.25 * level * np.convolve(slow, np.full(4, 0.25), "same")).clip(
    -0.99, 0.99
  )


def encoded(path: Path, codec: str, rate: int, sound: np.ndarray) -> None:
  with av.open(str(path), "w") as out:
    stream = out.add_stream(codec, rate=rate, layout="mono")
    if codec == "aac":
      stream.bit_rate = min(96_000, 6 * rate)
    frame = av.AudioFrame.from_ndarray(
      sound[None].astype(np.float32), format="flt", layout="mono"
    )
    frame.sample_rate, frame.pts = rate, 0
    frame.time_base = Fraction(1, rate)
    out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


def lag(late: np.ndarray, early: np.ndarray) -> int:
  """By how many samples `late` is behind."""
  n = 2 * max(len(late), len(early))
  spectrum = np.fft.rfft(late, n) * np.conj(np.fft.rfft(early, n))
  at = int(np.fft.irfft(spectrum, n).argmax())
  return at - n if at > n // 2 else at


def claimed(path: Path) -> tuple[int, int, float]:
  """(samples, their rate, seconds of the pictures), as a header says."""
  with av.open(str(path)) as file:
    (sound,), (video,) = file.streams.audio, file.streams.video
    assert sound.duration and sound.time_base
    assert video.duration and video.time_base
    samples = sound.duration * sound.time_base * sound.rate
    assert samples == int(samples)
    return int(samples), sound.rate, float(video.duration * video.time_base)


SOUNDS = st.sampled_from(
  [(ext, rate) for ext, (_, rates) in CODECS.items() for rate in rates]
)


def check_sound(kind, seconds, fps, seed):
  """What goes out lasts to a sample as what came in, and is what is heard."""
  ext, rate = kind
  sound = bursts(seconds, rate, seed)
  with tempfile.TemporaryDirectory() as folder:
    source = Path(folder) / f"in.{ext}"
    encoded(source, CODECS[ext][0], rate, sound)
    speech, own = read_speech(source, None)
    heard = speech[:]
    wanted = sum(chunk.shape[1] for chunk in own().chunks)
    exact = len(sound) * own().rate / rate
    assert abs(wanted - exact) <= 1 + LOOSE_END_S.get(ext, 0) * own().rate
    assert abs(len(heard) / HEARD - wanted / own().rate) <= 2 / HEARD
    n = windows.frames_of(heard, float(frame_rate(fps)))
    for name in ("out.mp4", "out.mov"):
      out = Path(folder) / name
      mp4.write_video(out, np.zeros((n, 16, 16, 3), np.uint8), fps, own())
      samples, hertz, pictures = claimed(out)
      assert (samples, hertz) == (wanted, own().rate)
      # To a tick of the pictures' track, and never longer than the sound.
      assert 0 <= wanted / hertz - pictures < 1e-4
      again = decoder.read_audio(out)
      assert abs(lag(again.astype(float), heard.astype(float))) <= 1
      assert len(list(decoder.Frames(out, float(frame_rate(fps))))) in (
        *(n - 1, n, n + 1),
      )
    out = Path(folder) / "out.webm"
    mp4.write_video(out, np.zeros((n, 16, 16, 3), np.uint8), fps, own())
    again = decoder.read_audio(out)
    assert abs(len(again) / HEARD - wanted / own().rate) <= 2 / HEARD
    assert abs(lag(again.astype(float), heard.astype(float))) <= 1


LENGTHS = st.floats(0.3, 2.5)


@several(6)
@given(SOUNDS, LENGTHS, st.sampled_from(RATES), st.integers(0, 99))
def test_sound_is_as_long_to_a_sample_and_is_what_is_heard(
  kind, seconds, fps, seed
):
  check_sound(kind, seconds, fps, seed)


@pytest.mark.campaign
@several(300)
@given(SOUNDS, LENGTHS, st.floats(10, 60), st.integers(0, 99))
def test_sound_of_any_file_is_as_long_to_a_sample(kind, seconds, fps, seed):
  check_sound(kind, seconds, fps, seed)


def loud(variables, audio, lids, emotion):
  """An expression whose every number is the loudness of its own 40 ms."""
  del variables, emotion
  level = jnp.abs(audio.astype(jnp.float32)).reshape(
    len(audio), -1, HEARD // 25
  )
  level = level.mean(-1)[:, 2:-2] / 32768
  return jnp.broadcast_to(level[..., None, None], (*lids.shape, 468, 3))


@pytest.fixture(scope="module")
def mouth():
  """A model whose mouth opens as far as its frame is loud."""
  return MotionModel(loud, {}, MotionSettings(50, 2, 25.0))


def check_mouth(model, monkeypatch, kind, seconds, fps, seed):
  """Each picture of a file shows what is heard at its time in that file."""
  ext, rate = kind
  still = np.zeros((16, 16, 3), np.uint8)

  blank = dict.fromkeys(composition.Portrait._fields)

  def nobody(model, request, n, tracker, say, *, eyes):
    return talking_photograph.Actor(
      composition.Portrait(**(blank | {"photograph": still})),
      np.zeros(8, np.float32),
      lambda: head_motion.idle(n, 25.0),
      lambda shown: [],
      None,
    )

  def grey(ones, moves):
    for ((points, _),) in moves:
      yield still + np.uint8(np.clip(600 * points[0, 0], 0, 235))

  monkeypatch.setattr(talking_photograph, "actor", nobody)
  monkeypatch.setattr(talking_photograph, "composed_all", grey)
  with tempfile.TemporaryDirectory() as folder:
    source, out = Path(folder) / f"in.{ext}", Path(folder) / "out.mp4"
    encoded(source, CODECS[ext][0], rate, bursts(seconds, rate, seed))
    request = Request(identity="nobody", audio=source, fps=fps)
    take = talking_photograph.take(
      model, request, Centred(), lambda line: None, eyes=EyeReader()
    )
    takes.write(take, out, None, lambda line: None)
    real = float(frame_rate(fps))
    with av.open(str(out)) as file:
      shown = [
        (x.time, x.to_ndarray(format="gray8").mean())
        for x in file.decode(file.streams.video[0])
      ]
    sound = np.abs(decoder.read_audio(out).astype(float))
  times, mouths = np.array(shown).T
  np.testing.assert_allclose(times, np.arange(len(times)) / real, atol=1e-3)
  # On a grid of 1 ms: the mouth, and how loud the next 40 ms are.
  grid = np.arange(0, times[-1], 1e-3)
  total = np.concatenate([[0], np.cumsum(np.append(sound, np.zeros(HEARD)))])
  begin = np.round(grid * HEARD).astype(int)
  level = total[begin + HEARD // 25] - total[begin]
  opened = np.interp(grid, times, mouths)
  apart = lag(opened - opened.mean(), level - level.mean())
  assert abs(apart) <= 500 / real  # half a frame, ms


@several(6)
@given(
  SOUNDS,
  st.floats(1.5, 2.5),
  st.sampled_from((12.0, *RATES)),
  st.integers(0, 99),
)
def test_the_mouth_goes_with_the_sound(mouth, kind, seconds, fps, seed):
  with pytest.MonkeyPatch.context() as patch:
    check_mouth(mouth, patch, kind, seconds, fps, seed)


@pytest.mark.campaign
@several(200)
@given(SOUNDS, st.floats(1.5, 4), st.floats(10, 60), st.integers(0, 99))
def test_the_mouth_goes_with_any_sound(mouth, kind, seconds, fps, seed):
  with pytest.MonkeyPatch.context() as patch:
    check_mouth(mouth, patch, kind, seconds, fps, seed)


def filmed(path: Path, times_ms: np.ndarray) -> None:
  """A film whose pictures say their own time by their grey."""
  with av.open(str(path), "w") as out:
    stream = out.add_stream("ffv1", rate=1000)
    stream.width = stream.height = 16
    stream.pix_fmt = "gray"
    for time in times_ms:
      grey = np.full((16, 16), 20 + time / 10, np.uint8)
      picture = av.VideoFrame.from_ndarray(grey, format="gray8")
      picture.pts, picture.time_base = int(time), Fraction(1, 1000)
      out.mux(stream.encode(picture))
    out.mux(stream.encode(None))


def check_film(fps, uneven, seed):
  """A pose video gives each of the model's frames the picture of its time."""
  rng = np.random.default_rng(seed)
  steps = (
    1
    / float(frame_rate(fps))
    * np.exp(uneven * rng.uniform(-1, 1, round(1.5 * fps)))
  )
  times = np.round(1000 * np.concatenate([[0], np.cumsum(steps)]))
  with tempfile.TemporaryDirectory() as folder:
    filmed(Path(folder) / "pose.mkv", times)
    frames = list(decoder.Frames(Path(folder) / "pose.mkv", 25.0))
  shown = (np.array([x.mean() for x in frames]) - 20) * 10
  wanted = np.arange(len(frames)) * 40
  nearest = np.abs(times[None] - wanted[:, None]).min(1)
  inside = wanted <= times[-1]
  # No picture is nearer in time; greys are steps of 10 ms.
  assert (np.abs(shown - wanted)[inside] <= nearest[inside] + 11).all()
  assert nearest[inside].max() <= np.diff(times).max() / 2


@several(8)
@given(st.sampled_from(RATES), st.sampled_from((0.0, 0.6)), st.integers(0, 99))
def test_a_driver_of_any_rate_keeps_time(fps, uneven, seed):
  check_film(fps, uneven, seed)


@pytest.mark.campaign
@several(200)
@given(st.floats(10, 60), st.floats(0, 1.0), st.integers(0, 99))
def test_a_driver_of_any_timing_keeps_time(fps, uneven, seed):
  check_film(fps, uneven, seed)


def test_frames_at_whole_times_are_the_models_own():
  rng = np.random.default_rng(0)
  codes = [rng.normal(size=4) for _ in range(9)]
  twice = list(windows.resampled(iter(codes), Fraction(1, 2), 17, 1))
  for code, same in zip(codes, twice[::2], strict=True):
    assert np.array_equal(code, same)
  # What may jump goes straight; the rest has no corner.
  np.testing.assert_allclose(twice[1][3], (codes[0][3] + codes[1][3]) / 2)
  line = [np.full(2, float(i)) for i in range(9)]
  third = np.stack(list(windows.resampled(iter(line), Fraction(25, 60), 15)))
  np.testing.assert_allclose(third[3:, 0], np.arange(3, 15) * 25 / 60)
  with pytest.raises(ValueError, match="nothing to resample"):
    next(windows.resampled(iter([]), Fraction(1), 1))


@pytest.mark.parametrize(
  ("fps", "rate"),
  [
    (23.976, Fraction(24000, 1001)),
    (29.97, Fraction(30000, 1001)),
    (59.94, Fraction(60000, 1001)),
    (25.0, Fraction(25)),
    (12.5, Fraction(25, 2)),
    (60.0, Fraction(60)),
  ],
)
def test_rates_are_those_that_are_meant(fps, rate):
  assert frame_rate(fps) == rate
