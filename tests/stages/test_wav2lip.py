"""Wav2Lip's stages: who learns from what, in which crop, and of which sound."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import wav2lip as presets
from speak_jax import spec
from speak_jax.losses import sync
from speak_jax.nn import lip_mel
from speak_jax.stages import wav2lip_input, wav2lip_paint, wav2lip_sync
from speak_jax.stages.wav2lip_paint import CRITIC, GATE, GENERATOR
from speak_jax.stages.wav2lip_sync import EXPERT
from tests.plain_face import plain_face
from tests.stages import small
from tests.stages.traces import trace


def _config(**changes):
  words = {"model.width": 1, **changes}
  return presets.get_config(
    ",".join(["demo", *(f"{k}={v}" for k, v in words.items())])
  )


def _clip(stage, seed=0):
  """A batch whose faces are where landmarks say."""
  batch = small.batch(stage, seed)
  points = plain_face() * batch.frames.shape[2]
  same = lambda like: np.broadcast_to(points, like.shape).astype(np.float32)  # noqa: E731
  return jax.tree.map(
    jnp.asarray,
    batch._replace(
      landmarks=same(batch.landmarks),
      other_landmarks=same(batch.other_landmarks),
    ),
  )


@pytest.fixture(scope="module")
def painter():
  """The second stage's losses, parameters and a batch."""
  config = _config()
  stage = wav2lip_paint.make(config)
  params, collections = small.parameters(stage)
  losses = wav2lip_paint.PaintLosses.of(config)
  return losses, params, collections, _clip(stage)


@pytest.fixture(scope="module")
def step(painter):
  """The generator's phase: (collections) -> (its slopes, what comes out)."""
  losses, params, _, batch = painter

  @jax.jit
  def run(collections):
    def total(own):
      groups = {**params, GENERATOR: own}
      out = losses.gen(
        groups, collections, batch, jnp.int32(0), jax.random.key(0)
      )
      return out.loss, out

    return jax.grad(total, has_aux=True)(params[GENERATOR])

  return run


def test_the_expert_learns_what_goes_together():
  config = _config()
  stage = wav2lip_sync.make(config)
  found = trace(stage, 0)
  assert found.logged == {
    "loss",
    "cosine",
    "right",
    "two_way",
    "sync_of_real",
  }
  assert found.moved(EXPERT) == {"face_encoder", "audio_encoder"}
  assert set(stage.optims["fit"].trains) == {EXPERT}
  assert any(x.startswith(f"collections/{EXPERT}") for x in found.outputs)


def test_cosines_as_probabilities():
  near = jnp.array([[0.9, 0.2], [0.0, 1.0]])
  loss = sync.cosine_cross_entropy(near, jnp.array([True, False]))
  wanted = [[-np.log(0.9), -np.log(0.8)], [-np.log(1e-6)] * 2]
  np.testing.assert_allclose(loss, wanted, rtol=1e-4)


def test_moments_of_a_stretch_are_told_apart():
  config = _config(
    **{"wav2lip_sync.weights.contrast": 1.0, "wav2lip_sync.moments": 3}
  )
  stage = wav2lip_sync.make(config)
  # Three moments of five frames, three apart.
  assert stage.batch.frames.shape[1] == 5 + 2 * 3
  assert stage.batch.others.shape[1] == 5
  sampler = wav2lip_sync.sampler(config)
  assert sampler.options["frames"] == 11
  assert "contrast" in trace(stage, 0).logged
  losses = wav2lip_sync.SyncLosses.of(config)
  params, collections = small.parameters(stage)
  batch = _clip(stage)
  codes = jax.jit(lambda batch: losses.codes(params, collections, batch)[:3])
  faces, seen, heard = codes(batch)
  assert seen.shape[:2] == (len(batch.frames), 4)
  assert heard.shape[:2] == (len(batch.frames), 3)
  # The second moment of a stretch is the first of one that is three later.
  later, _, late = codes(
    batch._replace(
      frames=jnp.roll(batch.frames, -3, 1),
      audio=jnp.roll(batch.audio, -3 * wav2lip_input.FRAME, 1),
    )
  )
  np.testing.assert_array_equal(later[:, 0], faces[:, 1])
  np.testing.assert_array_equal(later[:, -1], faces[:, -1])
  np.testing.assert_allclose(late[:, 0], heard[:, 1], atol=1e-6)
  assert (faces[:, 0] != faces[:, 1]).any()


