import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from speak_jax.models.generator import Generator
from speak_jax.models.geometry import FaceGeometry
from speak_jax.models.irfd import drop_maps
from speak_jax.nn.face import mean_face
from tests import jitted
from tests.models import tiny


def test_frames_have_the_pictures_size_and_are_float32(world):
  frames = world.networks.decoder.apply(
    world.decoder, world.portrait, world.codes
  ).frames
  assert frames.shape == (2, 16, 16, 3)
  assert frames.dtype == jnp.float32
  low = tiny.networks(dtype="bfloat16").decoder
  near = low.apply(world.decoder, world.portrait, world.codes).frames
  assert near.dtype == jnp.float32
  assert float(jnp.abs(near - frames).max()) > 0  # bfloat16 was at work
  np.testing.assert_allclose(near, frames, atol=0.15)


def test_every_code_and_map_and_weight_moves_the_picture(world):
  def loss(params, portrait, codes):
    shown = portrait._replace(dropped=jnp.array([True, False]))
    decoder = world.networks.decoder
    frames = decoder.apply({"params": params}, shown, codes).frames
    return (frames * tiny.normal(7, *frames.shape)).sum()

  slopes = jitted.grad(loss, (0, 1, 2))(
    world.decoder["params"], world.portrait, world.codes
  )
  for path, slope in jax.tree_util.tree_leaves_with_path(slopes):
    assert np.abs(slope).max() > 0, jax.tree_util.keystr(path)


def test_without_flow_the_maps_stay():
  model = Generator(((4, 8), (8, 6)))
  latents, entry = tiny.normal(0, 2, 2, 12), tiny.normal(1, 2, 8, 8, 5)
  variables = model.init(jax.random.key(2), latents, (entry,), None)
  plain = model.apply(variables, latents, (entry,), None)

  def shaped(flow):
    return model.apply(variables, latents, (entry,), FaceGeometry(flow, None))

  still = shaped(jnp.zeros((2, 4, 4, 2)))
  moved = shaped(jnp.ones((2, 4, 4, 2)))
  np.testing.assert_allclose(plain, still, atol=1e-6)
  assert float(jnp.abs(plain - moved).max()) > 1e-2


def test_a_dropped_picture_is_drawn_from_the_identity_code(world):
  """f_I's picture stands in where maps are dropped, and only there."""
  dropped = drop_maps(world.portrait, jnp.array([True, False]))

  def draw(change):
    """Frames, after the picture that f_I stands for was made lighter."""
    params = world.decoder["params"]
    linear = params["appearance"]["linear"]
    linear = linear | {"bias": linear["bias"] + change}
    params = params | {"appearance": {"linear": linear}}
    return world.networks.decoder.apply(
      {"params": params}, dropped, world.codes
    )

  frames, _, look = draw(0.0)
  lighter, _, light = draw(0.5)
  assert look.shape == (2, tiny.APPEARANCE, tiny.APPEARANCE, 3)
  np.testing.assert_allclose(light - look, 0.5, atol=1e-5)
  assert float((lighter - frames)[0].mean()) > 0.3
  np.testing.assert_array_equal(lighter[1], frames[1])
  # The picture is linear in f_I.
  doubled = world.portrait._replace(identity=2 * world.portrait.identity)
  twice = world.networks.decoder.apply(world.decoder, doubled, world.codes)
  np.testing.assert_allclose(twice.appearance, 2 * look, atol=1e-5)


@pytest.mark.parametrize(
  "changes", [dict(landmarks=False), dict(flow=False), dict(maps=(4, 8))]
)
def test_nothing_stands_in_for_what_no_landmarks_move(changes):
  networks = tiny.networks(**changes)
  assert networks.decoder.appearance == networks.encoders.appearance == 0


def test_landmarks_tell_the_blocks_where_to_draw():
  model = Generator(((4, 8), (8, 6)))
  latents, entry = tiny.normal(0, 2, 2, 12), tiny.normal(1, 2, 8, 8, 5)
  still = jnp.zeros((2, 4, 4, 2))
  face = jnp.stack([mean_face()] * 2)
  variables = model.init(
    jax.random.key(2), latents, (entry,), FaceGeometry(still, face)
  )

  def draw(landmarks):
    return model.apply(
      variables, latents, (entry,), FaceGeometry(still, landmarks)
    )

  plain = draw(face)
  brows = draw(face.at[:, 17:27, 1].add(-0.2))
  assert float(jnp.abs(brows - plain).max()) > 1e-3
  # The jaw is not drawn.
  jaw = draw(face.at[:, :17].add(0.2))
  np.testing.assert_allclose(jaw, plain, atol=1e-6)


