"""Wav2Lip's files: the numbers of their definition, and what does not fit."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax.models.wav2lip import Critic, Generator, SyncExpert
from speak_jax.pretrained import goldens, layouts
from speak_jax.pretrained.tensors import Tensors, WeightsError
from tests.pretrained import reference_wav2lip as reference
from tests.pretrained.torch_files import legacy_bytes, state, tensor

WIDTH, MIDDLE = 2, 1
SIZE = 32 * MIDDLE
KINDS = {
  "wav2lip_generator": (
    reference.generator_shapes,
    reference.generator,
    Generator,
    {"faces": (2, 6, SIZE, SIZE), "mel": (2, 1, 80, 16)},
  ),
  "wav2lip_expert": (
    reference.expert_shapes,
    reference.expert,
    SyncExpert,
    {"below": (2, 15, SIZE // 2, SIZE), "mel": (2, 1, 80, 16)},
  ),
  "wav2lip_critic": (
    reference.critic_shapes,
    reference.critic,
    Critic,
    {"below": (2, 3, SIZE // 2, SIZE)},
  ),
}
SIZES = {"size": SIZE, "width": WIDTH}
SEED = 7
# Of kernels, and of biases and means.
GAINS = {
  "wav2lip_generator": (0.8, 2.0),
  "wav2lip_expert": (0.7, 1.0),
  "wav2lip_critic": (1.2, 5.0),
}


def _weights(kind):
  weights = goldens.fill(KINDS[kind][0](WIDTH, MIDDLE), SEED)
  # Made-up numbers would grow from one residual layer to the next, until biases
  # are nothing beside them and sigmoids are at their ends.
  steep, high = GAINS[kind]
  for key in weights:
    if key.endswith("conv_block.0.weight"):
      weights[key] *= np.float32(steep)
    elif key.endswith(("bias", "running_mean")):
      weights[key] *= np.float32(high)
  return weights


def _inputs(kind):
  return {
    name: np.abs(goldens.uniform(name, shape, SEED))
    for name, shape in KINDS[kind][3].items()
  }


@pytest.fixture(scope="module")
def truth():
  return {
    kind: row[1](_weights(kind), **_inputs(kind)) for kind, row in KINDS.items()
  }


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_are_those_of_the_definition(kind, truth, tmp_path):
  """From a file as torch 1.1 wrote them, beside the state of training."""
  several = {f"module.{k}": v for k, v in _weights(kind).items()}
  moments = {"exp_avg": tensor(np.ones(3, np.float32), "moment")}
  whole = {
    "state_dict": state(**several),
    "optimizer": {"state": {"140": moments}, "param_groups": []},
    "global_step": 3,
    "global_epoch": 1,
  }
  (tmp_path / f"{kind}.pth").write_bytes(legacy_bytes(whole))
  row = dict(stored_weights=True, seed=SEED, outputs=dict.fromkeys(truth[kind]))
  (tmp_path / "meta.json").write_text(json.dumps({kind: row}))
  arrays = {f"in.{k}": v for k, v in _inputs(kind).items()}
  arrays |= {f"out.{k}": v.astype("f4") for k, v in truth[kind].items()}
  np.savez(tmp_path / f"{kind}.npz", **arrays)
  found = list(goldens.verify(tmp_path))
  assert {x.output for x in found} == set(truth[kind])
  assert all(x.passed for x in found), found


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_counts(kind, truth):
  """A hundredth more in any key is seen in some output."""
  _, _, module, _ = KINDS[kind]
  weights = _weights(kind)
  inputs = [
    jnp.asarray(x[:, 0] if name == "mel" else np.moveaxis(x, 1, -1))
    for name, x in _inputs(kind).items()
  ]

  @jax.jit
  def run(variables):
    made = module(**SIZES).apply(variables, *inputs)
    if kind == "wav2lip_generator":
      return (jnp.moveaxis(made, -1, 1),)
    return made if kind == "wav2lip_expert" else (jax.nn.sigmoid(made),)

  def error(weights):
    made = layouts.LAYOUTS[kind].convert(Tensors(weights, "w"), {})
    pairs = zip(run(made.variables), truth[kind].values(), strict=True)
    return max(
      np.abs(np.asarray(a) - b).max() / np.abs(b).max() for a, b in pairs
    )

  assert error(weights) < goldens.TOLERANCE
  unseen = [
    key
    for key, value in weights.items()
    if "num_batches_tracked" not in key
    and error(weights | {key: value * np.float32(1.01)}) < goldens.TOLERANCE
  ]
  assert not unseen


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_are_read_off_the_file(kind):
  weights = _weights(kind)
  several = {f"module.{k}": v for k, v in weights.items()}
  assert layouts.layout_of(Tensors(several, "w")) == kind
  one, other = (
    layouts.LAYOUTS[kind].convert(Tensors(x, "w"), {})
    for x in (weights, several)
  )
  assert one.sizes == other.sizes == SIZES
  jax.tree.map(np.testing.assert_array_equal, one.variables, other.variables)
  assert sorted(one.unused) == sorted(k for k in weights if "num_batches" in k)


@pytest.mark.parametrize(
  ("kind", "width"),
  [("wav2lip_generator", 16), ("wav2lip_expert", 32), ("wav2lip_critic", 32)],
)
def test_published_sizes(kind, width):
  shapes = KINDS[kind][0](width, 3)
  weights = {k: np.broadcast_to(np.float32(0), v) for k, v in shapes.items()}
  converted = layouts.LAYOUTS[kind].convert(Tensors(weights, "w"), {})
  assert converted.sizes == {"size": 96, "width": width}


def _without(key):
  return lambda w: {k: v for k, v in w.items() if k != key}


def _with(key, *shape):
  return lambda w: w | {key: np.ones(shape, np.float32)}


DEEP = "face_decoder_blocks.3.0.conv_block"


@pytest.mark.parametrize(
  ("kind", "change", "line"),
  [
    ("wav2lip_generator", _without(f"{DEEP}.1.running_var"), "_var is missing"),
    ("wav2lip_generator", _without("output_block.1.bias"), "bias is missing"),
    (
      "wav2lip_generator",
      _with(f"{DEEP}.0.weight", 48, 96, 3, 3),
      f"{DEEP}.0.weight has shape",
    ),
    (
      "wav2lip_generator",
      _with("face_encoder_blocks.6.0.conv_block.0.weight", 64),
      "wanted 4 axes",
    ),
    (
      "wav2lip_generator",
      _with("audio_encoder.13.conv_block.0.weight", 3),
      "unknown key audio_encoder.13",
    ),
    (
      "wav2lip_expert",
      _without("face_encoder.16.conv_block.0.bias"),
      "face_encoder.16.conv_block.0.bias is missing",
    ),
    ("wav2lip_critic", _without("binary_pred.0.bias"), "bias is missing"),
  ],
)
def test_what_does_not_fit_is_one_line(kind, change, line):
  tensors = Tensors(change(_weights(kind)), "FILE")
  with pytest.raises(WeightsError, match=line) as caught:
    layouts.LAYOUTS[kind].convert(tensors, {})
  assert str(caught.value).startswith("FILE: ")
  assert "\n" not in str(caught.value)
