"""Streams: sound in pieces, the frames of the whole."""

import threading

import numpy as np
import pytest
import soxr

import speak_jax
from data_pipelines.media import decoder, running_loudness
from data_pipelines.media.loudness import loudness
from speak_jax import spec
from speak_jax.common import packaged
from speak_jax.inference import stream as streams
from speak_jax.inference import utterance
from speak_jax.inference.request import RequestError
from speak_jax.inference.utterance import Hearing
from tests import glass, talking
from tests.test_generate import Centred

RATE, FRAME, SIDE = 16_000, 640, 128
FACE = packaged.PORTRAIT
pytestmark = pytest.mark.filterwarnings("ignore:.*a single picture")


@pytest.fixture(scope="module")
def model():
  return speak_jax.load()


@pytest.fixture(scope="module")
def voice():
  return decoder.read_audio(packaged.SENTENCE)


@pytest.fixture(scope="module")
def whole(model, voice):
  """The frames of the whole sentence, with a head that keeps still."""
  return model.generate(FACE, (voice, RATE), pose=FACE, size=SIDE).frames


@pytest.fixture
def still(model, voice):
  """A stream with the same head and level."""
  lufs = loudness(voice)
  with model.stream(FACE, pose=FACE, size=SIDE, lufs=lufs) as made:
    yield made


def pieces(sound, length):
  return [sound[i : i + length] for i in range(0, len(sound), length)]


def pictures(frames):
  return np.stack([frame.picture for frame in frames])


def apart(a, b):
  """The largest difference in a picture, of 255."""
  return int(np.abs(a.astype(int) - b).max())


@pytest.mark.parametrize("length", [333, 6_400, 100_000])
def test_pieces_of_any_length_give_the_frames_of_the_whole(
  still, voice, whole, length
):
  made = list(still.over(pieces(voice, length), RATE))
  assert len(made) == len(whole)
  assert apart(pictures(made), whole) <= 1
  assert [f.time for f in made] == [i / 25 for i in range(len(made))]
  assert [f.second for f in made] == [i / 25 for i in range(len(made))]
  assert {f.utterance for f in made} == {0}


def test_a_frame_comes_when_its_look_ahead_has_come(still, voice):
  ahead = round(still.look_ahead * 25)
  assert still.look_ahead == 1.32
  still.push(voice[: (ahead + 1) * FRAME - 1], RATE)
  assert not list(still.ready())
  still.push(voice[(ahead + 1) * FRAME - 1 :][:1], RATE)
  assert len(list(still.ready())) == 1


