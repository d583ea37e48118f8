import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax.models.irfd import IdentityFeatures, drop_maps
from speak_jax.nn.face import mean_face
from tests.models import tiny


def portrait_of(world, frames, landmarks, **changes) -> IdentityFeatures:
  encoders = world.networks.encoders.clone(**changes)
  return encoders.apply(world.encoders, frames, landmarks, method="portrait")


def test_codes_and_maps_have_the_configured_sizes(world):
  identity, pose, maps, landmarks, emotion, dropped = world.portrait
  assert dropped is None
  assert landmarks.shape == (2, 68, 2)
  assert emotion.shape == (2, 5)
  assert identity.shape == (2, 8)
  assert pose.shape == (2, 4)
  # Two stages of 16 and 8 channels, then the picture; 3 for the position.
  assert [m.shape for m in maps] == [
    (2, 4, 4, 19),
    (2, 8, 8, 11),
    (2, 16, 16, 6),
  ]
  assert [c.shape[-1] for c in world.codes] == [4, 5, 3]
  apply = world.networks.encoders.apply
  assert apply(world.encoders, identity[:, :5], method="classify").shape == (
    2,
    8,
  )
  assert apply(world.encoders, pose, method="angles").shape == (2, 3)


def test_identity_and_emotion_are_standardised_the_others_are_not(world):
  for code in (world.portrait.identity, world.codes.emotion):
    np.testing.assert_allclose(code.mean(-1), 0, atol=1e-5)
    np.testing.assert_allclose(code.std(-1), 1, atol=1e-3)
  assert abs(float(world.codes.pose.std()) - 1) > 0.05


def test_pose_sees_where_things_are_and_identity_a_picture(world):
  """A mean does not, and a network's edges hide that it does not."""
  params = world.encoders["params"]
  places = params["pose_squeeze"]["kernel"].shape[-1] * 4 * 4
  looks = tiny.APPEARANCE**2 * 3
  for name, beside in {"pose": places, "identity": looks}.items():
    net = params[f"{name}_net"]
    pooled = net["stage2_block1"]["conv2"]["kernel"].shape[-1]
    assert params[f"{name}_head"]["kernel"].shape[0] == pooled + beside, name


def test_identity_sees_the_picture_without_its_shape(world):
  """The head's last rows read it; all others are held at zero here."""
  params = world.encoders["params"]
  head = params["identity_head"]
  looks = tiny.APPEARANCE**2 * 3
  params = params | {
    "identity_head": head | {"kernel": head["kernel"].at[:-looks].set(0)}
  }

  def identity(frames):
    where = tiny.landmarks(2)
    return world.networks.encoders.apply(
      {"params": params}, frames, where, method="portrait"
    ).identity

  frames = tiny.pair().identity
  red = frames.at[..., 0].add(0.5)
  assert float(jnp.abs(identity(red) - identity(frames)).max()) > 0.05


def test_positions_follow_the_face(world):
  pair = tiny.pair()
  moved = pair.identity_landmarks + jnp.array([2.0, 0.0])
  here = portrait_of(world, pair.identity, pair.identity_landmarks)
  there = portrait_of(world, pair.identity, moved)
  np.testing.assert_allclose(
    there.maps[-1][:, :, 2:, -3:], here.maps[-1][:, :, :-2, -3:], atol=1e-4
  )


def test_wide_maps_are_projected():
  model = tiny.config(maps=(4, 16))
  model.encoder.width = 48  # stages of 48 and 96 channels
  encoders = tiny.build(model).encoders
  shapes = jax.eval_shape(
    lambda: encoders.init_with_output(jax.random.key(0), tiny.pair())
  )
  (portrait, _), variables = shapes
  assert portrait.maps[0].shape[-1] == 64 + 3
  assert "projections_4" in variables["params"]


def test_without_maps_and_mouth_code_nothing_of_them_is_left():
  model = tiny.config(maps=())
  model.codes.mouth = 0
  encoders = tiny.build(model).encoders
  (portrait, codes), variables = jax.eval_shape(
    lambda: encoders.init_with_output(jax.random.key(0), tiny.pair())
  )
  assert portrait.maps == ()
  assert codes.mouth.shape == (2, 0)
  assert not [k for k in variables["params"] if "mouth" in k]


def test_a_map_that_no_stage_has_is_named():
  encoders = tiny.networks(maps=(5,)).encoders
  with pytest.raises(ValueError, match="no identity map of 5"):
    encoders.init(jax.random.key(0), tiny.pair())


def test_dropped_maps_leave_their_codes_alone(world):
  dropped = drop_maps(world.portrait, jnp.array([True, False]))
  for name in ("identity", "pose", "emotion"):
    np.testing.assert_array_equal(
      getattr(dropped, name), getattr(world.portrait, name)
    )
  np.testing.assert_allclose(dropped.landmarks[0], mean_face())
  np.testing.assert_array_equal(
    dropped.landmarks[1], world.portrait.landmarks[1]
  )
  np.testing.assert_array_equal(dropped.dropped, [True, False])
  for entry, before in zip(dropped.maps, world.portrait.maps, strict=True):
    np.testing.assert_array_equal(entry[0, ..., :-1], 0)
    np.testing.assert_array_equal(entry[0, ..., -1], 1)
    np.testing.assert_array_equal(entry[1], before[1])
  bare = drop_maps(
    world.portrait._replace(landmarks=None), jnp.array([True] * 2)
  )
  assert bare.landmarks is None
