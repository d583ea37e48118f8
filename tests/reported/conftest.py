"""What people have reported: each file of a kind, and the right values.

Files of each kind are made by the tests. The very ones that people sent lie in
shared/data/reported; where that is missing, their tests (those with the fixture
`reported`) are left out.
"""

from pathlib import Path

import numpy as np
import pytest

from data_pipelines.dataset.pictures import decode_frame
from data_pipelines.faces.tracker import Tracker
from data_pipelines.synthetic import demo_inputs
from data_pipelines.synthetic import film as films
from tests.reported.folders import put
from tests.sources.recipe import RECIPE


@pytest.fixture(scope="session")
def reported(shared) -> Path:
  """The folder of reported files, beside the checkout."""
  folder = shared / "data" / "reported"
  if not folder.is_dir():
    pytest.skip("no folder data/reported in shared/")
  return folder


@pytest.fixture(scope="module")
def tracker(face_models) -> Tracker:
  return Tracker(face_models)


@pytest.fixture(scope="module")
def drawn(face_models) -> list[np.ndarray]:
  """A drawn person for 30 frames of 256 px."""
  clip = demo_inputs.clip(0, 2, "neutral", 1, seconds=1.2)
  return [decode_frame(jpeg) for jpeg in clip.frames]


@pytest.fixture(scope="session")
def film(tmp_path_factory, face_models):
  """A drawn person of two seconds, as an mp4."""
  return films.film(RECIPE, tmp_path_factory.mktemp("film"))


@pytest.fixture
def raw(tmp_path):
  """Three videos, of which one cannot be used."""
  for i, text in enumerate(("1", "2", "bad")):
    put(tmp_path / "raw" / f"c{i}.mp4", text.encode())
  return tmp_path / "raw"
