"""FID's Inception: pytorch-fid's numbers, and files that are not it."""

import numpy as np
import pytest

from speak_jax.models import inception as model
from speak_jax.pretrained import goldens, inception, layouts
from speak_jax.pretrained.tensors import Tensors, WeightsError
from tests.pretrained import narrow_inception

NAME = "inception_narrow"


@pytest.fixture(scope="module")
def weights():
  return narrow_inception.weights()


def convert(tensors):
  return inception.convert(Tensors(tensors, "w.pth"))


def test_numbers_are_those_of_pytorch_fid():
  (found,) = goldens.verify(narrow_inception.GOLDENS, [NAME])
  assert found.output == "pool"
  assert found.passed, found


def test_every_layer_is_taken_and_nothing_else(weights):
  assert layouts.layout_of(Tensors(weights, "w")) == "inception"
  converted = convert(weights)
  params = converted.variables["params"]
  assert len(params) == 94
  kernels = sum(key.endswith(".conv.weight") for key in weights)
  assert kernels == len(params)
  rest = [key for key in weights if "num_batches" in key or "fc." in key]
  assert sorted(converted.unused) == sorted(rest)
  layer = params["Mixed_6b.branch7x7_2"]
  assert layer["kernel"].shape == (1, 7, 8, 8)
  assert layer["kernel"].dtype == layer["bias"].dtype == np.float32


def test_frames_do_not_see_one_another(weights):
  variables = convert(weights).variables
  # The golden's shape, so that it is compiled once.
  frames = np.moveaxis(goldens.image("x", (2, 3, 310, 64), 1), 1, -1).copy()
  pool = model.features(variables, frames)
  assert pool.shape == (2, 128)
  turned = model.features(variables, frames[::-1].copy())
  np.testing.assert_allclose(turned[::-1], pool, atol=1e-5)
  assert np.abs(pool[0] - pool[1]).max() > 0.01


@pytest.mark.parametrize(
  ("key", "shape", "line"),
  [
    ("fc.weight", (1000, 128), "an Inception-v3 of 1000 classes"),
    ("Conv2d_1a_3x3.conv.weight", (2, 1, 3, 3), "Conv2d_1a_3x3.conv.weight"),
    ("Mixed_6b.branch7x7_2.conv.weight", (8, 8, 7, 1), "Mixed_6b.*has shape"),
    ("Mixed_7c.branch_pool.bn.weight", (3,), "Mixed_7c.*bn.weight has shape"),
    ("AuxLogits.fc.bias", (1000,), "unknown key AuxLogits.fc.bias"),
  ],
)
def test_what_does_not_fit_is_named(weights, key, shape, line):
  with pytest.raises(WeightsError, match=rf"w\.pth: {line}"):
    convert(weights | {key: np.ones(shape, "f4")})


@pytest.mark.parametrize(
  "key", ["fc.weight", "Mixed_5c.branch3x3dbl_3.bn.running_var"]
)
def test_a_missing_key_is_named(weights, key):
  short = {k: v for k, v in weights.items() if k != key}
  with pytest.raises(WeightsError, match=rf"w\.pth: key {key} is missing"):
    convert(short)