def test_without_a_level_the_frames_are_near(model, voice, whole):
  """By which sound is heard as loud as it will turn out to be."""
  with model.stream(FACE, pose=FACE, size=SIDE) as made:
    frames = list(made.over(pieces(voice // 4, 1600), RATE))
  differ = np.abs(pictures(frames).astype(int) - whole)
  assert len(frames) == len(whole)
  assert differ.mean() < 0.02
  # Far nearer than a mouth that keeps shut.
  assert np.abs(whole[:1].astype(int) - whole).mean() > 10 * differ.mean()


def test_control_is_that_of_a_video(model, voice):
  """An emotion that changes, lips that open less, no blinks."""
  fields = dict(
    pose=FACE,
    emotion=[(0.0, "happy", 0.0), (2.0, "happy", 1.0)],
    mouth=0.5,
    size=SIDE,
  )
  whole = model.generate(FACE, (voice, RATE), **fields).frames
  with model.stream(FACE, lufs=loudness(voice), **fields) as made:
    frames = pictures(made.over(pieces(voice, 5_000), RATE))
  assert frames.shape == whole.shape
  assert apart(frames, whole) <= 1


def test_an_idle_head_is_that_of_a_video(model, voice):
  """It sways, blinks and looks about as in a file of the same seed."""
  fields = dict(seed=4, size=SIDE)
  whole = model.generate(FACE, (voice, RATE), **fields).frames
  with model.stream(FACE, lufs=loudness(voice), **fields) as made:
    frames = pictures(made.over(pieces(voice, 5_000), RATE))
  assert apart(frames, whole) <= 1
  assert apart(whole[0], whole[50]) > 20


def test_any_rate_and_channels_are_heard(model, voice, whole):
  high = soxr.resample(voice / 32768, RATE, 44_100)
  both = np.stack([high, high], 1)
  lufs = loudness(voice)
  with model.stream(FACE, pose=FACE, size=SIDE, lufs=lufs) as made:
    frames = list(made.over(pieces(both, 4_410), 44_100))
  assert len(frames) == len(whole)
  assert np.abs(pictures(frames).astype(int) - whole).mean() < 0.02


def test_new_sound_takes_the_place_of_what_was_queued(still, voice):
  """And the mouth goes over to it in steps as small as those of speech."""
  still.push(voice, RATE)
  before = []
  for frame in still.ready():
    before.append(frame)
    if len(before) == 20:  # in the middle of a batch
      assert still.spoken == 0
      still.interrupt()
      assert still.queued == 0
      assert still.spoken == 1
      still.push(voice[RATE:], RATE)
      still.end()
  old = [f for f in before if f.utterance == 0]
  new = [f for f in before if f.utterance == 1]
  assert len(old) == 20
  assert len(new) == round((len(voice) - RATE) / FRAME)
  assert [f.time for f in before] == [i / 25 for i in range(len(before))]
  steps = np.abs(np.diff(pictures(before).astype(int), axis=0)).mean((1, 2, 3))
  assert steps[19] <= steps[:19].max()


def test_utterances_are_made_one_after_the_other(still, voice, whole):
  for part in (voice[:RATE], voice):
    still.push(part, RATE)
    still.end()
  assert still.queued == pytest.approx((RATE + len(voice)) / RATE)
  made = list(still.ready())
  second = [f for f in made if f.utterance == 1]
  assert len(made) == 25 + len(whole)
  assert still.queued < 1 / 25
  assert still.spoken == 2
  # Led over at first; then as if nothing had been said before.
  over = streams.OVER
  assert apart(pictures(second)[over:], whole[over:]) <= 1
  assert apart(pictures(second)[:1], whole[:1]) > 1


def test_an_idle_head_goes_on(model, voice):
  with model.stream(FACE, size=SIDE) as made:
    idle = [made.idle() for _ in range(75)]
    made.push(voice, RATE)
    spoken = list(made.ready())
    after = [made.idle() for _ in range(3)]
  assert {f.utterance for f in idle + after} == {streams.IDLE}
  times = [f.time for f in [*idle, *spoken, *after]]
  assert times == [i / 25 for i in range(len(times))]
  shown = pictures(idle).astype(int)
  assert (np.abs(np.diff(shown, axis=0)).mean((1, 2, 3)) > 0).mean() > 0.9


def test_ten_minutes_of_motion_go_back_and_forth():
  drives = [
    streams.unpacked(np.concatenate([np.eye(3).ravel(), [i, 0, 1, 0, 0, 0]]))
    for i in range(4)
  ]
  some = streams._endless(iter(drives))
  places = [next(some).motion.shift[0] for _ in range(14)]
  assert places == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1]


def test_less_look_ahead_gives_frames_sooner_that_are_alike(
  model, voice, whole
):
  lufs = loudness(voice)
  with model.stream(
    FACE, pose=FACE, size=SIDE, lufs=lufs, look_ahead=0.2
  ) as made:
    made.push(voice[: 6 * FRAME], RATE)
    first = list(made.ready())
    rest = list(made.over(pieces(voice[6 * FRAME :], FRAME), RATE))
  assert len(first) == 1
  frames = pictures([*first, *rest])
  assert len(frames) == len(whole)
  shut = np.abs(whole.astype(int) - whole[:1]).mean()
  assert np.abs(frames.astype(int) - whole).mean() < 0.6 * shut


def test_an_hour_of_sound_is_not_kept(model):
  hearing = Hearing(model._streams.args[0].settings, 33, None)
  said, rng = utterance.silence(), np.random.default_rng(0)
  for _ in range(60):
    said = utterance.heard(
      said, rng.integers(-3000, 3000, RATE).astype(np.int16), hearing
    )
    while (got := utterance.stretch(said, hearing, 10)) is not None:
      said = utterance.taken(said, got.stop - got.start)
  assert said.samples == 60 * RATE
  assert said.made == 60 * 25 - 33
  assert len(said.sound) <= 7 * RATE


@pytest.mark.parametrize(
  "samples, rate, why",
  [
    (np.zeros(9, np.int32), RATE, "no sound"),
    (np.zeros((1, 2, 3)), RATE, "no sound"),
    (np.array([0.0, np.nan]), RATE, "no numbers"),
    (np.zeros(9), 10, "10 Hz are not"),
    (np.zeros(9), np.nan, "Hz are not"),
  ],
)
def test_what_is_no_sound_is_refused(still, samples, rate, why):
  with pytest.raises(ValueError, match=why):
    still.push(samples, rate)


def test_an_utterance_has_one_rate(still):
  still.push(np.zeros(9), RATE)
  with pytest.raises(ValueError, match="end it first"):
    still.push(np.zeros(9), 48_000)
  still.end()
  still.push(np.zeros(9), 48_000)


@pytest.mark.parametrize(
  ("field", "value"),
  [
    ("look_ahead", 2.0),
    ("look_ahead", -1.0),
    ("lufs", 3.0),
    ("fps", 30.0),
    ("more_audio", ("b.wav",)),
  ],
)
def test_what_no_stream_can_do_is_refused(model, field, value):
  with pytest.raises(RequestError, match=f"^{field}: "):
    model.stream(FACE, size=SIDE, **{field: value})


def test_a_model_that_draws_frames_has_no_stream():
  drawing = glass.functions(), glass.VARIABLES, glass.SETTINGS
  from speak_jax.inference.synthesizer import Synthesizer

  made = talking.model(Synthesizer(*drawing, windows=4), Centred())
  with pytest.raises(RequestError, match=r"^model: "):
    made.stream(FACE)


def test_a_closed_stream_leaves_no_thread(model):
  before = threading.active_count()
  made = model.stream(FACE, size=SIDE)
  made.idle()
  made.close()
  assert threading.active_count() <= before


def test_running_loudness_is_that_of_the_whole(voice):
  level = running_loudness.unheard()
  assert level.lufs == -np.inf
  for piece in pieces(voice, 777):
    level = running_loudness.heard(level, piece)
  assert level.lufs == pytest.approx(loudness(voice), abs=0.1)
  assert level.samples == len(voice)
  assert level.offset == 0


def test_a_constant_is_told():
  rng = np.random.default_rng(0)
  sound = (9_000 + rng.normal(0, 100, RATE)).astype(np.int16)
  level = running_loudness.heard(running_loudness.unheard(), sound)
  assert abs(level.offset - 9_000) < 10


def test_noise_of_a_room_is_no_voice():
  rng = np.random.default_rng(0)
  quiet = rng.normal(0, 20, RATE).astype(np.int16)
  level = running_loudness.heard(running_loudness.unheard(), quiet)
  assert level.lufs == -np.inf


def test_the_network_hears_no_further_than_the_look_ahead(model):
  """A frame's sound reaches no further than the look-ahead that is said."""
  network = model._streams.args[0]
  settings = network.settings
  rng = np.random.default_rng(0)
  sound = rng.integers(-9_000, 9_000, (1, settings.samples)).astype(np.int16)
  calm = np.zeros(len(spec.EMOTIONS), np.float32)
  cut = sound.copy()
  cut[:, (2 * settings.context + 1) * FRAME :] = 0
  before, after = (network.stretch(x, [0.0] * 2, calm) for x in (sound, cut))
  assert np.array_equal(before[0], after[0])
