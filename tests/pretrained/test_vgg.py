import numpy as np
import pytest

from speak_jax.models.vgg import WIDTHS, Vgg
from speak_jax.pretrained import goldens, vgg
from speak_jax.pretrained.tensors import Tensors, WeightsError
from tests.pretrained import reference

NARROW = ((2, 3), (4, 4), (3, 5, 4, 3), (4, 4, 4, 4), (5, 3, 3, 3))


def convert(tensors):
  return vgg.convert(Tensors(tensors, "w.pth"))


def state(widths=NARROW):
  return goldens.fill(reference.vgg_shapes(widths), 1)


@pytest.mark.parametrize("size", [(48, 48), (37, 51)])
def test_any_width_and_size_gives_torchs_numbers(size):
  weights = state()
  picture = goldens.image("x", (2, 3, *size), 3)
  got = vgg.outputs(convert(weights), {"image": picture})
  wanted = reference.vgg(weights, picture, NARROW)
  assert list(got) == list(wanted)
  for name, truth in wanted.items():
    assert got[name].shape == truth.shape
    assert np.abs(got[name] - truth).max() / np.abs(truth).max() < 5e-6


def test_torchvisions_sizes_are_ours():
  shapes = reference.vgg_shapes((*WIDTHS[:4], (512,) * 4))
  assert len(shapes) == 32
  shapes |= {"classifier.0.weight": (4, 8), "classifier.6.bias": (9,)}
  converted = convert(
    {k: np.broadcast_to(np.float32(0), shape) for k, shape in shapes.items()}
  )
  assert Vgg(**converted.sizes) == Vgg()
  assert sorted(converted.unused) == sorted(
    [f"features.{i}.{p}" for i in (30, 32, 34) for p in ("bias", "weight")]
    + ["classifier.0.weight", "classifier.6.bias"]
  )


@pytest.mark.parametrize(
  "key", ["features.5.bias", "features.28.weight", "features.12.weight"]
)
def test_a_key_that_is_missing_or_odd_is_named(key):
  whole = state()
  with pytest.raises(WeightsError, match=r"w\.pth: "):
    convert({k: v for k, v in whole.items() if k != key})
  with pytest.raises(WeightsError, match=rf"w\.pth: {key} has shape"):
    convert(whole | {key: whole[key][..., None]})


def test_other_networks_are_refused():
  with pytest.raises(WeightsError, match="at 3 sizes, not 5"):
    convert(state(NARROW[:3]))
  with pytest.raises(WeightsError, match=r"key features\.2\.weight is missing"):
    convert({f"features.{i}.weight": np.ones((1, 3, 3, 3)) for i in (0, 4)})
  with pytest.raises(WeightsError, match=r"unknown key features\.1\.running"):
    convert(state() | {"features.1.running_mean": np.ones(2, "f4")})
