"""The bundle that comes along moves lips with speech, faces with emotions."""

import numpy as np
import pytest

from data_pipelines.synthetic import identity, speech
from speak_jax import bundle as bundles
from speak_jax import spec
from speak_jax.common import packaged
from speak_jax.inference.emotion_label import strengths
from speak_jax.inference.motion_model import MotionModel

CALM = strengths("neutral")
CORNERS, BROWS = (61, 291), (107, 336)  # of the mouth; their inner ends


@pytest.fixture(scope="module")
def model():
  return MotionModel.from_bundle(packaged.PHOTOGRAPH)


def moved(model, sound, emotion=CALM, lids=0.0):
  frames = [lids] * model.length(sound)
  return np.stack(list(model.stream(sound, frames, emotion)))


def gap(points):
  upper, lower = spec.MESH_GAP
  return points[:, lower, 1] - points[:, upper, 1]


def test_it_is_whole_small_and_names_whom_it_learned_from():
  bundles.verify(packaged.PHOTOGRAPH)
  files = [x for x in packaged.PHOTOGRAPH.rglob("*") if x.is_file()]
  assert sum(x.stat().st_size for x in files) < 25e6
  card = (packaged.PHOTOGRAPH / "README.md").read_text()
  assert "GRID audiovisual sentence corpus" in card and "CC BY 4.0" in card
  content = bundles.read(packaged.PHOTOGRAPH)
  assert content.config["config"]["data"]["path"] == ""


def test_lips_part_with_speech_and_rest_in_silence(model):
  person = identity.sample(5, "test", 0)
  said = speech.speak(person, 0, 50, 25.0, (1, 2)).audio
  silent = np.zeros(16_000 * 2, np.int16)
  spoken, quiet = gap(moved(model, said)), gap(moved(model, silent))
  assert spoken.std() > 4 * quiet.std()
  assert np.quantile(spoken, 0.9) > 0.03
  assert np.abs(quiet[10:-10]).max() < 0.03


@pytest.mark.parametrize(
  ("name", "points", "up"),
  [
    ("happy", CORNERS, True),
    ("sad", CORNERS, False),
    ("angry", BROWS, False),
    ("surprised", BROWS, True),
  ],
)
def test_emotions_have_their_faces(model, name, points, up):
  silent = np.zeros(16_000, np.int16)
  calm = moved(model, silent)
  full, half = (
    (moved(model, silent, strengths(x)) - calm)[:, points, 1].mean()
    for x in (name, f"{name}:0.5")
  )
  assert (full < -0.015) if up else (full > 0.015)
  assert half == pytest.approx(full / 2, rel=1e-3)


def test_lids_shut(model):
  silent = np.zeros(16_000, np.int16)
  change = moved(model, silent, lids=1.0) - moved(model, silent)
  upper, lower = 159, 145  # lids of an eye, at its middle
  assert (change[:, upper, 1] - change[:, lower, 1]).mean() > 0.03
