"""ATVG's files: the numbers of their definition, and what does not fit."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax.models.atvg import ATNet, Critic, VGNet
from speak_jax.pretrained import goldens, layouts
from speak_jax.pretrained.tensors import Tensors, WeightsError
from tests.pretrained import reference_atvg
from tests.pretrained.torch_files import legacy_bytes, state

WIDTH, SIDE, LAYERS, BLOCKS, FRAMES = 2, 4, 2, 2, 2
SHAPES = {
  "atvg_at": reference_atvg.at_shapes(WIDTH, LAYERS),
  "atvg_vg": reference_atvg.vg_shapes(WIDTH, SIDE, BLOCKS),
  "atvg_critic": reference_atvg.critic_shapes(WIDTH, SIDE, LAYERS),
}
SIZES = {
  "atvg_at": dict(width=WIDTH, layers=LAYERS),
  "atvg_vg": dict(size=16 * SIDE, width=WIDTH, blocks=BLOCKS, recurrent=False),
  "atvg_critic": dict(size=16 * SIDE, width=WIDTH, layers=LAYERS),
}
TRUE = {
  "atvg_at": reference_atvg.at_net,
  "atvg_vg": reference_atvg.vg_net,
  "atvg_critic": reference_atvg.critic,
}
SEED = 5


def _weights(kind):
  return goldens.fill(SHAPES[kind], SEED)


def _inputs(kind):
  size = 16 * SIDE
  shapes = {
    "atvg_at": {"example": (2, 6), "mfcc": (2, FRAMES, 28, 12)},
    "atvg_vg": {
      "image": (2, 3, size, size),
      "example": (2, 136),
      "landmarks": (2, FRAMES, 136),
    },
    "atvg_critic": {
      "frames": (2, FRAMES, 3, size, size),
      "example": (2, 136),
    },
  }[kind]
  return {
    name: goldens.uniform(name, shape, SEED) for name, shape in shapes.items()
  }


@pytest.fixture(scope="module")
def truth():
  return {kind: TRUE[kind](_weights(kind), **_inputs(kind)) for kind in SHAPES}


@pytest.mark.parametrize("kind", SHAPES)
def test_numbers_are_those_of_the_definition(kind, truth, tmp_path):
  """From a file as torch 0.4 wrote them, of a net on several devices."""
  several = {f"module.{k}": v for k, v in _weights(kind).items()}
  (tmp_path / f"{kind}.pth").write_bytes(legacy_bytes(state(**several)))
  row = dict(stored_weights=True, seed=SEED, outputs=dict.fromkeys(truth[kind]))
  (tmp_path / "meta.json").write_text(json.dumps({kind: row}))
  arrays = {f"in.{k}": v for k, v in _inputs(kind).items()}
  arrays |= {f"out.{k}": v.astype("f4") for k, v in truth[kind].items()}
  np.savez(tmp_path / f"{kind}.npz", **arrays)
  found = list(goldens.verify(tmp_path))
  assert {x.output for x in found} == set(truth[kind])
  assert all(x.passed for x in found), found


def _program(kind):
  """All outputs of a kind's network in PyTorch's axes, compiled once."""
  inputs = {k: jnp.asarray(v) for k, v in _inputs(kind).items()}
  pairs = lambda x: x.reshape(*x.shape[:-1], 68, 2)  # noqa: E731
  last = lambda x: jnp.moveaxis(x, -3, -1)  # noqa: E731
  sizes = SIZES[kind]

  def run(variables):
    if kind == "atvg_at":
      out, _ = ATNet(**sizes).apply(variables, *inputs.values())
      return {"coefficients": out}
    if kind == "atvg_critic":
      judged = Critic(**sizes).apply(
        variables, last(inputs["frames"]), pairs(inputs["example"])
      )
      return {
        "decision": jax.nn.sigmoid(judged.logits),
        "landmarks": judged.landmarks.reshape(2, FRAMES, 136),
      }
    arrays = (
      last(inputs["image"]),
      pairs(inputs["example"]),
      pairs(inputs["landmarks"]),
    )
    painted = VGNet(**sizes).apply(variables, *arrays)
    moving = VGNet(**sizes | {"recurrent": True}).apply(variables, *arrays)
    maps = painted._asdict() | {"recurrent": moving.frames}
    return {
      name: jnp.moveaxis(x, -1, -3) for name, x in maps.items() if x.ndim == 5
    }

  return jax.jit(run)


@pytest.mark.parametrize("kind", SHAPES)
def test_every_key_counts(kind, truth):
  """A hundredth more in any key is seen in some output."""
  run, weights = _program(kind), _weights(kind)

  def error(weights):
    made = layouts.LAYOUTS[kind].convert(Tensors(weights, "w"), {})
    found = run(made.variables)
    return max(
      np.abs(np.asarray(found[k]) - v).max() / np.abs(v).max()
      for k, v in truth[kind].items()
    )

  assert error(weights) < goldens.TOLERANCE
  unused = ("num_batches_tracked", "decoder.")
  unseen = [
    key
    for key, value in weights.items()
    if not any(x in key for x in unused)
    and error(weights | {key: value * np.float32(1.01)}) < goldens.TOLERANCE
  ]
  assert not unseen


@pytest.mark.parametrize("kind", SHAPES)
def test_sizes_are_read_off_the_file(kind):
  weights = _weights(kind)
  several = {f"module.{k}": v for k, v in weights.items()}
  layout = layouts.layout_of(Tensors(several, "w"))
  assert layout == kind
  one, other = (
    layouts.LAYOUTS[kind].convert(Tensors(x, "w"), {})
    for x in (weights, several)
  )
  assert one.sizes == other.sizes == SIZES[kind]
  jax.tree.map(np.testing.assert_array_equal, one.variables, other.variables)
  dropped = [
    k for k in weights if "num_batches" in k or k.startswith("decoder")
  ]
  assert sorted(one.unused) == sorted(dropped)
  # Every parameter of the network has come, and no other.
  wanted = {
    "atvg_at": (ATNet, (2, 6), (2, 1, 28, 12)),
    "atvg_vg": (VGNet, (2, 64, 64, 3), (2, 68, 2), (2, 1, 68, 2)),
    "atvg_critic": (Critic, (2, 1, 64, 64, 3), (2, 68, 2)),
  }[kind]
  net = wanted[0](**SIZES[kind])
  inputs = [jax.ShapeDtypeStruct(x, jnp.float32) for x in wanted[1:]]
  shapes = jax.eval_shape(net.init, jax.random.key(0), *inputs)
  assert jax.tree.map(jnp.shape, one.variables) == jax.tree.map(
    jnp.shape, dict(shapes)
  )


def test_published_sizes():
  for shapes, kind, sizes in (
    (reference_atvg.at_shapes(64, 3), "atvg_at", dict(width=64, layers=3)),
    (
      reference_atvg.vg_shapes(64, 8, 9),
      "atvg_vg",
      dict(size=128, width=64, blocks=9, recurrent=False),
    ),
  ):
    weights = {
      k: np.broadcast_to(np.float32(0), shape) for k, shape in shapes.items()
    }
    layout = layouts.LAYOUTS[kind]
    assert layout.convert(Tensors(weights, "w"), {}).sizes == sizes


def _without(key):
  return lambda w: {k: v for k, v in w.items() if k != key}


def _with(key, *shape):
  return lambda w: w | {key: np.ones(shape, np.float32)}


@pytest.mark.parametrize(
  ("kind", "change", "line"),
  [
    ("atvg_at", _without("lstm.bias_hh_l1"), "key lstm.bias_hh_l1 is missing"),
    ("atvg_at", _without("lstm_fc.0.weight"), "lstm_fc.0.weight is missing"),
    ("atvg_at", _with("lstm.weight_ih_l1", 32, 9), "lstm.weight_ih_l1 has"),
    ("atvg_at", _with("audio_eocder_fc.0.weight", 64, 9), "fc.0.weight has"),
    (
      "atvg_at",
      _with("audio_eocder.2.weight", 3),
      "unknown key audio_eocder.2",
    ),
    (
      "atvg_vg",
      _without("base.4.running_var"),
      "base.4.running_var is missing",
    ),
    (
      "atvg_vg",
      _without("convGRU.bias_hh_l0"),
      "convGRU.bias_hh_l0 is missing",
    ),
    ("atvg_vg", _with("landmark_encoder.0.weight", 5, 136), "no square map"),
    ("atvg_vg", _with("landmark_encoder.0.weight", 5), "wanted 2 axes"),
    ("atvg_vg", _with("lmark_att.0.weight", 8, 16, 3, 3), "lmark_att.0.weight"),
    (
      "atvg_vg",
      _with("generator1.0.conv_block.0.bias", 2),
      "unknown key gener",
    ),
    ("atvg_critic", _with("img_fc.0.weight", 16, 17), "img_fc.0.weight has"),
    ("atvg_critic", _without("decision.0.bias"), "decision.0.bias is missing"),
  ],
)
def test_what_does_not_fit_is_one_line(kind, change, line):
  tensors = Tensors(change(_weights(kind)), "FILE")
  with pytest.raises(WeightsError, match=line) as caught:
    layouts.LAYOUTS[kind].convert(tensors, {})
  assert str(caught.value).startswith("FILE: ")
  assert "\n" not in str(caught.value)
