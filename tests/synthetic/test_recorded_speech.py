"""A recording's phones move a drawn mouth, in step with its sound."""

import json
from itertools import pairwise

import numpy as np
import pytest

from data_pipelines.synthetic import identity, recorded_speech, render, speech
from data_pipelines.synthetic.aligner import Phone
from speak_jax import spec

RATE = spec.SAMPLE_RATE_HZ
# "pay me", after half a second.
PHONES = [
  Phone("SIL", 0.0, 0.5),
  Phone("P", 0.5, 0.62),
  Phone("EY1", 0.62, 0.9),
  Phone("M", 0.9, 1.0),
  Phone("IY", 1.0, 1.3),
  Phone("+SPN+", 1.3, 1.4),
]
SOUND = (np.arange(2 * RATE) % 2_000).astype(np.int16)  # 2 s


def test_every_phone_of_arpabet_has_a_shape():
  assert len(recorded_speech.SHAPES) == 39
  used = set("".join(recorded_speech.SHAPES.values()))
  assert used <= set(speech.PHONES) - {"_"}
  shut = {k for k, v in recorded_speech.SHAPES.items() if v in speech.SHUT}
  assert shut == {"B", "M", "P"}


def test_phones_become_shapes_with_their_times():
  shapes = recorded_speech.shapes_of(PHONES)
  assert "".join(x for x, _, _ in shapes) == "_pAimi_"
  glide = [x for x in shapes if x[0] in "Ai"][:2]
  assert glide[0][1:] == pytest.approx((0.62, 0.76))
  assert glide[1][1:] == pytest.approx((0.76, 0.9))
  # An h is said with the lips of what follows, if anything does.
  h, vowel = Phone("HH", 0, 0.1), Phone("AW", 0.1, 0.3)
  assert recorded_speech.shapes_of([h, vowel])[0] == ("a", 0, 0.1)
  assert recorded_speech.shapes_of([h, h])[0][0] == "_"
  with pytest.raises(ValueError, match="'XX' has no shape"):
    recorded_speech.shapes_of([Phone("XX", 0, 1)])


def test_a_stretch_has_its_own_sound_and_phonemes():
  start, samples = round(0.4 * RATE), RATE
  said = recorded_speech.speech_of(SOUND, PHONES, start, samples, 0.5)
  np.testing.assert_array_equal(said.audio, SOUND[start : start + samples])
  assert said.phonemes[0] == ("_", 0.0, 0.1)
  assert said.phonemes[-1][2] == 1.0
  for (_, _, end), (_, begin, _) in pairwise(said.phonemes):
    assert end == begin
  at = speech.at_frames(said.mouth_open, 25, 25.0)
  press = speech.at_frames(said.mouth_press, 25, 25.0)
  for moment, open_ in ((0.16, False), (0.3, True), (0.55, False), (0.8, True)):
    t = int(moment * 25)
    assert (at[t] > 0.05) == open_ and (press[t] > 0.9) == (not open_)
  # What comes after the last phone is a pause.
  late = recorded_speech.speech_of(SOUND, PHONES, RATE, RATE, 0.5)
  assert late.phonemes[-1][0] == "_" and late.phonemes[-1][2] == 1.0


def test_articulation_is_how_far_the_mouth_goes():
  half, whole = (
    recorded_speech.speech_of(SOUND, PHONES, 0, 2 * RATE, x) for x in (0.5, 1.0)
  )
  np.testing.assert_allclose(half.mouth_open, whole.mouth_open / 2)
  np.testing.assert_array_equal(half.mouth_press, whole.mouth_press)
  person = identity.sample(0, "train", 3)
  low, high = recorded_speech.ARTICULATION
  one = recorded_speech.articulation_of(person)
  assert low <= one <= high and one == recorded_speech.articulation_of(person)
  assert one != recorded_speech.articulation_of(identity.sample(0, "train", 4))


@pytest.mark.parametrize(("start", "samples"), [(-1, RATE), (RATE + 1, RATE)])
def test_a_stretch_outside_is_refused(start, samples):
  with pytest.raises(ValueError, match="not inside"):
    recorded_speech.speech_of(SOUND, PHONES, start, samples, 1.0)


def test_a_stretch_is_inside_and_as_long_as_can_be():
  rng = np.random.default_rng(0)
  assert recorded_speech.stretch(RATE, 3.0, 25.0, rng) == (0, 25)
  found = {recorded_speech.stretch(2 * RATE, 0.4, 25.0, rng) for _ in range(20)}
  assert {frames for _, frames in found} == {10}
  starts = [start for start, _ in found]
  assert min(starts) >= 0 and max(starts) <= 1.6 * RATE
  assert np.ptp(starts) > RATE / 2
  assert recorded_speech.stretch(100, 1.0, 25.0, rng)[1] == 0


def test_a_clip_is_drawn_to_a_recording():
  recipe = render.Recipe(
    seed=5, split="train", identity=0, emotion=0, level=1, size=64,
    framing="tight",
  )  # fmt: skip
  said = recorded_speech.speech_of(SOUND, PHONES, 0, round(1.2 * RATE), 0.6)
  clip = render.render_clip(
    recipe, None, recorded_speech.Recorded(said, "a/b", "Pay me.")
  )
  assert len(clip.frames) == 30 and len(clip.factors) == 30
  np.testing.assert_array_equal(clip.audio, SOUND[: round(1.2 * RATE)])
  source = json.loads(clip.source)
  assert source["recording"] == "a/b" and source["sentence"] == "Pay me."
  assert [x[0] for x in json.loads(clip.phonemes)][:4] == ["_", "p", "A", "i"]
  opening = spec.mouth_opening(clip.landmarks)
  assert opening[13] < 0.02 < opening[17]  # p, then its vowel
  # Without one it is what it always was.
  plain = render.render_clip(recipe._replace(seconds=0.2))
  assert json.loads(plain.source) == recipe._replace(seconds=0.2)._asdict()
