"""ATVG's stages: who learns from what, and in which crop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import atvg as presets
from speak_jax.models import landmark_basis
from speak_jax.nn import mfcc
from speak_jax.pretrained import goldens, layouts
from speak_jax.pretrained.tensors import WeightsError
from speak_jax.stages import atvg
from speak_jax.stages.atvg import AT, BASIS, CRITIC, VG
from speak_jax.training.initial_weights import public_weights
from tests.plain_face import plain_face
from tests.pretrained import reference_atvg
from tests.pretrained.torch_files import legacy_bytes, state
from tests.stages import small


def _config(**changes):
  words = {
    "model.width": 2,
    "model.frames": 3,
    "atvg_landmarks.batch": 2,
    "atvg_landmarks.microbatch": 2,
    **changes,
  }
  return presets.get_config(
    ",".join(["demo", *(f"{k}={v}" for k, v in words.items())])
  )


def _clips(count=4):
  """Faces that open their mouths, in units of their crops."""
  rng = np.random.default_rng(0)
  clips = []
  for _ in range(count):
    clip = np.repeat(plain_face()[None], 9, 0)
    clip += 0.01 * rng.normal(size=clip.shape)
    clip[:, 57:60, 1] += 0.1 * rng.uniform(size=(9, 1))
    clips.append(clip)
  return clips


def _started(losses, make, config):
  """(parameters, collections, batch) of a stage whose basis has come."""
  stage = make(config)
  basis = atvg.LandmarkLosses.of(config).basis(_clips())
  params, collections = small.parameters(stage, given={BASIS: basis})
  batch = small.batch(stage)
  size = config.model.image
  rng = np.random.default_rng(1)
  shape = batch.landmarks.shape
  points = np.broadcast_to(plain_face() * size, shape).copy()
  points[..., 57:60, 1] += 3 * rng.uniform(size=(*shape[:2], 1))
  batch = batch._replace(
    landmarks=points.astype(np.float32),
    other_landmarks=points[:, :1].astype(np.float32),
  )
  return jax.tree.map(jnp.asarray, (params, collections, batch))


def _slopes(loss, groups, params, collections, batch):
  """How much each group's gradient is, and what the loss returns."""

  def total(chosen):
    out = loss(
      {**params, **chosen}, collections, batch, jnp.int32(0), jax.random.key(0)
    )
    return out.loss, out

  chosen = {name: params[name] for name in groups}
  slopes, out = jax.jit(jax.grad(total, has_aux=True))(chosen)
  return {
    name: sum(float(np.abs(x).sum()) for x in jax.tree.leaves(tree))
    for name, tree in slopes.items()
  }, out


@pytest.fixture(scope="module")
def heard():
  config = _config()
  losses = atvg.LandmarkLosses.of(config)
  return losses, *_started(losses, atvg.make_landmarks, config)


def test_the_first_stage_learns_coefficients(heard):
  losses, *rest = heard
  moved, out = _slopes(losses.fit, [AT], *rest)
  assert moved[AT] > 0
  assert set(out.metrics) == {"coefficients", "coefficients_of_mean"}
  assert float(out.loss) == pytest.approx(float(out.metrics["coefficients"]))
  old = rest[1][AT]["batch_stats"]
  new = out.collections[AT]["batch_stats"]
  assert all(
    (np.asarray(a) != np.asarray(b)).any()
    for a, b in zip(jax.tree.leaves(old), jax.tree.leaves(new), strict=True)
  )


def test_a_batch_is_what_the_networks_take(heard):
  """Windows are those of the clip; the example is the mean shape at rest."""
  losses, params, _, batch = heard
  model, shape = losses.config.model, params[BASIS]["shape"]
  normal = jax.jit(lambda b: atvg.normalised(losses.config, shape, b))(batch)
  np.testing.assert_allclose(
    normal.example,
    np.broadcast_to(landmark_basis.SCALE * np.asarray(shape), (2, 68, 2)),
    atol=1e-5,
  )
  wanted = landmark_basis.normalise(
    np.asarray(batch.landmarks),
    np.asarray(batch.other_landmarks[:, 0]),
    np.asarray(shape),
  )
  np.testing.assert_allclose(normal.frames, wanted, atol=1e-5)
  audio = np.asarray(batch.audio)
  windows = mfcc.windows(audio, model.frames, model.context)
  assert windows.shape == (2, model.frames, 28, 12)
  own = audio[0, 640 * (model.context + 1) :]
  np.testing.assert_allclose(windows[0, 1, 13:], mfcc.mfcc(own)[1:16, 1:])


