import numpy as np
import pytest

from speak_jax.nn.resnet import ResNet
from speak_jax.pretrained import goldens, resnet
from speak_jax.pretrained.tensors import Tensors, WeightsError
from tests.pretrained import reference


def state(stages=(1, 2), widths=(2, 4), stem=4, classes=3, expansion=4):
  shapes = reference.resnet_shapes(stages, widths, stem, classes, expansion)
  return goldens.fill(shapes, 1)


def convert(tensors):
  return resnet.convert(Tensors(tensors, "w.pth"))


@pytest.mark.parametrize(
  ("settings", "width"),
  [
    (dict(stages=(1, 2, 1), widths=(2, 4, 8), stem=5), 2),
    (dict(stages=(2, 1, 1), widths=(2, 3, 3), stem=8, classes=0), (2, 3, 3)),
    (dict(stages=(2, 2), widths=(4, 8), stem=4, expansion=1), 4),
  ],
)
@pytest.mark.parametrize("size", [(33, 46), (16, 16)])
def test_any_depth_width_and_size_gives_torchs_numbers(settings, width, size):
  """A first block without projection, odd sides and maps of one pixel too."""
  weights = state(**settings)
  picture = goldens.image("x", (2, 3, *size), 3)
  converted = convert(weights)
  assert converted.sizes["width"] == width
  assert converted.sizes["stages"] == settings["stages"]
  got = resnet.outputs(converted, {"image": picture})
  wanted = reference.resnet(weights, picture)
  assert list(got) == list(wanted)
  for name, truth in wanted.items():
    assert got[name].shape == truth.shape
    assert np.abs(got[name] - truth).max() / np.abs(truth).max() < 5e-6


def test_the_full_size_is_read_off_the_shapes():
  shapes = reference.resnet_shapes((3, 4, 6, 3), (64, 128, 256, 512), 64, 1000)
  blank = {
    key: np.broadcast_to(np.float32(0), shape) for key, shape in shapes.items()
  }
  sizes = convert(blank).sizes
  assert sizes == {
    "stages": (3, 4, 6, 3),
    "width": 64,
    "bottleneck": True,
    "stem": "deep",
    "norm": "batch",
    "stem_width": 64,
  }
  assert ResNet(**sizes)


def test_counters_are_named_as_unused():
  converted = convert(state())
  assert len(converted.unused) == 12
  assert all(key.endswith("num_batches_tracked") for key in converted.unused)


@pytest.mark.parametrize(
  "key",
  [
    *("conv1.weight", "bn1.running_var", "layer1.0.conv1.weight"),
    *("layer2.1.bn2.bias", "layer2.0.downsample.0.weight", "fc.bias"),
  ],
)
def test_a_key_that_is_missing_or_odd_is_named(key):
  whole = state()
  with pytest.raises(WeightsError, match=rf"w\.pth: .*{key}"):
    convert({k: v for k, v in whole.items() if k != key})
  for odd in (whole[key][..., None], whole[key].astype(int)):
    with pytest.raises(WeightsError, match=rf"w\.pth: .*{key}"):
      convert(whole | {key: odd})


def test_keys_too_many_are_named():
  with pytest.raises(WeightsError, match=r"unknown key conv2\.weight and 1"):
    convert(state() | {"conv2.weight": np.ones(1), "x": np.ones(1)})
  with pytest.raises(WeightsError, match=r"not finite"):
    convert(state() | {"fc.bias": np.array([1, np.nan, 2], "f4")})
