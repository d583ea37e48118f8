"""Files of face-api become ours, and what is none of them is refused."""

import json

import numpy as np
import pytest

from speak_jax.models import face_expression, quantized
from speak_jax.pretrained import __main__ as command
from speak_jax.pretrained import face_api
from speak_jax.pretrained.tensors import WeightsError

SHAPES = {
  "dense0/conv0/filters": (3, 3, 3, 2),
  "dense0/conv1/depthwise_filter": (3, 3, 2, 1),
  "dense0/conv1/pointwise_filter": (1, 1, 2, 4),
  "conv32_down/conv/filters": (7, 7, 3, 2),
  "conv32_down/scale/weights": (2,),
  "conv32_down/scale/biases": (2,),
  "fc/weights": (4, 7),
  "fc/bias": (7,),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
  """One tiny network in the package's format; a bias is no bytes."""
  network = face_api.NETWORKS["expression"]._replace(arrays=len(SHAPES))
  monkeypatch.setattr(face_api, "NETWORKS", {"expression": network})
  entries, raw = [], b""
  for i, (name, shape) in enumerate(SHAPES.items()):
    entry = {"name": name, "shape": shape, "dtype": "float32"}
    values = np.arange(np.prod(shape), dtype="u1")
    if name == "fc/bias":
      values = values.astype("<f4")
    else:
      entry["quantization"] = {"dtype": "uint8", "scale": 0.5, "min": -i}
    entries.append(entry)
    raw += values.tobytes()
  group = {"weights": entries, "paths": ["net.bin"]}
  path = tmp_path / "face_expression_model-weights_manifest.json"
  path.write_text(json.dumps([group]))
  (tmp_path / "net.bin").write_bytes(raw)
  return tmp_path


def test_names_axes_and_ranges(folder, capsys):
  out = folder / "out"
  assert command.main(["pretrained", "face-api", str(folder), str(out)]) == 0
  assert "expression.safetensors: 0.00 MB" in capsys.readouterr().out
  read = quantized.load(out / face_expression.WEIGHTS.name)
  layer = read["dense0"]["conv1"]
  assert layer["depthwise"].shape == (3, 3, 2)
  assert layer["pointwise"].shape == (2, 4)
  assert layer["depthwise"][0, 0].tolist() == [-1.0, -0.5]
  assert set(read["conv32_down"]) == {"kernel", "gain", "shift"}
  assert read["fc"]["kernel"].shape == (4, 7)
  assert read["fc"]["bias"].tolist() == list(range(7))


def test_what_is_wrong_is_a_line(folder, capsys):
  with (folder / "net.bin").open("ab") as file:
    file.write(b"more")
  with pytest.raises(WeightsError, match="bytes; this network has"):
    face_api.convert(folder, folder / "out")
  (folder / "net.bin").write_bytes(b"few")
  with pytest.raises(WeightsError, match="damaged"):
    face_api.convert(folder, folder / "out")
  (folder / "net.bin").unlink()
  words = ["pretrained", "face-api", str(folder), str(folder / "out")]
  assert command.main(words) == 1
  assert "net.bin: No such file" in capsys.readouterr().err