def test_the_sheet_shows_landmarks_true_above_heard(heard):
  losses, *rest = heard
  sheet = jax.jit(losses.sample_grids)(*rest)["landmarks"]
  assert sheet.shape == (4, 3, 64, 64, 3)
  lit = np.asarray(sheet[0, 0, ..., 0]) > 99
  assert 50 < lit.sum() < 800
  rows, columns = np.nonzero(lit)
  assert rows.min() > 4 and rows.max() < 60
  assert columns.min() > 4 and columns.max() < 60


@pytest.fixture(scope="module")
def seen():
  config = _config()
  losses = atvg.VideoLosses.of(config)
  return losses, *_started(losses, atvg.make_video, config)


def test_the_critic_learns_alone(seen):
  losses, *rest = seen
  moved, out = _slopes(losses.disc, [CRITIC, VG], *rest)
  assert moved[CRITIC] > 0
  assert moved[VG] == 0
  assert set(out.collections) == {CRITIC}
  assert set(out.metrics) == {"gan", "landmarks"}


def test_the_painter_hears_pixels_and_the_critic(seen):
  losses, *rest = seen
  moved, out = _slopes(losses.gen, [VG], *rest)
  assert moved[VG] > 0
  assert set(out.collections) == {VG}
  means = {k: float(v) for k, v in out.metrics.items()}
  assert float(out.loss) == pytest.approx(
    10 * means["pixel"] + 0.1 * means["gan"] + 0.01 * means["landmarks"],
    rel=1e-4,
  )
  assert 0 < means["attention"] < 1
  sheet = jax.jit(losses.sample_grids)(*rest)["frames"]
  assert sheet.shape == (6, 3, 32, 32, 3)


def test_released_asks_the_critic_nothing():
  config = presets.get_config("released")
  assert config.atvg_video.weights.to_dict() == {
    "pixel": 10.0, "gan": 0.0, "landmarks": 0.0
  }  # fmt: skip
  assert not atvg.vg_net(config).recurrent
  assert atvg.vg_net(presets.get_config()).recurrent


def test_public_weights_start_the_networks(tmp_path):
  shapes = {
    AT: reference_atvg.at_shapes(2, 1),
    VG: reference_atvg.vg_shapes(2, 2, 1),
    CRITIC: reference_atvg.critic_shapes(2, 2, 1),
  }
  paths = {}
  for name, own in shapes.items():
    tensors = {f"module.{k}": v for k, v in goldens.fill(own, 3).items()}
    paths[name] = tmp_path / f"{name}.pth"
    paths[name].write_bytes(legacy_bytes(state(**tensors)))
  words = {f"pretrained.{k}": v for k, v in paths.items()}
  found = {}
  for make in (atvg.make_landmarks, atvg.make_video):
    config = _config(**words)
    found |= public_weights(config, make(config))
  assert set(found) == {AT, VG, CRITIC}
  for name, (params, collections) in found.items():
    wanted = layouts.load(str(paths[name]), name).converted.variables
    jax.tree.map(
      np.testing.assert_array_equal, {"params": params, **collections}, wanted
    )
  config = _config(**words | {"model.width": 4})
  with pytest.raises(WeightsError, match=r"atvg_vg\.pth: .* this config's is"):
    public_weights(config, atvg.make_video(config))


def test_aligned_faces_lie_in_one_place():
  """Nose and eyes of a turned face come to where those of the shape are."""
  shape = landmark_basis.mean_shape(_clips())
  size, angle = 64, 0.3
  turn = np.array(
    [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
  )
  points = (plain_face() - 0.5) @ turn * 30 + 34
  grid = np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1)
  tip, eye = points[30], points[36:42].mean(0)
  spots = [
    np.exp(-((grid - p) ** 2).sum(-1) / 8) for p in (tip, eye, points[8])
  ]
  cut = jax.jit(atvg.aligned)(
    *(
      jnp.asarray(x, jnp.float32)
      for x in (np.stack(spots, -1)[None], points[None], shape)
    )
  )[0]
  wanted = landmark_basis.crop(shape, size)
  places = [
    np.array(np.unravel_index(np.asarray(cut[..., i]).argmax(), (size, size)))
    for i in range(3)
  ]
  for place, goal in zip(
    places, (wanted[30 - 27], wanted[9:15].mean(0)), strict=False
  ):
    assert np.abs(place[::-1] - goal).max() < 2.5
  # The whole face is in the picture.
  assert np.asarray(cut[..., 2]).max() > 0.5
  assert wanted.min() > 0 and wanted.max() < size - 1
