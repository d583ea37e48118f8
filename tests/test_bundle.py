"""A bundle gives the run's own frames, or says which file is wrong."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from jax import export

from speak_jax import bundle as bundles
from speak_jax.inference.functions import PLATFORMS, deserialize
from speak_jax.inference.lowering import serialize
from speak_jax.inference.settings import settings_to_json
from speak_jax.inference.synthesizer import Synthesizer
from tests import glass

FLAT = {
  "encoders/params/scale": np.float32(1.0),
  "speak/params/gain": np.ones(3, np.float32),
}


@pytest.fixture(scope="module")
def content() -> bundles.Bundle:
  """The glass functions as a bundle's content."""
  return bundles.Bundle(
    config={"settings": settings_to_json(glass.SETTINGS)},
    weights=FLAT,
    artifacts=serialize(glass.functions(), glass.VARIABLES, glass.SETTINGS),
  )


@pytest.fixture
def folder(content, tmp_path):
  """A bundle on disk."""
  bundles.write(tmp_path / "bundle", content, "# Model card\n")
  return tmp_path / "bundle"


def test_bundle_makes_the_frames_that_memory_makes(folder):
  shipped = Synthesizer.from_bundle(folder, windows=2)
  memory = Synthesizer(
    glass.functions(), glass.VARIABLES, glass.SETTINGS, windows=2
  )
  assert shipped.settings == glass.SETTINGS
  np.testing.assert_array_equal(
    shipped.video(**glass.inputs(10)), memory.video(**glass.inputs(10))
  )


def test_weights_are_a_tree_by_their_names(folder):
  found = bundles.read(folder)
  wanted = traverse_util.unflatten_dict(found.weights, sep="/")
  jax.tree.map(np.testing.assert_array_equal, found.variables, wanted)


def test_artifacts_take_any_batch_size(folder):
  found = bundles.read(folder)
  functions = deserialize(found.artifacts)
  frames = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
  together = functions.pose(glass.VARIABLES, frames)
  alone = [functions.pose(glass.VARIABLES, frame[None])[0] for frame in frames]
  np.testing.assert_allclose(together, np.stack(alone), atol=1e-6)


def test_weights_in_the_file_are_the_ones_used(content, tmp_path):
  darker = content._replace(
    weights=FLAT | {"speak/params/gain": np.zeros(3, np.float32)}
  )
  bundles.write(tmp_path / "b", darker, "")
  shipped = Synthesizer.from_bundle(tmp_path / "b", windows=2)
  video = shipped.video(**glass.inputs(4))
  np.testing.assert_array_equal(video, np.full_like(video, 128))


@pytest.mark.parametrize(
  ("version", "named"), [(None, "another jax"), ("99.1", "jax 99.1")]
)
def test_a_bundle_of_a_newer_jax_is_one_line(
  version, named, content, tmp_path, monkeypatch
):
  folder = tmp_path / "bundle"
  said_by = {} if version is None else {"jax": version}
  newer = content._replace(config=content.config | said_by)
  bundles.write(folder, newer, "# Card\n")

  class Newer:
    def mlir_module(self):
      raise jax.errors.JaxRuntimeError("Failed to deserialize StableHLO")

  monkeypatch.setattr(export, "deserialize", lambda blob: Newer())
  said = f"written by {named}, and jax {jax.__version__} cannot read it"
  with pytest.raises(bundles.BundleError, match=re.escape(said)) as e:
    Synthesizer.from_bundle(folder)
  assert str(folder) in str(e.value) and "\n" not in str(e.value)


def test_artifacts_name_every_platform(folder):
  for blob in bundles.read(folder).artifacts.values():
    platforms = export.deserialize(bytearray(blob)).platforms
    assert set(platforms) == {"cpu", "cuda", "tpu"}