def test_the_picture_says_nothing_of_an_open_mouth():
  size = 16
  model = Generator(((8, 8), (size, 6)))
  latents = tiny.normal(0, 1, 2, 12)
  face = mean_face()[None]
  face = face.at[:, 61:64, 1].add(-0.2).at[:, 65:68, 1].add(0.2)
  shape = FaceGeometry(jnp.zeros((1, 8, 8, 2)), face)
  picture = jnp.zeros((1, size, size, 6))
  variables = model.init(jax.random.key(2), latents, (picture,), shape)
  slope = jitted.grad(
    lambda entry: model.apply(variables, latents, (entry,), shape).sum()
  )(picture)
  x, y = ((face[0, 60:68].mean(0) + 1) * size / 2).astype(int)
  np.testing.assert_array_equal(slope[0, y, x, :3], 0)
  assert float(jnp.abs(slope[0, 2, 2, :3]).min()) > 0


def test_each_level_has_its_own_latent():
  model = Generator(((4, 8), (8, 6)))
  latents = tiny.normal(0, 1, 2, 12)
  variables = model.init(jax.random.key(2), latents)

  def corner(latents):
    return model.apply(variables, latents)[0, 0, 0, 0]

  slope = jitted.grad(corner)(latents)
  assert (jnp.abs(slope).max((0, 2)) > 0).all()


CHANNELS = ((4, 32), (8, 32), (16, 24))


def start(**given):
  """A generator without maps, and frames and features of random latents."""
  model = Generator(CHANNELS, **given)
  latents = 3 * tiny.normal(0, 4, 3, 12)
  variables = jax.jit(model.init)(jax.random.key(1), latents)
  kept = lambda module, _: module.name in ("conv0", "conv1")  # noqa: E731
  frames, found = jax.jit(
    lambda variables: model.apply(
      variables, latents, capture_intermediates=kept
    )
  )(variables)
  return variables["params"], frames, flatten_dict(found["intermediates"])


@pytest.mark.parametrize("up", ["bilinear", "transposed"])
def test_features_keep_their_size_from_block_to_block(up):
  _, frames, found = start(up=up)
  assert frames.shape == (4, 16, 16, 3)
  assert len(found) == 5
  for path, (features,) in found.items():
    size = jnp.sqrt((features**2).mean())  # 1, less what doubling smooths
    assert 0.5 < size < 1.2, (path, size)


def test_ways_up_share_parameters_and_differ():
  params, frames, _ = start()
  again, other, _ = start(up="transposed")
  jax.tree.map(np.testing.assert_array_equal, params, again)
  assert float(jnp.abs(frames - other).max()) > 1e-2


def test_wrong_levels_and_maps_are_named():
  model = Generator(((4, 8), (8, 6)))
  with pytest.raises(ValueError, match="'up' is not one of bilinear, transp"):
    model.clone(up="up").init(jax.random.key(0), jnp.zeros((1, 2, 12)))
  with pytest.raises(ValueError, match="3 latents for 2 resolutions"):
    model.init(jax.random.key(0), jnp.zeros((1, 3, 12)))
  with pytest.raises(ValueError, match=r"size \[16\] fit no block"):
    maps = (jnp.zeros((1, 16, 16, 3)),)
    model.init(jax.random.key(0), jnp.zeros((1, 2, 12)), maps)


def test_remat_keeps_parameters_and_pictures(world):
  again = tiny.build(tiny.config(), remat=True)
  shapes = jax.eval_shape(
    lambda: again.decoder.init(jax.random.key(0), world.portrait, world.codes)
  )
  names = set(flatten_dict(shapes))
  assert names == set(flatten_dict(world.decoder))
  np.testing.assert_allclose(
    again.decoder.apply(world.decoder, world.portrait, world.codes).frames,
    world.networks.decoder.apply(
      world.decoder, world.portrait, world.codes
    ).frames,
    atol=1e-5,
  )
