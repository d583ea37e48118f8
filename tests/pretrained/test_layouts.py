import jax
import numpy as np
import pytest
import safetensors.numpy

from speak_jax.pretrained import goldens, layouts
from speak_jax.pretrained.tensors import Tensors, WeightsError
from tests.pretrained import reference
from tests.pretrained.torch_files import entries, state, write_zip


@pytest.mark.parametrize(
  ("key", "layout"),
  [
    ("layer1.0.conv1.weight", "resnet"),
    ("features.0.weight", "vgg"),
    ("feature_extractor.conv_layers.0.conv.weight", "speech"),
    ("hubert.feature_extractor.conv_layers.0.conv.weight", "speech"),
    ("netcnnlip.0.weight", "syncnet"),
    ("lin0.model.1.weight", "lpips"),
    ("Mixed_5b.branch1x1.conv.weight", "inception"),
  ],
)
def test_a_layout_is_known_by_its_keys(key, layout):
  tensors = Tensors({"first": np.ones(1), key: np.ones(1)}, "w")
  assert layouts.layout_of(tensors) == layout


def test_weights_of_another_layout_are_refused(tmp_path):
  weights = goldens.fill(reference.resnet_shapes((1,), (2,), 2, 0), 1)
  path = write_zip(tmp_path / "w.pth", entries(state(**weights)))
  loaded = layouts.load(str(path), "resnet")
  assert loaded.layout == "resnet"
  assert loaded.converted.sizes["stages"] == (1,)
  with pytest.raises(WeightsError, match="of a resnet, wanted vgg"):
    layouts.load(str(path), "vgg")
  path = write_zip(tmp_path / "x.pth", entries(state(w=np.ones(1, "f4"))))
  with pytest.raises(WeightsError, match=r"x\.pth: holds w and so on"):
    layouts.load(str(path))


def test_what_was_saved_is_loaded(tmp_path):
  shapes = reference.resnet_shapes((1, 1), (2, 3), 2, 3)
  weights = goldens.fill(shapes, 1)
  path = write_zip(tmp_path / "w.pth", entries(state(**weights)))
  loaded = layouts.load(str(path))
  target = tmp_path / "new" / "w.safetensors"
  layouts.save(target, loaded)
  again = layouts.load(str(target), "resnet")
  assert again.layout == "resnet"
  assert again.converted.sizes == loaded.converted.sizes
  assert again.converted.unused == loaded.converted.unused
  jax.tree.map(
    np.testing.assert_array_equal,
    (again.converted.variables, again.converted.head),
    (loaded.converted.variables, loaded.converted.head),
  )
  with pytest.raises(WeightsError, match="is there already"):
    layouts.save(target, loaded)


def test_a_damaged_file_of_ours_is_named(tmp_path):
  path = tmp_path / "w.safetensors"
  arrays = {"params/w": np.ones(2, "f4")}
  facts = {
    "format": layouts.FORMAT,
    "layout": "vgg",
    "sizes": "[",
    "unused": "",
  }
  for wrong in (facts, facts | {"sizes": "[]", "unused": "[]"}):
    safetensors.numpy.save_file(arrays, path, wrong)
    with pytest.raises(WeightsError, match=r"w\.safetensors: damaged"):
      layouts.load(str(path))


def test_a_damaged_config_beside_the_file_is_named(tmp_path):
  weights = goldens.fill(reference.resnet_shapes((1,), (2,), 2, 0), 1)
  path = write_zip(tmp_path / "w.pth", entries(state(**weights)))
  for text in ("{", "[]"):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(WeightsError, match=r"config\.json: "):
      layouts.load(str(path))
