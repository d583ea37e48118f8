"""What is float32 and exact, whatever the rest of a network computes in."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict

from speak_jax import bundle, spec
from speak_jax.inference.functions import Functions, deserialize
from speak_jax.inference.lowering import functions_of
from speak_jax.inference.settings import settings_from_json
from speak_jax.models.generator import Generator
from speak_jax.models.geometry import FaceGeometry, Geometry
from speak_jax.models.irfd import IdentityFeatures
from speak_jax.nn.face import mean_face
from speak_jax.nn.warp import flow_from_landmarks, resize_flow, warp
from tests import rounding
from tests.models import tiny

HALF = (jnp.bfloat16, jnp.float16)
PIXEL = 2 / 256  # of a picture of 256, which is 2 wide


@pytest.fixture(scope="module")
def reference() -> bundle.Bundle:
  return bundle.read(bundle.REFERENCE)


def shapes_of(reference):
  """The reference model's geometry, and codes and faces for it."""
  weights = unflatten_dict(reference.weights, sep="/")
  params = weights["speak"]["params"]["generator"]["geometry"]
  params = jax.tree.map(jnp.asarray, params)
  n = 16
  pose, other = (0.3 * tiny.normal(i, n, 6) for i in (0, 1))
  wobble = 0.02 * tiny.normal(2, n, 68, 2) + 0.05 * tiny.normal(3, n, 1, 2)
  portrait = IdentityFeatures(
    tiny.normal(4, n, 128),
    pose,
    (),
    mean_face() + wobble,
    tiny.normal(5, n, 16),
  )
  given = portrait, other, tiny.normal(6, n, 16), tiny.normal(7, n, 128)

  def shape(portrait, pose, emotion, speech):
    model = Geometry(image=64, width=128)
    return model.apply({"params": params}, portrait, pose, emotion, speech)

  return shape, given


# Compiled as one, XLA might leave the roundings out.
@pytest.mark.compiles(200)
def test_flows_of_an_accelerator_are_those_of_float32(reference):
  shape, given = shapes_of(reference)
  exact, near = shape(*given), rounding.rounded(shape)(*given)
  assert float(jnp.abs(exact.flow).max()) > 10 * PIXEL  # there is motion
  away = max(
    float(jnp.abs(a - b).max()) for a, b in zip(exact, near, strict=True)
  )
  assert away < 0.1 * PIXEL


def test_distances_multiplied_out_would_be_off_by_pixels():
  """The rounding that the test above does is what accelerators do."""
  source = mean_face()[None]
  moved = source + 0.05 * tiny.normal(0, 1, 68, 2)

  def multiplied(landmarks, source):
    side = (jnp.arange(32) + 0.5) / 16 - 1
    grid = jnp.stack(jnp.meshgrid(side, side), -1).reshape(-1, 2)
    away = (grid**2).sum(-1)[:, None] + (landmarks**2).sum(-1)[:, None]
    away -= 2 * jnp.einsum("gd,bkd->bgk", grid, landmarks)
    weight = 1 / (away.clip(0) + 9e-4) ** 2
    flow = jnp.einsum("bgk,bkd->bgd", weight, source - landmarks)
    return flow / weight.sum(-1, keepdims=True)

  def off(function):
    exact = function(moved, source)
    near = rounding.rounded(function)(moved, source)
    return float(jnp.abs(exact - near).max() / PIXEL)

  assert off(multiplied) > 0.5
  assert off(lambda a, b: flow_from_landmarks(a, b, 32)) < 0.01


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_nothing_of_the_geometry_is_half(dtype):
  networks = tiny.networks(dtype=dtype)
  pair = tiny.pair()
  portrait, codes = jax.eval_shape(
    lambda: networks.encoders.init_with_output(jax.random.key(0), pair)[0]
  )
  variables = jax.eval_shape(
    lambda *given: networks.decoder.init(jax.random.key(0), *given),
    portrait,
    codes,
  )

  def shape(variables, portrait, codes):
    return networks.decoder.apply(variables, portrait, codes).geometry

  found = list(rounding.steps(shape, variables, portrait, codes))
  products = [x for x in found if x.primitive.name in rounding.PRODUCTS]
  assert len(products) > 8
  assert all(map(rounding.is_exact, products))
  kinds = {v.aval.dtype for step in found for v in step.outvars}
  assert not kinds & set(map(jnp.dtype, HALF))
  # Codes that go in are float32 too, and the picture's map is the picture.
  assert {x.dtype for x in codes} == {jnp.dtype(jnp.float32)}
  assert portrait.landmarks.dtype == jnp.float32
  assert [x.dtype for x in portrait.maps] == [dtype, dtype, jnp.float32]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_picture_goes_through_in_float32(dtype):
  """Blocks that draw nothing leave the moved picture, to the bit."""
  model = Generator(((8, 8), (16, 6)), dtype=jnp.dtype(dtype))
  latents = tiny.normal(0, 2, 2, 12)
  entry = tiny.normal(1, 2, 16, 16, 6)
  shape = FaceGeometry(0.1 * tiny.normal(2, 2, 8, 8, 2), None)
  variables = jax.eval_shape(
    lambda: model.init(jax.random.key(3), latents, (entry,), shape)
  )
  variables = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), variables)
  frames = model.apply(variables, latents, (entry,), shape)
  moved = warp(entry, resize_flow(shape.flow, 16))[..., :3]
  np.testing.assert_array_equal(frames, moved)


