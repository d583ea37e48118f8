"""EAMM's stages after `fomm`: who learns from what."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import eamm as presets
from speak_jax import spec
from speak_jax.models import head_pose
from speak_jax.stages import eamm, eamm_emotion, eamm_motion
from speak_jax.stages.eamm_emotion import EMOTION, FEELING
from speak_jax.stages.eamm_motion import FINETUNE, HEARING, MOTION, SCALE
from speak_jax.stages.fomm import GENERATOR, KEYPOINTS
from tests.plain_face import plain_face
from tests.stages import small

LOSSES = {
  MOTION: eamm_motion.MotionLosses,
  FINETUNE: eamm_motion.FinetuneLosses,
  EMOTION: eamm_emotion.EmotionLosses,
}


def _config(**changes):
  sizes = {
    "model.frames": 3,
    "model.anchored": False,
    "model.ears": 2,
    **{f"{s}.{k}": 2 for s in LOSSES for k in ("batch", "microbatch")},
    **changes,
  }
  pairs = [f"{k}={v}" for k, v in sizes.items()]
  return presets.get_config(",".join(["demo", *pairs]))


def _clips():
  rng = np.random.default_rng(0)
  face = np.repeat(plain_face()[None], 9, 0) - 0.5
  face[:, 30] += 0.03  # a nose
  return [face + 0.01 * rng.normal(size=face.shape) for _ in range(4)]


@pytest.fixture(scope="module", params=LOSSES)
def started(request):
  """(name, losses, stage, parameters, collections, batch)."""
  name = request.param
  losses = LOSSES[name].of(_config())
  stage = eamm.TRAINING.stages[name].make(losses.config)
  scale = eamm_motion.MotionLosses.of(losses.config).scale(_clips())
  params, collections = small.parameters(stage, given={SCALE: scale})
  batch = small.batch(stage)
  points = (np.stack(_clips()[:2])[:, :3] + 0.5) * losses.config.model.image
  batch = batch._replace(
    landmarks=points.astype(np.float32),
    emotion_label=np.array([2, spec.UNKNOWN], np.int32),
  )
  arrays = jax.tree.map(jnp.asarray, (params, collections, batch))
  return name, losses, stage, *arrays


TRAINS = {
  MOTION: {HEARING},
  FINETUNE: {HEARING, GENERATOR},
  EMOTION: {FEELING},
}


def test_a_step_moves_the_right_groups_and_no_other(started):
  name, losses, stage, params, collections, batch = started
  trained = {g for optim in stage.optims.values() for g in optim.trains}
  assert trained == TRAINS[name] == set(stage.ema_groups)

  def total(params):
    out = losses.fit(
      params, collections, batch, jnp.int32(0), jax.random.key(0)
    )
    return out.loss, out

  slopes, out = jax.jit(jax.grad(total, has_aux=True))(params)
  moved = {
    group
    for group, tree in slopes.items()
    if any(np.asarray(x).any() for x in jax.tree.leaves(tree))
  }
  # Those that are frozen: the detector, and before emotion all but its own.
  assert moved - {KEYPOINTS, SCALE} == trained
  assert moved <= trained | ({SCALE, KEYPOINTS} if name != EMOTION else set())
  assert set(out.collections) == trained
  for group, changed in out.collections.items():
    for old, new in zip(
      jax.tree.leaves(collections[group]), jax.tree.leaves(changed), strict=True
    ):
      assert (np.asarray(old) != np.asarray(new)).any()
  means = {k: float(v) for k, v in out.metrics.items()}
  asked = losses.config[name].weights.to_dict()
  assert set(asked) <= set(means)
  assert float(out.loss) == pytest.approx(
    sum(w * means[k] for k, w in asked.items()), rel=1e-4
  )
  if name == FINETUNE:
    looks = losses.config.fomm.weights.to_dict()
    assert means["pictures"] == pytest.approx(
      sum(looks[k] * means[k] for k in ("pixel", "gradient", "structure")),
      rel=1e-4,
    )


def test_sheets_show_what_is_made(started):
  name, losses, _, *rest = started
  [(_, sheet)] = jax.jit(losses.sample_grids)(*rest).items()
  rows = {MOTION: 2, FINETUNE: 3, EMOTION: 4}[name]
  assert sheet.shape == (2 * rows, 3, 32, 32, 3)
  true = np.asarray(rest[-1].frames)
  if name != MOTION:
    np.testing.assert_array_equal(sheet[::rows], true)


def test_anchored_who_has_just_begun_to_hear_does_not_move():
  """And heat, which says where points lie, is not asked for."""
  config = _config(**{"model.anchored": True})
  stage = eamm_motion.make_motion(config)
  losses = eamm_motion.MotionLosses.of(config)
  assert "heat" in str(losses.notes) and not losses.weights["heat"]
  params, collections = small.parameters(stage)
  rng = np.random.default_rng(1)
  picture = jnp.asarray(rng.random((2, 32, 32, 3)), jnp.float32)
  shown = eamm_motion.Shown(
    picture, picture, jnp.zeros((2, 3, 28, 12)), jnp.zeros((2, 3, 6))
  )
  plain = eamm_motion.MotionLosses.of(_config())
  see, hear, alone = (
    jax.jit(f)
    for f in (
      lambda *x: losses.see(*x, picture).keypoints,
      lambda *x: losses.hear(*x, shown)[0].keypoints,
      lambda *x: plain.hear(*x, shown)[0].keypoints,
    )
  )
  still, heard, moved = (f(params, collections) for f in (see, hear, alone))
  still = [np.repeat(np.asarray(x), 3, 0) for x in still]
  np.testing.assert_allclose(heard.points, still[0] + moved.points, atol=1e-5)
  np.testing.assert_allclose(
    heard.jacobians, still[1] + moved.jacobians - np.eye(2), atol=1e-5
  )
  assert np.abs(moved.points).max() < 0.1
  np.testing.assert_allclose(heard.jacobians, still[1], atol=0.1)


def test_anchored_heads_are_held_against_the_picture_s():
  """Who holds the head as in the picture has numbers of 0."""
  scale = head_pose.fit(_clips())
  frames = (np.stack(_clips())[:, :3] + 0.5) * 32
  alone, against = (
    eamm_motion.held(
      _config(**{"model.anchored": x}), scale, frames, frames[:, 1], 32
    )
    for x in (False, True)
  )
  assert alone.shape == against.shape == (4, 3, 6)
  np.testing.assert_allclose(against[:, 1], 0, atol=1e-9)
  np.testing.assert_allclose(against, alone - alone[:, 1:2], atol=1e-9)
  assert np.abs(against[:, 0]).max() > 0.1


@pytest.mark.parametrize("started", [EMOTION], indirect=True)
def test_an_unknown_emotion_is_no_class(started):
  _, losses, _, params, collections, batch = started
  run = jax.jit(
    lambda batch: (
      losses.fit(
        params, collections, batch, jnp.int32(0), jax.random.key(0)
      ).metrics
    )
  )
  nobody = jnp.full(2, spec.UNKNOWN)
  means = run(batch._replace(emotion_label=nobody))
  assert float(means["classes"]) == 0 == float(means["accuracy"])
  assert float(run(batch)["classes"]) > 0


def test_a_batch_is_what_the_networks_take(started):
  _, losses, _, params, _, batch = started
  config = losses.config
  shown = jax.jit(lambda p, b: eamm_motion.taken(config, p, b))(params, batch)
  assert shown.frames.shape == (6, 32, 32, 3)
  np.testing.assert_allclose(
    shown.frames[4], np.asarray(batch.frames[1, 1]) / 255, atol=1e-6
  )
  numbers = head_pose.head_pose(np.asarray(batch.landmarks, float), 32)
  scale = head_pose.fit(_clips())
  np.testing.assert_allclose(
    shown.pose, head_pose.standardised(numbers, scale), atol=2e-2
  )
  assert shown.sound.shape == (2, 3, 28, 12)


def test_emotions_move_all_keypoints_or_those_that_are_named():
  assert eamm_emotion.moved_by(_config()) == (0, 1, 2)
  assert eamm_emotion.feeling_net(_config()).moved == 3
  released = presets.get_config("released")
  assert eamm_emotion.moved_by(released) == (1, 4, 6, 8)
  assert eamm_emotion.feeling_net(released).moved == 4
  for wrong in ((3,), (1, 1)):
    with pytest.raises(ValueError, match="not among 3 keypoints"):
      eamm_emotion.moved_by(_config(**{"model.moved": wrong}))
