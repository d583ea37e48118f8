import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.speak import get_config
from speak_jax import spec
from speak_jax.models.build import build
from tests.models import tiny

# Millions of parameters: encoders, decoder, speak, discriminator, sync.
SIZES = {
  "base256": (78.53, 31.07, 127.37, 5.54, 16.85),
  "paper": (70.55, 26.08, 128.45, 5.54, 22.88),
  "small64": (2.55, 2.41, 1.62, 0.22, 1.09),
  "demo": (2.13, 2.12, 1.00, 0.03, 0.76),
}


def millions(variables) -> float:
  return sum(x.size for x in jax.tree.leaves(variables["params"])) / 1e6


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("preset", SIZES)
def test_every_preset_builds_at_its_size(preset):
  config = get_config(preset)
  model, key = config.model, jax.random.key(0)
  fps = float(config.data.fps)
  networks = build(model, fps=fps)
  b, t, image = 2, model.frames, model.image
  face = model.face if model.emotion_input == "face" else image

  def zeros(*shape):
    return jnp.zeros(shape)

  def everything():
    none = np.zeros(b, int)
    pair = spec.Pair(
      zeros(b, image, image, 3),
      zeros(b, 68, 2),
      zeros(b, image, image, 3),
      zeros(b, face, face, 3),
      zeros(b, 68, 2),
      zeros(b, model.mouth, model.mouth, 3),
      zeros(b, image, image, 3),
      zeros(b, 68, 2),
      zeros(b, 3),
      none,
      none,
      zeros(b, image // 2, image // 2, 3),
      zeros(b, 68, 2),
      none > 0,
      none > 0,
    )
    (portrait, codes), encoders = networks.encoders.init_with_output(key, pair)
    drawing, decoder = networks.decoder.init_with_output(key, portrait, codes)
    frames = drawing.frames
    samples = round((t + 2 * model.context) * spec.samples_per_frame(fps))
    out, speak = networks.speak.init_with_output(
      key,
      portrait,
      zeros(b, t, model.codes.pose),
      codes.emotion,
      zeros(b, samples),
      zeros(b, 11),
    )
    discriminator = networks.discriminator.init(key, frames, frames)
    seen = (image // 2, image, 3)
    if model.lips:
      seen = (model.lips, model.lips, 1)
    mouth = zeros(b, spec.SYNC_FRAMES, *seen)
    sync = networks.sync.init(key, mouth, zeros(b, 3200))
    return frames, out, (encoders, decoder, speak, discriminator, sync)

  frames, out, variables = jax.eval_shape(everything)
  assert frames.shape == (b, image, image, 3)
  assert out.frames.shape == (b, t, image, image, 3)
  got = [millions(v) for v in variables]
  np.testing.assert_allclose(got, SIZES[preset], atol=0.006)


def test_resnet50_has_torchvisions_parameters():
  """23.508 million without the classifier, in every one of the encoders."""
  config = get_config("paper")
  net = build(config.model).encoders
  variables = jax.eval_shape(
    lambda: net.init(
      jax.random.key(0), jnp.zeros((1, 64, 64, 3)), method="pose"
    )
  )
  params = variables["params"]["pose_net"]
  assert sum(x.size for x in jax.tree.leaves(params)) == 23_508_032


def test_channels_must_end_at_the_picture():
  with pytest.raises(ValueError, match="channels end at 16"):
    tiny.build(tiny.config(image=32))
