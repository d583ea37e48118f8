"""Wav2Lip's networks: published sizes and names, and its transposed layers."""

import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax.models import wav2lip
from speak_jax.supervision import flops

SIZE, WIDTH = 96, {"generator": 16, "expert": 32, "critic": 32}
# Parameters of the public files, counted from the layers' description.
COUNTS = {"generator": 36_298_035, "expert": 16_435_072, "critic": 14_113_793}


def _net(kind, size, width):
  if kind == "generator":
    inputs = (2, size, size, 6), (2, 80, 16)
    return wav2lip.Generator(size, width), inputs
  if kind == "expert":
    inputs = (2, size // 2, size, 15), (2, 80, 16)
    return wav2lip.SyncExpert(size, width), inputs
  return wav2lip.Critic(size, width), ((2, size // 2, size, 3),)


def _traced(kind, size, width):
  """Shapes of the variables, and of what comes out."""
  net, shapes = _net(kind, size, width)
  inputs = [jax.ShapeDtypeStruct(x, jnp.float32) for x in shapes]
  variables = jax.eval_shape(net.init, jax.random.key(0), *inputs)
  return variables, jax.eval_shape(net.apply, variables, *inputs)


def _names(tree):
  return {
    jax.tree_util.keystr(path, simple=True, separator=".")
    for path, _ in jax.tree_util.tree_leaves_with_path(tree)
  }


def _drawn(variables, rng):
  """Small numbers in place of shapes: `init` would take longer to compile."""
  return jax.tree.map(
    lambda x: jnp.asarray(rng.uniform(0.01, 0.3, x.shape), x.dtype), variables
  )


def _giga_products(kind, size, width):
  net, shapes = _net(kind, size, width)
  inputs = [jax.ShapeDtypeStruct((1, *x[1:]), jnp.float32) for x in shapes]
  variables = jax.eval_shape(net.init, jax.random.key(0), *inputs)
  return flops.count(jax.make_jaxpr(net.apply)(variables, *inputs).jaxpr) / 1e9


def _count(variables):
  return sum(
    int(np.prod(x.shape)) for x in jax.tree.leaves(variables["params"])
  )


@pytest.mark.parametrize("kind", COUNTS)
def test_it_has_as_many_parameters_as_published(kind):
  variables, out = _traced(kind, SIZE, WIDTH[kind])
  assert _count(variables) == COUNTS[kind]
  shapes = [x.shape for x in jax.tree.leaves(out)]
  assert (
    shapes
    == {
      "generator": [(2, 96, 96, 3)],
      "expert": [(2, 512), (2, 512)],
      "critic": [(2,)],
    }[kind]
  )


@pytest.mark.parametrize(
  ("kind", "size", "width", "published"),
  [
    ("generator", 96, 16, 3.97),
    ("expert", 96, 32, 1.21),
    ("critic", 96, 32, 1.26),
    ("generator", 64, 4, 0.117),
  ],
)
def test_it_costs_as_much_as_published(kind, size, width, published, unfolded):
  """Multiply-accumulates of a frame, in thousand millions."""
  cost = _giga_products(kind, size, width)
  assert cost == pytest.approx(published, rel=0.01)


def test_parts_of_the_generator():
  params = _traced("generator", SIZE, 16)[0]["params"]
  sizes = {
    name: _count({"params": tree}) / 1e6 for name, tree in params.items()
  }
  assert sizes["face_encoder_blocks"] == pytest.approx(8.17, abs=0.01)
  assert sizes["audio_encoder"] == pytest.approx(2.81, abs=0.01)
  decoder = sizes["face_decoder_blocks"] + sizes["output_block"]
  assert decoder == pytest.approx(25.3, abs=0.05)


def test_a_quarter_as_wide_at_64_px():
  variables, out = _traced("generator", 64, 4)
  assert out.shape == (2, 64, 64, 3)
  assert _count(variables) == pytest.approx(2.03e6, rel=0.01)
  seen, heard = _traced("expert", 64, 8)[1]
  assert seen.shape == heard.shape == (2, 128)
  assert _traced("critic", 64, 8)[1].shape == (2,)


# Layers of each published sequence, and how many a block of it has.
BLOCKS = {
  "generator": {
    "face_encoder_blocks": (1, 3, 4, 3, 3, 2, 2),
    "audio_encoder": 13,
    "face_decoder_blocks": (1, 2, 3, 3, 3, 3, 3),
  },
  "expert": {"face_encoder": 17, "audio_encoder": 14},
  "critic": {"face_encoder_blocks": (1, 2, 2, 2, 2, 2, 2)},
}
PLAIN = {
  "generator": ("output_block.1",),
  "expert": (),
  "critic": ("binary_pred.0",),
}


@pytest.mark.parametrize("kind", BLOCKS)
def test_names_are_those_of_the_public_files(kind):
  variables, _ = _traced(kind, 64, 4)
  wanted, stats = set(), set()
  layers = ["output_block.0"] if kind == "generator" else []
  for name, blocks in BLOCKS[kind].items():
    if isinstance(blocks, int):
      layers += [f"{name}.{j}" for j in range(blocks)]
    else:
      layers += [
        f"{name}.{i}.{j}" for i, n in enumerate(blocks) for j in range(n)
      ]
  for layer in layers:
    wanted |= {f"{layer}.conv_block.0.{x}" for x in ("kernel", "bias")}
    if kind != "critic":
      wanted |= {f"{layer}.conv_block.1.{x}" for x in ("scale", "bias")}
      stats |= {f"{layer}.conv_block.1.{x}" for x in ("mean", "var")}
  for layer in PLAIN[kind]:
    wanted |= {f"{layer}.{x}" for x in ("kernel", "bias")}
  assert _names(variables["params"]) == wanted
  assert _names(variables.get("batch_stats", {})) == stats
  assert not [x for x in wanted if re.search(r"\.\.|/", x)]


def test_doubling_is_pytorch_s_transposed_convolution():
  rng = np.random.default_rng(0)
  x = rng.normal(size=(2, 3, 4, 5))
  kernel = rng.normal(size=(3, 3, 5, 2))
  # What each place spreads over 3 x 3 of twice the size, padding 1 cut off and
  # one row and column left behind.
  spread = np.zeros((2, 2 * 3 + 2, 2 * 4 + 2, 2))
  for i, j in itertools.product(range(3), range(4)):
    spread[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += np.einsum(
      "bc,hwcd->bhwd", x[:, i, j], kernel
    )
  x32, kernel32 = (jnp.asarray(a, jnp.float32) for a in (x, kernel))
  made = wav2lip.conv_double(x32, kernel32)
  np.testing.assert_allclose(made, spread[:, 1:7, 1:9], atol=1e-5)
  one = wav2lip.grow(x32[:, :1, :1], kernel32)
  expected = np.einsum("bc,hwcd->bhwd", x[:, 0, 0], kernel)
  np.testing.assert_allclose(one, expected, atol=1e-5)


def test_tiny_networks_run():
  """What comes out has its range, and the lips follow both inputs."""
  rng = np.random.default_rng(1)
  net, _ = _net("generator", 32, 1)
  faces = jnp.asarray(rng.random((2, 32, 32, 6)), jnp.float32)
  mel = jnp.asarray(rng.normal(size=(2, 80, 16)), jnp.float32)
  variables = _drawn(_traced("generator", 32, 1)[0], rng)

  @jax.jit
  def run(faces, mel):
    return net.apply(variables, faces, mel, True, mutable=["batch_stats"])

  drawn, changed = run(faces, mel)
  assert drawn.shape == (2, 32, 32, 3)
  assert 0 <= float(drawn.min()) < float(drawn.max()) <= 1
  assert float(jnp.abs(run(faces, mel[::-1])[0] - drawn).max()) > 0
  old, new = (jax.tree.leaves(x["batch_stats"]) for x in (variables, changed))
  assert all((a != b).any() for a, b in zip(old, new, strict=True))


def test_with_skips_what_is_painted_is_added_to_what_is_shown():
  """The face above the reference, as odds; the weights are the same."""
  rng = np.random.default_rng(3)
  net, shapes = _net("generator", 32, 1)
  faces, mel = (jnp.asarray(rng.random(x), jnp.float32) for x in shapes)
  variables = _drawn(_traced("generator", 32, 1)[0], rng)
  last = variables["params"]["output_block"]["1"]
  last["kernel"] *= 0.0
  skipping = jax.jit(net.clone(skips=True).apply)
  given = jnp.concatenate([faces[:, :16, :, :3], faces[:, 16:, :, 3:]], 1)
  given = given.clip(0.02, 0.98)
  last["bias"] = jnp.zeros(3)
  np.testing.assert_allclose(skipping(variables, faces, mel), given, atol=1e-5)
  last["bias"] = jnp.log(jnp.array([3.0, 1.0, 0.5]))
  odds = given / (1 - given) * np.array([3.0, 1.0, 0.5])
  shown = skipping(variables, faces, mel)
  np.testing.assert_allclose(shown, odds / (1 + odds), atol=1e-5)


def test_codes_are_unit_vectors_without_negative_numbers():
  rng = np.random.default_rng(2)
  net, (below, mel) = _net("expert", 32, 1)
  inputs = [jnp.asarray(rng.random(x), jnp.float32) for x in (below, mel)]
  variables = _drawn(_traced("expert", 32, 1)[0], rng)
  for code in jax.jit(net.apply)(variables, *inputs):
    assert float(code.min()) >= 0
    np.testing.assert_allclose((code**2).sum(-1), 1, atol=1e-5)
