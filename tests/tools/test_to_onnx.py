"""The functions of a bundle as ONNX."""

import importlib.util
import subprocess
import sys

import jax
import numpy as np
import pytest
from flax import traverse_util

from speak_jax import bundle
from speak_jax.common import packaged
from speak_jax.inference.functions import called
from speak_jax.tools import to_onnx

BUNDLES = (packaged.PHOTOGRAPH, packaged.REFERENCE)


@pytest.mark.parametrize("path", BUNDLES, ids=lambda x: x.name)
def test_functions_are_those_of_the_bundle(path):
  """What the config makes anew gives what the StableHLO gives."""
  content = bundle.read(path)
  theirs = called(content.artifacts)
  variables = traverse_util.unflatten_dict(content.weights, sep="/")
  made = {case.name: case for case in to_onnx.cases(content)}
  if "speech" not in theirs and not content.moves_photographs:
    # Of format 1, where the sound is encoded with the frames.
    del made["speech"], made["frames"], theirs["frames"]
  assert sorted(made) == sorted(theirs)
  for name, function, inputs in made.values():
    want = jax.tree.leaves(theirs[name](variables, *inputs))
    got = jax.tree.leaves(jax.jit(function)(*inputs))
    for a, b in zip(got, want, strict=True):
      assert to_onnx.difference(np.asarray(a), np.asarray(b)) < 1e-4, name


def test_a_level_of_a_pixel_is_rounding():
  a = np.array([[0, 7], [255, 3]], np.uint8)
  assert to_onnx.difference(a, a ^ 1) == 0
  b = a.copy()
  b[0, 1] += 52
  assert to_onnx.difference(a, b) == pytest.approx(51 / 255)
  assert to_onnx.difference(a / 1.0, b / 1.0) == 52


def run(*words):
  return subprocess.run(
    [sys.executable, "-m", "speak_jax.tools.to_onnx", *map(str, words)],
    capture_output=True,
    text=True,
  )


@pytest.mark.skipif(
  importlib.util.find_spec("jax2onnx") is not None, reason="jax2onnx is here"
)
def test_without_the_converter_it_is_one_line(tmp_path):
  made = run("--out", tmp_path / "onnx")
  assert made.returncode == 1
  assert made.stderr.endswith("not installed; --help says how\n")
  assert made.stderr.startswith("error: jax2onnx") and "\n" in made.stderr
  assert not (tmp_path / "onnx").exists()


@pytest.mark.parametrize("path", BUNDLES, ids=lambda x: x.name)
def test_onnx_runtime_gives_what_jax_gives(path, tmp_path):
  if importlib.util.find_spec("jax2onnx") is None:
    pytest.skip("no jax2onnx here")
  made = run("--model", path, "--out", tmp_path / "onnx")
  assert made.returncode == 0, made.stderr
  names = {x.stem for x in (tmp_path / "onnx").iterdir()}
  assert names >= set(bundle.read(path).artifacts)
