import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from jax import export

from speak_jax.models.irfd import IdentityFeatures
from speak_jax.models.speak import warm_start
from tests import jitted
from tests.models import tiny


def pose():
  return tiny.normal(1, 2, tiny.FRAMES, 4)


def test_a_window_gives_its_frames(world):
  out = world.networks.speak.apply(
    world.speak, world.portrait, pose(), world.codes.emotion, tiny.audio(2)
  )
  assert out.frames.shape == (2, tiny.FRAMES, 16, 16, 3)
  assert out.opening.shape == (2, tiny.FRAMES)
  assert out.speech.shape == (2, tiny.FRAMES, 8)


def test_every_input_and_weight_moves_the_frames(world):
  def loss(params, portrait, pose, emotion, audio):
    out = world.networks.speak.apply(
      {"params": params}, portrait, pose, emotion, audio
    )
    weight = tiny.normal(7, *out.frames.shape)
    return (out.frames * weight).sum() + out.opening.sum()

  slopes = jitted.grad(loss, (0, 1, 2, 3, 4))(
    world.speak["params"],
    world.portrait,
    pose(),
    world.codes.emotion,
    tiny.audio(2),
  )
  silent = {"['editing']['noise']"}  # not drawn outside training
  # Softmax does not see a shift of all keys.
  for path, slope in jax.tree_util.tree_leaves_with_path(slopes):
    name = jax.tree_util.keystr(path)
    if "k_proj']['bias" in name or any(s in name for s in silent):
      continue
    assert np.abs(slope).max() > 0, name


def test_the_middle_of_the_sound_is_the_windows(world):
  """A frame hears its own 40 ms more than any other's."""

  def opening(audio):
    out = world.networks.speak.apply(
      world.speak, world.portrait, pose(), world.codes.emotion, audio
    )
    return out.speech[0, 1, 0]

  slope = jitted.grad(opening)(tiny.audio(2))[0]
  power = (slope.reshape(-1, 640) ** 2).sum(-1)
  assert int(power.argmax()) == tiny.CONTEXT + 1


def test_sound_must_surround_the_frames(world):
  for extra in (-1, 1):
    samples = (tiny.FRAMES + extra) * 640
    with pytest.raises(ValueError, match="does not surround 3"):
      world.networks.speak.apply(
        world.speak,
        world.portrait,
        pose(),
        world.codes.emotion,
        jnp.zeros((2, samples)),
      )


def test_warm_start_takes_the_whole_generator(world):
  start = warm_start(world.decoder["params"], world.speak["params"])
  old = flatten_dict(world.speak["params"], sep="/")
  new = flatten_dict(start.params, sep="/")
  source = flatten_dict(world.decoder["params"], sep="/")
  assert set(new) == set(old)
  assert set(start.kept) == {
    "generator/base",
    "generator/gain",
    "generator/geometry/Expression_0/drive/kernel",  # of speech, not a mouth
  }
  for path in start.copied:
    if path == "facial/mlp/dense0/kernel":
      # Rows of identity (8) and pose (4).
      np.testing.assert_array_equal(new[path], source["mlp/dense0/kernel"][:12])
    elif path.startswith("facial/"):
      theirs = path.removeprefix("facial/")
      np.testing.assert_array_equal(new[path], source[theirs])
    else:
      theirs = path.removeprefix("generator/")
      np.testing.assert_array_equal(new[path], source[theirs])
  for path in set(new) - set(start.copied):
    np.testing.assert_array_equal(new[path], old[path])


def test_warm_start_draws_what_the_decoder_draws(world):
  """With nothing to edit, G_g is G_d at an emotion and mouth of zero."""
  params = warm_start(world.decoder["params"], world.speak["params"]).params
  params["generator"]["gain"] = jnp.zeros_like(params["generator"]["gain"])
  drive = params["generator"]["geometry"]["Expression_0"]["drive"]
  drive["kernel"] = jnp.zeros_like(drive["kernel"])
  out = world.networks.speak.apply(
    {"params": params},
    world.portrait,
    pose(),
    jnp.zeros_like(world.codes.emotion),
    tiny.audio(2),
  )
  codes = world.codes._replace(
    pose=pose()[:, 0],
    emotion=jnp.zeros_like(world.codes.emotion),
    mouth=jnp.zeros_like(world.codes.mouth),
  )
  want = world.networks.decoder.apply(world.decoder, world.portrait, codes)
  np.testing.assert_allclose(out.frames[:, 0], want.frames, atol=1e-4)


def test_export_serves_any_batch_on_any_platform(world):
  (b,) = export.symbolic_shape("b")

  def spec(array):
    return jax.ShapeDtypeStruct((b, *array.shape[1:]), array.dtype)

  def frames(variables, portrait, pose, emotion, audio):
    out = world.networks.speak.apply(
      variables, IdentityFeatures(*portrait), pose, emotion, audio
    )
    return out.frames

  inputs = (
    tuple(world.portrait),
    pose(),
    world.codes.emotion,
    tiny.audio(2),
  )
  blob = export.export(jax.jit(frames), platforms=("cpu", "cuda", "tpu"))(
    world.speak, *jax.tree.map(spec, inputs)
  ).serialize()
  call = export.deserialize(bytearray(blob)).call
  for batch in (1, 2):
    some = jax.tree.map(lambda x, n=batch: x[:n], inputs)
    np.testing.assert_allclose(
      call(world.speak, *some), frames(world.speak, *some), atol=1e-4
    )
