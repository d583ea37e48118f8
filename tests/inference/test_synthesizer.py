"""Windows, context, looping and batches of `inference`."""

import jax
import numpy as np
import pytest

from speak_jax import spec
from speak_jax.inference.lowering import functions_of, settings_of
from speak_jax.inference.synthesizer import Synthesizer
from speak_jax.inference.windows import (
  bridge,
  cut_poses,
  cut_sound,
  drive,
  ping_pong,
)
from speak_jax.stages import speak
from speak_jax.stages.init import networks
from tests import glass
from tests.stages import small


@pytest.fixture(scope="module")
def synthesizer() -> Synthesizer:
  """Two windows at a time, so that one video needs several batches."""
  return Synthesizer(
    glass.functions(), glass.VARIABLES, glass.SETTINGS, windows=2
  )


def test_every_frame_gets_its_own_pose_sound_and_portrait(synthesizer):
  n = 16  # 5 windows and a bit, 3 batches
  video = synthesizer.video(**glass.inputs(n), smooth=False)
  assert video.shape == (n, 8, 8, 3)
  red, green, blue = video[:, 0, 0].T
  bounce = [0, 50, 100, 150, 200, 150, 100, 50]
  np.testing.assert_array_equal(red, (bounce * 2)[:n])
  expected = np.round((np.arange(n) * 200 / 32768 + 1) * 127.5)
  np.testing.assert_array_equal(green, expected)
  np.testing.assert_array_equal(blue, np.full(n, 110))


@pytest.mark.parametrize(
  ("seconds", "frames"), [(0.1, 2), (2.03, 51), (5.24, 131), (0.04, 1)]
)
def test_frame_count_is_rounded_seconds_times_fps(synthesizer, seconds, frames):
  inputs = glass.inputs(1) | {
    "audio": np.ones(round(seconds * 16000), np.int16)
  }
  assert len(synthesizer.video(**inputs)) == frames


def test_no_sound_is_refused(synthesizer):
  inputs = glass.inputs(1) | {"audio": np.zeros(100, np.int16)}
  with pytest.raises(ValueError, match="sound too short"):
    synthesizer.video(**inputs)


def test_video_does_not_depend_on_how_many_windows_go_at_a_time(synthesizer):
  other = Synthesizer(
    glass.functions(), glass.VARIABLES, glass.SETTINGS, windows=5
  )
  inputs = glass.inputs(17)
  np.testing.assert_array_equal(
    synthesizer.video(**inputs), other.video(**inputs)
  )


def test_speech_of_long_stretches_is_that_of_their_windows(synthesizer):
  """Seven windows a stretch; two stretches and a bit, four batches."""
  settings = glass.SETTINGS._replace(stretch=21)
  other = Synthesizer(
    glass.functions(settings), glass.VARIABLES, settings, windows=4
  )
  inputs = glass.inputs(47)
  np.testing.assert_array_equal(
    synthesizer.video(**inputs), other.video(**inputs)
  )


@pytest.mark.parametrize("stretch", [0, 21])
def test_speech_is_encoded_once(stretch):
  """Nobody hears a frame twice but as context, and all hear one level."""
  settings = glass.SETTINGS._replace(stretch=stretch)
  functions, made = glass.functions(settings), []

  def speech(variables, audio, level):
    jax.debug.callback(lambda a, x: made.append((a, x)), audio, level)
    return functions.speech(variables, audio, level)

  synthesizer = Synthesizer(
    functions._replace(speech=speech), glass.VARIABLES, settings, windows=7
  )
  inputs = glass.inputs(63)
  synthesizer.video(**inputs)
  jax.effects_barrier()
  heard = sum(audio.size for audio, _ in made) / 640
  most = 4 * 21 + 4 * 4 if stretch else (63 + 21) * (3 + 4) / 3
  assert heard <= most
  want = spec.sound_level(inputs["audio"])
  for audio, level in made:
    np.testing.assert_array_equal(level, np.tile(want, (len(audio), 1)))


