"""FOMM's files: the numbers of their definition, and what does not fit."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import eamm as presets
from speak_jax.models.fomm import Generator, KeypointDetector, Keypoints
from speak_jax.pretrained import goldens, layouts
from speak_jax.pretrained.tensors import Tensors, WeightsError
from speak_jax.stages import fomm as stage
from speak_jax.training.initial_weights import public_weights
from tests.pretrained import reference_fomm
from tests.pretrained.torch_files import entries, state, write_zip

SEED, SIDE, FACTOR, BELL = 4, 64, 4, 13
SIZES = {
  "fomm_keypoints": dict(keypoints=3, width=4, widest=8, blocks=2),
  "fomm_generator": dict(
    width=2, halvings=2, residuals=2, motion_width=4, widest=8, blocks=2
  ),
}
SHAPES = {
  "fomm_keypoints": reference_fomm.detector_shapes(
    **SIZES["fomm_keypoints"], bell=BELL
  ),
  "fomm_generator": reference_fomm.generator_shapes(
    3, **SIZES["fomm_generator"], bell=BELL
  ),
}
NETS = {"fomm_keypoints": KeypointDetector, "fomm_generator": Generator}


def _weights(kind, shapes=None, bell=BELL, deviation=1.5):
  made = goldens.fill(shapes or SHAPES[kind], SEED)
  kernel = reference_fomm.bell(bell, deviation).astype(np.float32)
  return {k: kernel if "down.weight" in k else v for k, v in made.items()}


def _inputs(kind):
  image = (goldens.uniform("image", (2, 3, SIDE, SIDE), SEED) + 1) / 2
  if kind == "fomm_keypoints":
    return {"image": image}
  inputs = {"image": image}
  for name in ("source", "driving"):
    inputs[f"{name}_value"] = 0.7 * goldens.uniform(name, (2, 3, 2), SEED)
    turn = goldens.uniform(f"{name}.turn", (2, 3, 2, 2), SEED)
    inputs[f"{name}_jacobian"] = np.eye(2, dtype=np.float32) + 0.3 * turn
  return inputs


@pytest.fixture(scope="module")
def truth():
  return {
    "fomm_keypoints": reference_fomm.detector(
      _weights("fomm_keypoints"),
      _inputs("fomm_keypoints")["image"].astype(float),
      FACTOR,
    ),
    "fomm_generator": reference_fomm.generator(
      _weights("fomm_generator"),
      FACTOR,
      **{k: v.astype(float) for k, v in _inputs("fomm_generator").items()},
    ),
  }


def _file(path, **networks):
  """A checkpoint as the public code writes it, with what lies beside it."""
  root = {
    prefix: state(
      **{k.removeprefix(f"{prefix}."): v for k, v in weights.items()}
    )
    for prefix, weights in networks.items()
  }
  # Each tensor of the file has a storage of its own.
  number = 0
  for tensors in root.values():
    for tensor in tensors.values():
      tensor.storage.key = str(number)
      number += 1
  return write_zip(path, entries({**root, "epoch": 99}))


def _whole(path):
  """Both networks and a discriminator."""
  return _file(
    path,
    generator=_weights("fomm_generator"),
    discriminator={"discriminator.x.weight": np.ones((2, 3), np.float32)},
    kp_detector=_weights("fomm_keypoints"),
  )


@pytest.mark.parametrize("kind", SHAPES)
def test_numbers_are_those_of_the_definition(kind, truth, tmp_path):
  prefix = next(iter(SHAPES[kind])).split(".")[0]
  _file(
    tmp_path / f"{kind}.pth",
    **{prefix: _weights(kind)},
    discriminator={"discriminator.x": np.ones(1, np.float32)},
  )
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
  picture = jnp.moveaxis(inputs["image"], 1, -1)
  if kind == "fomm_keypoints":
    net = KeypointDetector(shrink=FACTOR, **SIZES[kind])

    def detect(variables):
      found = net.apply(variables, picture)
      return {
        "value": found.keypoints.points,
        "jacobian": found.keypoints.jacobians,
        "heatmap": found.heat,
      }

    return jax.jit(detect)
  net = Generator(shrink=FACTOR, aligned=False, **SIZES[kind])
  source, driving = (
    Keypoints(inputs[f"{x}_value"], inputs[f"{x}_jacobian"])
    for x in ("source", "driving")
  )

  def paint(variables):
    made = net.apply(variables, picture, source, driving)
    maps = {
      "prediction": made.frames,
      "mask": made.motion.masks,
      "occlusion_map": made.motion.occlusion,
    }
    return {k: jnp.moveaxis(v, -1, 1) for k, v in maps.items()}

  return jax.jit(paint)


@pytest.mark.parametrize("kind", SHAPES)
def test_every_key_counts(kind, truth):
  """A hundredth more in any key is seen in some output, or refused."""
  run, weights = _program(kind), _weights(kind)

  def error(weights):
    try:
      made = layouts.LAYOUTS[kind].convert(Tensors(weights, "w"), {})
    except WeightsError:
      return np.inf
    found = run(made.variables)
    return max(
      np.abs(np.asarray(v) - truth[kind][k]).max()
      / np.abs(truth[kind][k]).max()
      for k, v in found.items()
    )

  assert error(weights) < goldens.TOLERANCE
  unseen = [
    key
    for key, value in weights.items()
    if "num_batches_tracked" not in key
    and error(weights | {key: value * np.float32(1.01)}) < goldens.TOLERANCE
  ]
  # A softmax over places does not know what is added to all of them.
  flat = [key for key in weights if key == "kp_detector.kp.bias"]
  assert unseen == flat
  made = layouts.LAYOUTS[kind].convert(Tensors(weights, "w"), {})
  for key in flat:
    kept = made.variables["params"]["head"]["points"]["bias"]
    np.testing.assert_array_equal(kept, weights[key])


@pytest.mark.parametrize("kind", SHAPES)
def test_sizes_are_read_off_the_file(kind):
  tensors = Tensors(_weights(kind), "w")
  assert layouts.layout_of(tensors) == kind
  made = layouts.LAYOUTS[kind].convert(tensors, {})
  aligned = {} if kind == "fomm_keypoints" else {"aligned": False}
  assert made.sizes == {**SIZES[kind], **aligned, "shrink": FACTOR}
  assert all("num_batches_tracked" in k for k in made.unused)
  # Every parameter of the network has come, and no other.
  shape = lambda *x: jax.ShapeDtypeStruct(x, jnp.float32)  # noqa: E731
  inputs = [shape(2, SIDE, SIDE, 3)]
  if kind == "fomm_generator":
    points: tuple = shape(2, 3, 2), shape(2, 3, 2, 2)
    inputs += [Keypoints(*points)] * 2
  wanted = jax.eval_shape(
    NETS[kind](**made.sizes).init, jax.random.key(0), *inputs
  )
  assert jax.tree.map(jnp.shape, made.variables) == jax.tree.map(
    jnp.shape, dict(wanted)
  )


def test_published_sizes():
  shapes = reference_fomm.detector_shapes(10, 32, 1024, 5, 13)
  shapes |= reference_fomm.generator_shapes(10, 64, 2, 6, 64, 1024, 5, 13)
  count = sum(
    int(np.prod(v))
    for k, v in shapes.items()
    if not k.endswith(("running_mean", "running_var", "tracked"))
    and "down.weight" not in k
  )
  assert count / 1e6 == pytest.approx(14.22 + 37.73 + 7.85, rel=0.001)
  kernel = reference_fomm.bell(13, 1.5).astype(np.float32)
  weights = {
    k: kernel if "down.weight" in k else np.broadcast_to(np.float32(0), shape)
    for k, shape in shapes.items()
  }
  config = presets.get_config("released")
  for kind, net in (
    ("fomm_keypoints", stage.detector(config)),
    ("fomm_generator", stage.generator(config)),
  ):
    sizes = layouts.LAYOUTS[kind].convert(Tensors(weights, "w"), {}).sizes
    assert {k: getattr(net, k) for k in sizes} == sizes


def test_one_file_starts_both_networks(tmp_path):
  path = _whole(tmp_path / "vox.pth.tar")
  words = {
    "model.keypoints": 3,
    "model.image": SIDE,
    "model.shrink": FACTOR,
    "model.generator.width": 2,
    "model.generator.halvings": 2,
    "model.generator.residuals": 2,
    **{f"model.{x}.width": 4 for x in ("detector", "motion")},
    **{f"model.{x}.widest": 8 for x in ("detector", "motion")},
    **{f"model.{x}.blocks": 2 for x in ("detector", "motion")},
    **{f"pretrained.{x}": path for x in SHAPES},
  }
  text = ",".join(["demo", *(f"{k}={v}" for k, v in words.items())])
  config = presets.get_config(text)
  found = public_weights(config, stage.make(config))
  assert set(found) == set(SHAPES)
  for kind, (params, collections) in found.items():
    wanted = layouts.LAYOUTS[kind].convert(Tensors(_weights(kind), "w"), {})
    jax.tree.map(
      np.testing.assert_array_equal,
      {"params": params, **collections},
      wanted.variables,
    )
  config = presets.get_config(f"{text},model.keypoints=4")
  with pytest.raises(WeightsError, match=r"vox\.pth\.tar: .* this config's is"):
    public_weights(config, stage.make(config))


def test_other_gaussians_are_other_factors():
  """A half has 5 taps of deviation .5; without a kernel it is the whole."""
  shapes = reference_fomm.detector_shapes(3, 4, 8, 2, 5)
  convert = layouts.LAYOUTS["fomm_keypoints"].convert
  weights = _weights("fomm_keypoints", shapes, 5, 0.5)
  assert convert(Tensors(weights, "w"), {}).sizes["shrink"] == 2
  del weights["kp_detector.down.weight"]
  assert convert(Tensors(weights, "w"), {}).sizes["shrink"] == 1


def _without(key):
  return lambda w: {k: v for k, v in w.items() if k != key}


def _with(key, *shape):
  return lambda w: w | {key: np.ones(shape, np.float32)}


@pytest.mark.parametrize(
  ("kind", "change", "line"),
  [
    (
      "fomm_keypoints",
      _without("kp_detector.kp.bias"),
      "kp_detector.kp.bias is missing",
    ),
    (
      "fomm_keypoints",
      _with("kp_detector.jacobian.weight", 3, 7, 7, 7),
      "jacobian.weight has shape",
    ),
    (
      "fomm_keypoints",
      _with("kp_detector.down.weight", 3, 1, 13, 13),
      "kp_detector.down.weight is not the Gaussian",
    ),
    (
      "fomm_keypoints",
      _with("kp_detector.down.weight", 3, 1, 12, 12),
      "kp_detector.down.weight is not the Gaussian",
    ),
    (
      "fomm_keypoints",
      _without("kp_detector.predictor.encoder.down_blocks.0.conv.weight"),
      "down_blocks.0.conv.weight is missing",
    ),
    ("fomm_keypoints", _with("kp_detector.more", 3), "unknown key kp_detector"),
    ("fomm_keypoints", _with("audio.weight", 3), "unknown key audio.weight"),
    (
      "fomm_generator",
      _without("generator.bottleneck.r1.norm2.running_var"),
      "r1.norm2.running_var is missing",
    ),
    (
      "fomm_generator",
      _with("generator.up_blocks.0.conv.weight", 4, 4, 3, 3),
      "up_blocks.0.conv.weight has shape",
    ),
    (
      "fomm_generator",
      _with("generator.first.conv.weight", 3),
      "wanted 4 axes",
    ),
  ],
)
def test_what_does_not_fit_is_one_line(kind, change, line):
  tensors = Tensors(change(_weights(kind)), "FILE")
  with pytest.raises(WeightsError, match=line) as caught:
    layouts.LAYOUTS[kind].convert(tensors, {})
  assert str(caught.value).startswith("FILE: ")
  assert "\n" not in str(caught.value)
