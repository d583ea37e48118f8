"""EAMM's files: the numbers of their definition, and what does not fit."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax.models.eamm import AudioToMotion, EmotionNet
from speak_jax.models.fomm import Keypoints
from speak_jax.pretrained import goldens, layouts
from speak_jax.pretrained.tensors import Tensors, WeightsError
from tests.pretrained import reference_eamm
from tests.pretrained.torch_files import entries, tensor, write_zip

FRAMES, SEED = 2, 7
SHAPES = {
  "eamm_hearing": reference_eamm.hearing_shapes(2, 3, 2, 1, 5, 3),
  "eamm_feeling": reference_eamm.feeling_shapes(4, 16, 2, 2, (2, 1), 3, 2),
  "eamm_feeling_all": reference_eamm.feeling_shapes(4, 16, 2, 2, (1,), 3, 0),
}
SIZES = {
  "eamm_hearing": dict(keypoints=3, channels=5, side=16, width=2, layers=2),
  "eamm_feeling": dict(
    keypoints=3,
    moved=2,
    width=4,
    widest=16,
    blocks=2,
    shrink=4,
    stages=(2, 1),
    features=2,
  ),
}
SIZES["eamm_feeling_all"] = SIZES["eamm_feeling"] | dict(moved=3, stages=(1,))
# Never called: another head of classes, neutral numbers without waves, and
# displacements of other numbers of keypoints.
UNUSED = ("fc.", "fc_n.", "final_4.", "final_10.", "down.", "num_batches")


def _unused(kind):
  return UNUSED[:3] + UNUSED[4:] if kind.endswith("all") else UNUSED


def _layout(kind):
  return kind.removesuffix("_all")


def _weights(kind):
  return goldens.fill(SHAPES[kind], SEED)


def _inputs(kind):
  size = 8 if kind == "eamm_hearing" else 32
  shapes = {"image": (2, 3, size, size)}
  if kind == "eamm_hearing":
    shapes |= {"mfcc": (2, FRAMES, 28, 12), "pose": (2, FRAMES, 6)}
  else:
    shapes |= {"value": (2, 3, 2), "jacobian": (2, 3, 2, 2)}
  arrays = {
    name: goldens.uniform(name, shape, SEED) for name, shape in shapes.items()
  }
  if kind == "eamm_hearing":
    arrays["weight"] = np.float32(1.6)
  return arrays


@pytest.fixture(scope="module")
def truth():
  true = reference_eamm.hearing, reference_eamm.feeling
  return {
    kind: true[kind != "eamm_hearing"](_weights(kind), **_inputs(kind))
    for kind in SHAPES
  }


def _in_a_file(weights):
  """Dicts of networks, and what training keeps beside them."""
  nested = {}
  for i, (key, value) in enumerate(weights.items()):
    network, _, rest = key.partition(".")
    if network not in ("audio_feature", "kp_detector_a"):
      network, rest = "emo_detector", key
    nested.setdefault(network, {})[rest] = tensor(value, str(i))
  moments = {"exp_avg": tensor(np.zeros(1, "f4"), "moments")}
  return {**nested, "optimizer": {"state": {0: moments}}, "epoch": 3}


@pytest.mark.parametrize("kind", SHAPES)
def test_numbers_are_those_of_the_definition(kind, truth, tmp_path):
  """From a file as torch 1.10 writes them."""
  write_zip(tmp_path / f"{kind}.pth", entries(_in_a_file(_weights(kind))))
  row = dict(stored_weights=True, seed=SEED, outputs=dict.fromkeys(truth[kind]))
  (tmp_path / "meta.json").write_text(json.dumps({kind: row}))
  arrays = {f"in.{k}": v for k, v in _inputs(kind).items()}
  arrays |= {f"out.{k}": v.astype("f4") for k, v in truth[kind].items()}
  np.savez(tmp_path / f"{kind}.npz", **arrays)
  found = list(goldens.verify(tmp_path))
  assert {x.output for x in found} == set(truth[kind])
  assert all(x.passed for x in found), found


def _program(kind):
  """All outputs of a kind's network, compiled once."""
  inputs = {k: jnp.asarray(v) for k, v in _inputs(kind).items()}
  picture = jnp.moveaxis(inputs["image"], 1, -1)

  def run(variables):
    if kind == "eamm_hearing":
      found = (
        AudioToMotion(**SIZES[kind])
        .apply(variables, picture, inputs["mfcc"], inputs["pose"], None, 1.6)
        .found
      )
      return {
        name: x.reshape(2, FRAMES, *x.shape[1:])
        for name, x in zip(
          ("value", "jacobian", "heatmap"),
          (*found.keypoints, found.heat),
          strict=True,
        )
      }
    neutral = Keypoints(inputs["value"], inputs["jacobian"])
    felt = EmotionNet(**SIZES[kind]).apply(variables, picture, neutral)
    return {
      "value": felt.displacement.points,
      "jacobian": felt.displacement.jacobians,
      "classes": felt.logits,
    }

  return jax.jit(run)


