"""The networks that judge real faces give the numbers of their publisher."""

import json
from pathlib import Path

import numpy as np
import pytest

from speak_jax.models import (
  face_expression,
  face_identity,
  face_landmarks,
  quantized,
)

# Of @vladmandic/face-api 1.7.15 with @tensorflow/tfjs 4.22.0 on a CPU, for
# `picture`: softmax(FaceExpressionNet.runNet), FaceLandmark68Net.forwardInput
# and FaceRecognitionNet.forwardInput.
PUBLISHED = json.loads(Path(__file__).with_name("faces.json").read_text())


def picture(side):
  y, x = np.mgrid[:side, :side] / side
  waves = [
    np.sin(7 * x + 3 * y) + np.cos(11 * y * y + k) * np.sin(5 * x + 2 * k)
    for k in range(3)
  ]
  rgb = 127.5 + 60 * np.stack(waves, -1)
  return np.rint(rgb).clip(0, 255).astype(np.uint8)[None]


def edges(points):
  """From px to shares of the side, as the package has them."""
  return (points + 0.5).ravel() / 112


@pytest.mark.parametrize(
  ("net", "run", "side", "read"),
  [
    (face_expression, face_expression.probabilities, 112, np.ravel),
    (face_landmarks, face_landmarks.points, 112, edges),
    (face_identity, face_identity.embedding, 150, np.ravel),
  ],
  ids=PUBLISHED,
)
def test_numbers_are_the_publishers(net, run, side, read):
  wanted = np.array(PUBLISHED[net.WEIGHTS.stem])
  ours = read(np.asarray(run(quantized.load(net.WEIGHTS), picture(side))))
  assert np.abs(ours - wanted).max() < 1e-4 * np.abs(wanted).max()


def test_bytes_stand_for_a_range(tmp_path):
  path = tmp_path / "net.safetensors"
  kernel = quantized.Quantized(np.array([[0, 255]], np.uint8), 0.5, -3.0)
  bias = np.array([0.25], np.float32)
  quantized.save(path, {"a/kernel": kernel, "a/bias": bias}, {"source": "us"})
  read = quantized.load(path)["a"]
  assert read["kernel"].dtype == np.float32
  assert read["kernel"].tolist() == [[-3.0, 124.5]]
  assert read["bias"].tolist() == [0.25]


def test_no_weights_is_a_line(tmp_path):
  path = tmp_path / "net.safetensors"
  with pytest.raises(ValueError, match="missing"):
    quantized.load(path)
  path.write_bytes(b"no weights at all")
  with pytest.raises(ValueError, match="damaged"):
    quantized.load(path)
