"""SyncNet v2's file: the same numbers as PyTorch, and what does not fit."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax.models.syncnet_v2 import SyncNetV2
from speak_jax.pretrained import goldens, syncnet
from speak_jax.pretrained.tensors import Tensors, WeightsError
from tests.pretrained import narrow_syncnet

GOLDENS = Path(__file__).parent / "goldens"
NAME = "syncnet_v2_full"


def test_numbers_are_those_of_pytorch():
  found = list(goldens.verify(GOLDENS, [NAME]))
  assert sorted(r.output for r in found) == ["audio", "lip", "lip_feat"]
  assert all(r.passed for r in found), found


def test_the_public_files_sizes_are_read_off_its_shapes():
  shapes = json.loads((GOLDENS / "meta.json").read_text())[NAME]["shapes"]
  weights = {key: np.zeros(shape, "f4") for key, shape in shapes.items()}
  converted = syncnet.convert(Tensors(weights, NAME))
  assert converted.sizes == dict(
    lip_widths=(96, 256, 256, 256, 256, 512),
    lip_last=(6, 6),
    lip_hidden=512,
    sound_widths=(64, 192, 384, 256, 256, 512),
    sound_hidden=512,
    out=1024,
  )
  assert len(converted.unused) == 14


def _clip():
  rng = np.random.default_rng(1)
  return rng.integers(0, 256, (2, 3, 5, 224, 224)).astype(np.float32)


@pytest.mark.parametrize("change", ["frames", "colours", "rows"])
def test_no_axis_is_confused_with_another(change):
  converted = syncnet.convert(Tensors(narrow_syncnet.weights(), "w"))
  clip = _clip()
  mfcc = np.random.default_rng(2).normal(size=(2, 1, 13, 20))
  axis = {"frames": 2, "colours": 1, "rows": 3}[change]
  plain = syncnet.outputs(converted, {"clip": clip, "mfcc": mfcc})
  flipped = syncnet.outputs(
    converted, {"clip": np.flip(clip, axis), "mfcc": mfcc}
  )
  assert not np.allclose(plain["lip"], flipped["lip"], rtol=1e-3)
  np.testing.assert_array_equal(plain["audio"], flipped["audio"])


def test_widths_are_read_off_the_file():
  converted = syncnet.convert(Tensors(narrow_syncnet.weights(), "w"))
  net = SyncNetV2(**converted.sizes)

  def outputs(variables, clip, mfcc):
    seen = net.apply(variables, clip, method="see")
    return seen, net.apply(variables, mfcc, method="hear")

  inputs = jnp.zeros((1, 5, 224, 224, 3)), jnp.zeros((1, 20, 13))
  seen, heard = jax.eval_shape(outputs, converted.variables, *inputs)
  assert seen.features.shape == (1, 8)
  assert seen.code.shape == heard.code.shape == (1, 12)


def _without(key):
  return lambda w: {k: v for k, v in w.items() if k != key}


def _with(key, shape):
  return lambda w: w | {key: np.ones(shape, np.float32)}


@pytest.mark.parametrize(
  ("change", "line"),
  [
    (_without("netcnnlip.8.bias"), "key netcnnlip.8.bias is missing"),
    (_without("netfcaud.1.running_var"), "netfcaud.1.running_var is missing"),
    (_with("netcnnaud.21.weight", 3), "unknown key netcnnaud.21.weight"),
    (_with("netcnnlip.0.weight", (4, 3, 7, 7)), "netcnnlip.0.weight has shape"),
    (_with("netcnnlip.4.weight", (5, 4, 1, 3, 3)), "netcnnlip.4.weight has"),
    (_with("netcnnaud.4.weight", (5, 9, 3, 3)), "netcnnaud.4.weight has shape"),
    (_with("netfclip.0.weight", (6, 9)), "netfclip.0.weight has shape"),
    (_with("netfcaud.0.weight", (6, 16)), "netfcaud.0.weight has shape"),
    (_with("netfclip.3.bias", 9), "netfclip.3.bias has shape"),
    (_with("netfcaud.3.weight", (9, 6)), "netfcaud.3.weight has shape"),
    (_with("netcnnaud.18.weight", (8, 5, 4, 4)), "netcnnaud.18.weight has"),
  ],
)
def test_what_does_not_fit_is_one_line(change, line):
  with pytest.raises(WeightsError, match=line) as caught:
    syncnet.convert(Tensors(change(narrow_syncnet.weights()), "FILE"))
  assert str(caught.value).startswith("FILE: ")
  assert "\n" not in str(caught.value)