@pytest.mark.parametrize("kind", SHAPES)
def test_every_key_counts(kind, truth):
  """A hundredth more in any key is seen in some output."""
  run, weights = _program(kind), _weights(kind)

  def error(weights):
    made = layouts.LAYOUTS[_layout(kind)].convert(Tensors(weights, "w"), {})
    found = run(made.variables)
    return max(
      np.abs(np.asarray(found[k]) - v).max() / np.abs(v).max()
      for k, v in truth[kind].items()
    )

  assert error(weights) < goldens.TOLERANCE
  # What is added to a whole map of spots, the softmax takes away again.
  unused = (*_unused(kind), "kp.bias")
  unseen = [
    key
    for key, value in weights.items()
    if not any(f".{x}" in f".{key}" for x in unused)
    and error(weights | {key: value * np.float32(1.01)}) < goldens.TOLERANCE
  ]
  assert not unseen


@pytest.mark.parametrize("kind", SHAPES)
def test_sizes_are_read_off_the_file(kind):
  weights, layout = _weights(kind), _layout(kind)
  assert layouts.layout_of(Tensors(weights, "w")) == layout
  made = layouts.LAYOUTS[layout].convert(Tensors(weights, "w"), {})
  assert made.sizes == SIZES[kind]
  dropped = [
    k for k in weights if any(f".{x}" in f".{k}" for x in _unused(kind))
  ]
  assert sorted(made.unused) == sorted(dropped)
  # Every parameter of the network has come, and no other.
  shape = lambda *x: jax.ShapeDtypeStruct((2, *x), jnp.float32)  # noqa: E731
  if kind == "eamm_hearing":
    net = AudioToMotion(**made.sizes)
    inputs = shape(8, 8, 3), shape(1, 28, 12), shape(1, 6)
  else:
    net = EmotionNet(**made.sizes)
    inputs = shape(32, 32, 3), Keypoints(shape(3, 2), shape(3, 2, 2))
  shapes = jax.eval_shape(net.init, jax.random.key(0), *inputs)
  assert jax.tree.map(jnp.shape, made.variables) == jax.tree.map(
    jnp.shape, dict(shapes)
  )


def test_published_sizes():
  heads = 7 * 7 * 35 * 50 + 50
  for shapes, layout, sizes, count in (
    (
      reference_eamm.hearing_shapes(64, 8, 3, 3, 35, 10),
      "eamm_hearing",
      dict(keypoints=10, channels=35, side=64, width=64, layers=3),
      35_290_339 + heads,
    ),
    (
      reference_eamm.feeling_shapes(32, 1024, 5, 64, (2, 2, 2, 2), 10, 4),
      "eamm_feeling",
      dict(
        keypoints=10,
        moved=4,
        width=32,
        widest=1024,
        blocks=5,
        shrink=4,
        stages=(2, 2, 2, 2),
        features=64,
      ),
      27_888_092,
    ),
  ):
    weights = {
      k: np.broadcast_to(np.float32(0), shape) for k, shape in shapes.items()
    }
    convert = layouts.LAYOUTS[layout].convert
    assert convert(Tensors(weights, "w"), {}).sizes == sizes
    buffers = "running_mean", "running_var", "tracked"
    learned = [
      int(np.prod(x))
      for k, x in shapes.items()
      if not k.endswith(buffers) and k != "down.weight"
    ]
    assert sum(learned) == count


def test_what_nothing_calls_is_named(tmp_path):
  weights = _weights("eamm_hearing")
  extra = {
    "audio_feature.generator.style.0.bias": np.ones(3, "f4"),
    "kp_detector_a.predictor.encoder.down_blocks.0.conv.bias": np.ones(3, "f4"),
    "kp_detector_a.down.weight": np.ones((3, 1, 3, 3), "f4"),
  }
  made = layouts.LAYOUTS["eamm_hearing"].convert(
    Tensors(weights | extra, "w"), {}
  )
  assert set(extra) <= set(made.unused)


def _without(key):
  return lambda w: {k: v for k, v in w.items() if k != key}


def _with(key, *shape):
  return lambda w: w | {key: np.ones(shape, np.float32)}


@pytest.mark.parametrize(
  ("kind", "change", "line"),
  [
    (
      "eamm_hearing",
      _without("audio_feature.lstm.bias_hh_l1"),
      "lstm.bias_hh_l1 is missing",
    ),
    (
      "eamm_hearing",
      _without("kp_detector_a.kp.bias"),
      "key kp_detector_a.kp.bias is missing",
    ),
    (
      "eamm_hearing",
      _with("audio_feature.decon.0.weight", 8, 8, 4, 4),
      "decon.0.weight has shape",
    ),
    (
      "eamm_hearing",
      _with("audio_feature.lstm_fc.0.weight", 3),
      "unknown key audio_feature.lstm_fc",
    ),
    ("eamm_feeling", _without("fc_p.2.bias"), "key fc_p.2.bias is missing"),
    ("eamm_feeling", _without("bn1.running_var"), "bn1.running_var is missing"),
    ("eamm_feeling", _with("conv1.weight", 2, 8, 3, 3), "conv1.weight has"),
    ("eamm_feeling", _with("fc_q.0.weight", 3), "unknown key fc_q.0.weight"),
  ],
)
def test_what_does_not_fit_is_one_line(kind, change, line):
  tensors = Tensors(change(_weights(kind)), "FILE")
  with pytest.raises(WeightsError, match=line) as caught:
    layouts.LAYOUTS[kind].convert(tensors, {})
  assert str(caught.value).startswith("FILE: ")
  assert "\n" not in str(caught.value)