def test_nothing_loops_on_the_device(world):
  speak = world.networks.speak

  def frames(variables, portrait, pose, emotion, audio):
    return speak.apply(variables, portrait, pose, emotion, audio).frames

  lowered = jax.jit(frames).lower(
    world.speak,
    world.portrait,
    tiny.normal(1, 2, tiny.FRAMES, 4),
    world.codes.emotion,
    tiny.audio(2),
  )
  assert "stablehlo.while" not in lowered.as_text()

  encode = jax.jit(world.networks.encoders.apply)
  text = encode.lower(world.encoders, tiny.pair()).as_text()
  assert "stablehlo.while" not in text and "complex" not in text


@pytest.mark.parametrize(
  ("dtype", "most", "mean"), [("float32", 1, 0.01), ("bfloat16", 24, 1.0)]
)
def test_reference_frames_by_the_code_of_today(reference, dtype, most, mean):
  """As by the bundle's stored functions, to a level; half precision is near."""
  from speak_jax.stages.init import networks
  from speak_jax.training.run_config import from_json

  config = from_json(reference.config["config"]).copy_and_resolve_references()
  with config.unlocked():
    config.model.dtype = dtype
  settings = settings_from_json(reference.config["settings"])
  now = functions_of(networks(config), settings)
  stored = deserialize(reference.artifacts)
  variables = unflatten_dict(reference.weights, sep="/")
  rng = np.random.default_rng(0)
  coarse = rng.uniform(0, 255, (1, 8, 8, 3))
  picture = np.kron(coarse, np.ones((1, 8, 8, 1))).astype(np.uint8)
  points = np.asarray((mean_face()[None] + 1) * 32 - 0.5, np.float32)
  audio = rng.normal(0, 3000, (1, 15 * 640)).astype(np.int16)
  level = spec.sound_level(audio[0])[None]

  def made(functions):
    functions = Functions(*map(jax.jit, functions))
    portrait = functions.portrait(variables, picture, points)
    pose = functions.pose(variables, np.concatenate([picture] * 5))
    pose = pose[None] + 0.2 * tiny.normal(1, 1, 5, 6)
    face = np.full((1, 48, 48, 3), 100, np.uint8)
    emotion = functions.emotion(variables, face)
    speech = functions.speech(variables, audio, level)
    frames = functions.frames(variables, portrait, pose, emotion, speech)
    return np.asarray(frames).astype(int)

  away = np.abs(made(now) - made(stored))
  assert away.max() <= most and away.mean() < mean