def test_the_expert_is_heard_once_the_gate_is_open(painter, step):
  _, _, collections, _ = painter
  closed, out = step(collections)
  assert set(out.collections) == {GENERATOR, GATE}
  means = {k: float(v) for k, v in out.metrics.items()}
  assert means["gate/open"] == 0
  # Until the gate opens the expert is asked, and not heard.
  assert means["sync"] > 0
  assert float(out.loss) == pytest.approx(
    0.9 * means["l1"] + 0.07 * means["gan"], rel=1e-4
  )
  old = collections[GENERATOR]["batch_stats"]
  new = out.collections[GENERATOR]["batch_stats"]
  assert all(
    (np.asarray(a) != np.asarray(b)).any()
    for a, b in zip(jax.tree.leaves(old), jax.tree.leaves(new), strict=True)
  )
  opened = jax.tree.map(jnp.ones_like, collections[GATE])
  heard, after = step({**collections, GATE: opened})
  assert float(after.loss - out.loss) == pytest.approx(
    0.03 * means["sync"], rel=1e-3
  )
  apart = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), closed, heard)
  assert max(jax.tree.leaves(apart)) > 0


def test_what_each_phase_moves_and_logs():
  stage = wav2lip_paint.make(_config())
  disc, gen = (trace(stage, i) for i in range(2))
  assert stage.optims["gen"].trains == (GENERATOR,)
  assert stage.optims["disc"].trains == (CRITIC,)
  assert [x.name for x in stage.phases] == ["disc", "gen"]
  assert disc.logged == {"loss", "gan"}
  assert disc.moved(CRITIC) == {"face_encoder_blocks", "binary_pred"}
  assert gen.moved(GENERATOR) == {
    "audio_encoder",
    "face_encoder_blocks",
    "face_decoder_blocks",
    "output_block",
  }
  assert not any(x.startswith("collections") for x in disc.outputs)


def test_without_a_weight_there_is_no_critic():
  stage = wav2lip_paint.make(_config(**{"wav2lip.weights.gan": 0.0}))
  assert [x.name for x in stage.phases] == ["gen"]
  assert set(stage.optims) == {"gen"}
  found = trace(stage, 0)
  assert CRITIC not in found.state.params
  assert "gan" not in found.logged and "gate/open" in found.logged
  # Without the expert's there is no gate to open.
  stage = wav2lip_paint.make(_config(**{"wav2lip.weights.sync": 0.0}))
  assert not any("gate" in x for x in trace(stage, 1).outputs)


def test_the_expert_judges_by_what_it_has_learned():
  """Batch statistics, as the public code has them, depend on other clips."""
  config = _config()
  params, collections = small.parameters(wav2lip_sync.make(config))
  rng = np.random.default_rng(0)
  made = jnp.asarray(rng.random((10, 32, 32, 3)), jnp.float32)
  mel = jnp.asarray(rng.normal(size=(2, 80, 16)), jnp.float32)
  found = {}
  for of_batch in (False, True):
    losses = wav2lip_paint.PaintLosses.of(
      _config(**{"wav2lip.batch_statistics": of_batch})
    )
    ask = jax.jit(losses.out_of_sync)
    both = ask(params, collections, made, mel)
    changed = ask(params, collections, made.at[5:].mul(0.1), mel)
    found[of_batch] = np.asarray(both)[0], np.asarray(changed)[0]
  assert found[False][0] == pytest.approx(found[False][1], rel=1e-5)
  assert abs(found[True][0] - found[True][1]) > 1e-3


def test_a_box_does_not_show_the_mouth():
  """It moves with the head, and neither with the chin nor with the lips."""
  points = plain_face() * 100
  points[:17, 0] = np.linspace(10, 90, 17)
  points[17:27, 1] = 30
  points[27:36, 1] = np.linspace(35, 55, 9)
  open_wide = points.copy()
  open_wide[6:11, 1] += 20
  open_wide[48:68, 1] *= 1.2
  box = wav2lip_input.face_boxes(points)
  np.testing.assert_array_equal(wav2lip_input.face_boxes(open_wide), box)
  np.testing.assert_allclose(box, [10, 55 - 25 * 1.25, 90, 55 + 25 * 1.25])
  moved = wav2lip_input.face_boxes(jnp.asarray(points[None] + 7.0))
  np.testing.assert_allclose(moved[0], box + 7, rtol=1e-5)