@pytest.mark.parametrize(("front", "heard"), [("waveform", 25), ("mel", 5)])
def test_a_waveform_front_hears_stretches(front, heard):
  """The mel front end knows the places of a training window alone."""
  config = small.config(
    model__audio__front=front,
    model__audio__width=16,
    model__audio__level="clip",
    speak__stretch=25,
  )
  settings = settings_of(config)
  assert settings.heard == heard
  assert settings.samples == (heard + 2 * config.model.context) * 640
  stage = speak.make(config)
  params, extra = jax.eval_shape(lambda: stage.init(0, {}))
  variables = {"speak": {"params": params["speak"], **extra["speak"]}}
  functions = functions_of(networks(config), settings)
  codes = jax.eval_shape(
    functions.speech,
    variables,
    jax.ShapeDtypeStruct((2, settings.samples), np.int16),
    jax.ShapeDtypeStruct((2, spec.LEVEL), np.float32),
  )
  assert codes.shape == (2, heard, config.model.audio.out)


def test_a_stretch_is_of_whole_windows():
  settings = glass.SETTINGS._replace(stretch=20)
  with pytest.raises(ValueError, match="20 frames is no multiple of 3"):
    Synthesizer(glass.functions(), glass.VARIABLES, settings)


def test_context_is_heard_and_silence_lies_outside():
  audio = np.arange(1, 7 * 640 + 1, dtype=np.int16)
  sounds = cut_sound(audio, 0, 3, glass.SETTINGS)
  assert sounds.shape == (3, 7 * 640)
  for i, sound in enumerate(sounds):
    start = (3 * i - 2) * 640
    where = np.arange(start, start + 7 * 640)
    inside = (where >= 0) & (where < len(audio))
    np.testing.assert_array_equal(sound[~inside], 0)
    np.testing.assert_array_equal(sound[inside], audio[where[inside]])
  # Some windows alone are the same; beyond the recording it is silent.
  later = cut_sound(audio, 1, 2, glass.SETTINGS)
  np.testing.assert_array_equal(later, sounds[1:])
  assert not cut_sound(audio, 9, 1, glass.SETTINGS).any()


def test_windows_follow_a_grid_that_is_not_whole_in_samples():
  settings = glass.SETTINGS._replace(fps=30.0)
  audio = np.arange(16000, dtype=np.int16)
  assert len(cut_poses(np.zeros((30, 1)), settings)) == 10
  sounds = cut_sound(audio, 0, 10, settings)
  before = round(2 * 16000 / 30)
  for i, sound in enumerate(sounds[:9]):
    first = round(3 * i * 16000 / 30)
    assert sound[before] == audio[first]


@pytest.mark.parametrize(
  ("m", "n", "expected"),
  [
    (1, 3, [0, 0, 0]),
    (2, 5, [0, 1, 0, 1, 0]),
    (4, 9, [0, 1, 2, 3, 2, 1, 0, 1, 2]),
    (4, 2, [0, 1]),
  ],
)
def test_ping_pong(m, n, expected):
  assert ping_pong(m, n).tolist() == expected


def test_smoothing_keeps_a_constant_and_halves_a_spike():
  def driven(codes, n, **kwargs):
    return np.stack(list(drive(codes, n, **kwargs)))

  flat = np.full((4, 2), 3.0)
  np.testing.assert_array_equal(driven(flat, 4), flat)
  spike = np.eye(5)[:, 2:3]
  np.testing.assert_array_equal(driven(spike, 5)[:, 0], [0, 0.25, 0.5, 0.25, 0])
  np.testing.assert_array_equal(driven(spike, 5, smooth=False), spike)
  with pytest.raises(ValueError, match="nothing to loop over"):
    driven(spike[:0], 5)


def test_gaps_are_bridged_as_they_end():
  taken = []

  def codes():
    for i in (None, None, 2.0, None, 6.0, None):
      taken.append(i)
      yield None if i is None else np.full(1, i, np.float32)

  made = bridge(codes())
  assert next(made)[0] == 2 and len(taken) == 3
  assert [x[0] for x in made] == [2, 2, 4, 6, 6]
  assert list(bridge([None, None])) == []