@pytest.mark.parametrize(
  "name",
  ["model.safetensors", "config.json", "stablehlo/frames.bin"],
)
def test_one_changed_byte_is_refused_and_named(folder, name):
  data = bytearray((folder / name).read_bytes())
  data[len(data) // 2] ^= 1
  (folder / name).write_bytes(data)
  with pytest.raises(bundles.BundleError, match=f"{name}: altered"):
    bundles.read(folder)


def test_a_bundle_of_format_1_encodes_speech_with_the_frames(
  content, tmp_path, monkeypatch
):
  """As those of before, whose `frames` takes the sound of a window."""
  functions, settings = glass.functions(), glass.SETTINGS

  def frames(variables, portrait, pose, emotion, audio):
    speech = functions.speech(variables, audio, None)
    return functions.frames(variables, portrait, pose, emotion, speech)

  (b,) = jax.export.symbolic_shape("b")
  like = jax.ShapeDtypeStruct
  lowered = jax.export.export(jax.jit(frames), platforms=PLATFORMS)(
    jax.tree.map(lambda x: like(x.shape, x.dtype), glass.VARIABLES),
    (
      like((b, 3), jnp.float32),
      like((b, 2), jnp.float32),
      (like((b, 8, 8, 3), jnp.float32), like((b, 4, 8, 3), jnp.float32)),
    ),
    like((b, settings.frames, 3), jnp.float32),
    like((b, 3), jnp.float32),
    like((b, settings.samples), jnp.int16),
  )
  artifacts = {k: v for k, v in content.artifacts.items() if k != "speech"}
  artifacts["frames"] = bytes(lowered.serialize())
  stored = settings_to_json(settings)
  del stored["stretch"]
  with monkeypatch.context() as patch:
    patch.setattr(bundles, "FORMAT", 1)
    patch.setattr(bundles, "FUNCTIONS", tuple(artifacts))
    old = content._replace(config={"settings": stored}, artifacts=artifacts)
    bundles.write(tmp_path / "b", old, "")
  shipped = Synthesizer.from_bundle(tmp_path / "b", windows=2)
  memory = Synthesizer(functions, glass.VARIABLES, settings)
  np.testing.assert_array_equal(
    shipped.video(**glass.inputs(10)), memory.video(**glass.inputs(10))
  )


def test_a_function_of_the_format_must_be_there(content, tmp_path, monkeypatch):
  fewer = {k: v for k, v in content.artifacts.items() if k != "speech"}
  with monkeypatch.context() as patch:
    patch.setattr(bundles, "FUNCTIONS", tuple(fewer))
    bundles.write(tmp_path / "b", content._replace(artifacts=fewer), "")
  with pytest.raises(bundles.BundleError, match=r"speech\.bin: missing"):
    bundles.read(tmp_path / "b")


def test_missing_file_is_refused_and_named(folder):
  (folder / "stablehlo/pose.bin").unlink()
  with pytest.raises(bundles.BundleError, match=r"pose\.bin: missing"):
    bundles.read(folder)


def test_sums_may_not_point_out_of_the_folder(folder):
  """What is listed and never used is not looked for."""
  with (folder / "SHA256SUMS").open("a") as sums:
    sums.write("0" * 64 + "  ../other\n")
  bundles.verify(folder)


def test_weights_for_evaluation_may_be_there(content, tmp_path):
  more = content._replace(evaluation={"irfd/decoder/params/a": np.ones(3)})
  bundles.write(tmp_path / "b", more, "")
  found = bundles.read(tmp_path / "b").evaluation
  np.testing.assert_array_equal(found["irfd/decoder/params/a"], np.ones(3))
  (tmp_path / "b" / "evaluation.safetensors").unlink()
  with pytest.raises(bundles.BundleError, match=r"evaluation\S+: missing"):
    bundles.read(tmp_path / "b")


def test_half_precision_comes_back_as_single(content, tmp_path):
  half = {k: v.astype(np.float16) for k, v in content.weights.items()}
  bundles.write(tmp_path / "b", content._replace(weights=half), "")
  for name, array in bundles.read(tmp_path / "b").weights.items():
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, half[name])


@pytest.mark.parametrize("name", ["config.json", "stablehlo/speech.bin"])
def test_unlisted_file_is_refused(folder, name):
  sums = folder / "SHA256SUMS"
  kept = [x for x in sums.read_text().splitlines() if name not in x]
  sums.write_text("\n".join(kept) + "\n")
  with pytest.raises(bundles.BundleError, match=rf"{name}: not listed"):
    bundles.read(folder)


def test_weights_for_evaluation_are_listed_or_refused(folder):
  (folder / "evaluation.safetensors").write_bytes(b"x")
  with pytest.raises(bundles.BundleError, match=r"evaluation\S+: not listed"):
    bundles.read(folder)


def test_other_formats_are_refused(content, tmp_path):
  other = content._replace(config=content.config | {"format": 99})
  bundles.write(tmp_path / "b", other, "")
  with pytest.raises(bundles.BundleError, match="bundle format 99"):
    bundles.read(tmp_path / "b")


def test_no_folder_and_no_bundle_are_told_apart(tmp_path):
  with pytest.raises(bundles.BundleError, match="no such bundle folder"):
    bundles.read(tmp_path / "nothing")
  with pytest.raises(bundles.BundleError, match="not a bundle"):
    bundles.read(tmp_path)


def test_bundle_replaces_a_bundle_and_nothing_else(content, folder):
  bundles.write(folder, content._replace(config={"seed": 7}), "")
  assert json.loads((folder / "config.json").read_text())["seed"] == 7
  assert [x.name for x in folder.parent.iterdir()] == [folder.name]
  other = folder.parent / "mine"
  other.mkdir()
  (other / "thesis.txt").write_text("dear")
  with pytest.raises(bundles.BundleError, match="is not a bundle"):
    bundles.write(other, content, "")
  assert (other / "thesis.txt").read_text() == "dear"


def test_failed_write_leaves_nothing(content, tmp_path):
  broken = content._replace(config={"array": np.zeros(2)})  # not JSON
  with pytest.raises(TypeError):
    bundles.write(tmp_path / "b", broken, "")
  assert list(tmp_path.iterdir()) == []
