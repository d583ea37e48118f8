"""Public weights arrive where the config says, and nowhere else."""

import jax
import numpy as np
import optax
import pytest
from safetensors.numpy import save_file

from speak_jax.pretrained.goldens import fill
from speak_jax.pretrained.tensors import WeightsError
from speak_jax.stages import irfd, optimizers, speak
from speak_jax.training.initial_weights import public_weights
from speak_jax.training.state import init_state
from tests.pretrained.reference import resnet_shapes, vgg_shapes
from tests.stages import small

BACKBONE = dict(stages=(1, 1), width=8, bottleneck=True, stem="deep")


def resnet(tmp_path, widths=(8, 16)):
  path = tmp_path / "resnet.safetensors"
  save_file(fill(resnet_shapes((1, 1), widths, 8, 5), 3), path)
  return str(path)


def config(path, **changes):
  settings = {
    "model__encoder": BACKBONE,
    "model__channels": {"4": 8, "8": 8, "16": 6},
    "model__maps": (4, 16),
    "model__norm": "batch",
    "pretrained__resnet": path,
  }
  return small.config(**settings | changes)


def test_resnets_start_from_the_file(tmp_path):
  settings = config(resnet(tmp_path))
  stage = irfd.make(settings)
  given = public_weights(settings, stage)
  assert set(given) == {"resnet"}
  state = init_state(stage, 0, given)
  params, stats = given["resnet"]
  for name in ("identity_net", "pose_net", "emotion_net"):
    for mine, theirs in (
      (state.params["encoders"][name], params),
      (state.vars["encoders"]["batch_stats"][name], stats["batch_stats"]),
    ):
      jax.tree.map(np.testing.assert_array_equal, mine, theirs)
  fresh = init_state(stage, 0, {})
  head = "pose_head"
  jax.tree.map(
    np.testing.assert_array_equal,
    state.params["encoders"][head],
    fresh.params["encoders"][head],
  )


def test_other_sizes_are_one_line(tmp_path):
  settings = config(resnet(tmp_path, (8, 24)))
  with pytest.raises(
    WeightsError, match=r"stage2_block1/.* is \(.*24"
  ) as error:
    public_weights(settings, irfd.make(settings))
  assert "\n" not in str(error.value)


def test_another_norm_is_one_line(tmp_path):
  settings = config(resnet(tmp_path), model__norm="group")
  with pytest.raises(WeightsError, match=r"needs config\.model\.norm"):
    public_weights(settings, irfd.make(settings))


def test_weights_of_another_kind_are_one_line(tmp_path):
  path = tmp_path / "vgg.safetensors"
  save_file(fill(vgg_shapes(((4, 4), (8,))), 3), path)
  settings = config(str(path))
  with pytest.raises(WeightsError, match="weights of a vgg, wanted resnet"):
    public_weights(settings, irfd.make(settings))


def test_a_stage_takes_what_it_has_a_use_for(tmp_path):
  """SPEAK's encoders come from IRFD, unless there was none."""
  settings = config(resnet(tmp_path))
  assert public_weights(settings, speak.make(settings)) == {}
  settings = config(resnet(tmp_path), speak__encoders="fresh")
  assert set(public_weights(settings, speak.make(settings))) == {"resnet"}


def test_speech_weights_arrive_in_the_stage_that_speaks():
  stage = speak.make(small.config())
  fresh, _ = small.parameters(stage)
  audio = fresh["speak"]["audio"]
  name = min(audio)
  public_ones = {name: jax.tree.map(lambda x: x + 1, audio[name])}
  params, _ = small.parameters(stage, given={"speech": (public_ones, {})})
  want = {**fresh["speak"], "audio": {**audio, **public_ones}}
  jax.tree.map(np.testing.assert_array_equal, params["speak"], want)


@pytest.mark.parametrize("front", ["mel", "waveform"])
def test_what_was_trained_before_learns_slowly(front):
  """A step moves a waveform front by its factor of what moves the rest."""
  settings = small.config(
    model__audio__front=front, model__audio__width=16, speak__optim__clip=0.0
  )
  stage = speak.make(settings)
  like, _ = jax.eval_shape(lambda: stage.init(0, {}))
  params = {"speak": jax.tree.map(lambda x: np.zeros(x.shape), like["speak"])}
  optim = stage.optims["gen"]
  state = jax.jit(optim.tx.init)(params)
  moved = jax.tree.map(np.zeros_like, params)
  update = jax.jit(optim.tx.update)
  for slope in (1.0, 1.0, -1.0):  # a turn tells the momenta apart
    slopes = jax.tree.map(lambda x, s=slope: np.full(x.shape, s), params)
    moved, state = update(slopes, state, params)
  audio = moved["speak"].pop("audio")
  rest = {float(x.ravel()[0]) for x in jax.tree.leaves([moved, audio["out"]])}
  heard = {float(x.ravel()[0]) for x in jax.tree.leaves(audio["front"])}
  assert len(rest) == len(heard) == 1
  (rest,), (heard,) = rest, heard
  wide = settings.speak.optim

  def momentum(b1):  # after slopes of 1, 1 and -1
    return (b1 * (1 - b1**2) - (1 - b1)) / (1 - b1**3)

  want = 1.0
  if front == "waveform":
    speech = settings.speak.speech
    want = speech.lr_factor * momentum(speech.b1) / momentum(wide.b1)
  assert heard / rest == pytest.approx(want, rel=1e-4)


def test_plain_adam_keeps_its_state():
  """Checkpoints hold it."""
  settings = small.config().speak.optim
  params = {"a": np.ones(3), "b": np.ones(2)}
  plain = optax.chain(
    optax.clip_by_global_norm(1.0), optax.adam(lambda count: 1e-3)
  )
  for momenta in ({}, {"a": settings.b1}):
    ours = optimizers.adam(("a", "b"), settings, 10, {}, momenta)
    assert jax.tree.structure(ours.tx.init(params)) == jax.tree.structure(
      plain.init(params)
    )