def test_faces_are_blue_first_and_lie_in_their_boxes():
  rng = np.random.default_rng(3)
  frame = np.zeros((1, 64, 64, 3), np.uint8)
  inside = rng.integers(0, 256, (4, 4, 3), np.uint8)
  frame[0, 16:48, 20:44] = inside.repeat(8, 0).repeat(6, 1)
  box = np.array([[19.5, 15.5, 43.5, 47.5]], np.float32)
  face = jax.jit(lambda f, b: wav2lip_input.cut(f, b, 32))(frame, box)[0]
  middles = face[4::8, 4::8]
  np.testing.assert_allclose(middles, inside[..., ::-1] / 255, atol=0.02)
  upper = wav2lip_input.hidden(face[None])[0]
  assert not upper[16:].any()
  np.testing.assert_array_equal(upper[:16], face[:16])
  np.testing.assert_array_equal(wav2lip_input.below(face[None])[0], face[16:])
  back = wav2lip_input.as_rgb(face)[4::8, 4::8]
  assert np.abs(back.astype(int) - inside).max() < 6


def test_landmarks_lie_where_the_face_shows_them():
  """A bright pixel is found at its point; x and y differ in scale."""
  frame = np.zeros((1, 64, 64, 3), np.uint8)
  frame[0, 39:42, 29:32] = 255
  box = np.array([[10.5, 20.5, 42.5, 52.5]], np.float32)
  box[0, 2] += 8
  point = np.array([[[30.0, 40.0]]], np.float32)
  frames, boxes = jnp.asarray(frame), jnp.asarray(box)
  face = np.asarray(wav2lip_input.cut(frames, boxes, 32))[0, ..., 0]
  [[[x, y]]] = wav2lip_input.within(jnp.asarray(point), boxes, 32)
  weighed = [(face.sum(i) * np.arange(32)).sum() / face.sum() for i in (0, 1)]
  np.testing.assert_allclose([x, y], weighed, atol=0.1)


def test_mouths_weigh_more_where_the_config_says_so(painter):
  losses, _, _, batch = painter
  faces = jax.jit(losses.faces)(batch)
  points = plain_face().astype(np.float32) * 32
  points += 16 - points[spec.MOUTH].mean(0)
  faces = faces._replace(
    landmarks=jnp.broadcast_to(points, faces.landmarks.shape)
  )
  weighing = wav2lip_paint.PaintLosses.of(
    _config(**{"wav2lip.region.mouth": 8.0})
  )
  for judge, mouth in ((losses, 1.0), (weighing, 9.0)):
    for at, weight in (((16, 16), mouth), ((0, 0), 1.0)):
      made = faces.true.at[(0, *at)].add(0.5)
      found = jax.jit(judge.l1)(made, faces)
      assert float(found[0]) == pytest.approx(weight * 0.5 / 32**2, rel=0.05)
      assert not found[1:].any()


def test_a_frame_hears_the_five_frames_it_is_in_the_middle_of():
  """Spectra are those of the whole sound, where windows begin with steps."""
  rng = np.random.default_rng(4)
  audio = rng.integers(-9000, 9000, 640 * 20, np.int16)
  whole = np.asarray(lip_mel.lip_mel(jnp.asarray(audio / 32768)[None]))[0]
  hear = jax.jit(wav2lip_input.spectra)
  for frame in (2, 7):  # of a stretch that begins with frame 5
    begins = 5 + frame + wav2lip_input.first_heard(_config(), True)
    cuts = wav2lip_input.sounds(audio, np.array([640 * begins]))
    step = 640 * begins // 200
    wanted = whole[step : step + 16].T
    np.testing.assert_allclose(hear(cuts)[0], wanted, atol=1e-3)
  released = presets.get_config("released")
  assert wav2lip_input.first_heard(released, True) == -1
  assert wav2lip_input.first_heard(released, False) == 0
  assert wav2lip_input.first_heard(_config(), False) == -2


def test_the_sheet_has_true_frames_above_painted_ones(painter):
  losses, params, collections, batch = painter
  sheet = jax.jit(losses.sample_grids)(params, collections, batch)["frames"]
  assert sheet.shape == (6, 5, 32, 32, 3) and sheet.dtype == np.uint8
  faces = jax.jit(losses.faces)(batch)
  first = wav2lip_input.as_rgb(faces.true)[:5]
  assert np.abs(sheet[0].astype(int) - first).max() <= 1  # rounded elsewhere
