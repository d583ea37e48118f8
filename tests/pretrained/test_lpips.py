"""LPIPS: the public network's numbers, from its files in every form."""

from pathlib import Path

import numpy as np
import pytest

from speak_jax.models import lpips as model
from speak_jax.pretrained import goldens, layouts, lpips
from speak_jax.pretrained.tensors import Tensors, WeightsError
from tests.pretrained.narrow_lpips import alexnet, linear, whole
from tests.pretrained.torch_files import entries, state, write_zip

GOLDENS = Path(__file__).parent / "goldens"


def convert(tensors):
  return lpips.convert(Tensors(tensors, "w.pth"))


@pytest.fixture(scope="module")
def variables():
  return convert(alexnet() | linear()).variables


@pytest.fixture(scope="module")
def pictures():
  shape = (3, 40, 52, 3)
  return np.random.default_rng(0).integers(0, 256, (2, *shape), np.uint8)


def test_numbers_are_those_of_the_public_code():
  (found,) = goldens.verify(GOLDENS, ["lpips_alex"])
  assert found.output == "distance"
  assert found.passed, found


def test_equal_pictures_have_no_distance_and_pairs_no_order(
  variables, pictures
):
  a, b = pictures
  there, back = (
    model.distance(variables, a, b),
    model.distance(variables, b, a),
  )
  assert there.shape == (3,)
  assert there.min() > 0
  np.testing.assert_allclose(there, back, rtol=1e-6)
  np.testing.assert_array_equal(model.distance(variables, a, a), 0)
  near = (a * 0.9 + b * 0.1).astype(np.uint8)
  assert np.all(model.distance(variables, near, a) < there)


def test_pairs_do_not_see_one_another(variables, pictures):
  a, b = pictures
  mixed = model.distance(variables, a[::-1].copy(), b[::-1].copy())
  np.testing.assert_allclose(
    mixed[::-1], model.distance(variables, a, b), rtol=1e-5
  )


def test_one_file_or_two_or_ours_give_the_same(tmp_path):
  for name, tensors in (
    ("alexnet.pth", alexnet()),
    ("alex.pth", linear()),
    ("whole.pth", whole()),
  ):
    write_zip(tmp_path / name, entries(state(**tensors)))
  two = f"{tmp_path / 'alexnet.pth'},{tmp_path / 'alex.pth'}"
  loaded = layouts.load(two, "lpips")
  assert loaded.converted.unused == ("classifier.1.weight",)
  layouts.save(tmp_path / "ours.safetensors", loaded)
  for name in ("whole.pth", "ours.safetensors"):
    again = layouts.load(str(tmp_path / name), "lpips").converted
    ours, theirs = again.variables["params"], loaded.converted.variables
    assert set(ours) == {
      f"{k}{i}" for k in ("conv", "lin") for i in range(1, 6)
    }
    for key, value in theirs["params"].items():
      np.testing.assert_equal(ours[key], value)
  with pytest.raises(WeightsError, match=r"alex\.pth: lin0\S* is in a file"):
    layouts.load(f"{two},{tmp_path / 'alex.pth'}")


@pytest.mark.parametrize("half", [alexnet, linear])
def test_half_of_it_is_told_what_is_missing(tmp_path, half):
  path = write_zip(tmp_path / "w.pth", entries(state(**half())))
  with pytest.raises(WeightsError, match=r"w\.pth: half of LPIPS; name torch"):
    layouts.load(str(path), "lpips")


@pytest.mark.parametrize(
  ("key", "shape", "line"),
  [
    ("lin1.model.1.weight", (1, 128, 1, 1), "lin1.model.1.weight has shape"),
    ("features.3.weight", (5, 4, 3, 3), "features.3.weight has shape"),
    ("features.8.bias", (), "features.8.bias has shape"),
    ("features.12.weight", (4,), "unknown key features.12.weight"),
  ],
)
def test_what_does_not_fit_is_named(key, shape, line):
  with pytest.raises(WeightsError, match=rf"w\.pth: {line}"):
    convert(alexnet() | linear() | {key: np.ones(shape, "f4")})


def test_pictures_that_are_too_small_are_refused(variables, pictures):
  a, b = pictures[:, :, :31, :31]
  assert np.isfinite(model.distance(variables, a, b)).all()
  with pytest.raises(ValueError, match="31 x 30 px; LPIPS wants 31 px"):
    model.distance(variables, a[:, :30], b[:, :30])
