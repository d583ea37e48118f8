import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax.models.audio import AudioEncoder, resample
from tests.models import tiny


def test_mel_front_gives_one_vector_a_frame():
  encoder = AudioEncoder("mel", 8, 1, 2, 6)
  audio = tiny.audio(2)
  variables = encoder.init(jax.random.key(0), audio)
  assert encoder.apply(variables, audio).shape == (2, 5, 6)
  # Twice the length, the same parameters.
  longer = jnp.concatenate([audio, audio], 1)
  assert encoder.apply(variables, longer).shape == (2, 10, 6)
  alone = encoder.apply(variables, audio[1:])
  np.testing.assert_allclose(
    encoder.apply(variables, audio)[1:], alone, atol=1e-4
  )


@pytest.mark.parametrize(("fps", "frames"), [(25.0, 25), (30.0, 30)])
def test_waveform_front_follows_the_frame_rate(fps, frames):
  encoder = AudioEncoder("waveform", 32, 1, 2, 6, fps=fps)
  audio = jax.ShapeDtypeStruct((2, 16000), jnp.float32)
  out, variables = jax.eval_shape(
    lambda a: encoder.init_with_output(jax.random.key(0), a), audio
  )
  assert out.shape == (2, frames, 6)
  front = variables["params"]["front"]
  layers = front["feature_extractor"]
  assert layers["conv_layers_0"]["conv"]["kernel"].shape == (10, 1, 512)
  assert layers["conv_layers_6"]["conv"]["kernel"].shape == (2, 512, 512)
  position = front["encoder"]["pos_conv_embed"]
  assert position["kernel"].shape == (128, 2, 32)


def test_large_front_has_the_large_style():
  encoder = AudioEncoder("waveform_large", 32, 1, 2, 6)
  audio = jax.ShapeDtypeStruct((1, 3200), jnp.float32)
  front = jax.eval_shape(encoder.init, jax.random.key(0), audio)["params"][
    "front"
  ]
  last = front["feature_extractor"]["conv_layers_6"]
  assert last["conv"]["bias"].shape == last["layer_norm"]["scale"].shape


def test_waveform_is_standardized_and_its_convolutions_can_be_frozen():
  free = AudioEncoder("waveform", 16, 1, 2, 6)
  frozen = free.clone(freeze_features=True)
  audio = tiny.normal(5, 1, 3200)
  params = jax.jit(free.init)(jax.random.key(0), audio)["params"]

  @jax.jit
  def loss(params, audio):
    return (free.apply({"params": params}, audio) ** 2).sum()

  # Loudness and offset are the recording's, not the speaker's.
  np.testing.assert_allclose(
    loss(params, 0.01 * audio + 0.2), loss(params, audio), rtol=1e-3
  )

  def largest(encoder):
    grads = jax.jit(
      jax.grad(lambda p: (encoder.apply({"params": p}, audio) ** 2).sum())
    )(params)
    return {
      name: max(float(abs(leaf).max()) for leaf in jax.tree.leaves(part))
      for name, part in grads["front"].items()
    }

  assert min(largest(free).values()) > 0
  slopes = largest(frozen)
  assert slopes.pop("feature_extractor") == 0
  assert min(slopes.values()) > 0


def test_resample_keeps_ends_and_lines():
  line = jnp.linspace(3.0, 5.0, 7)[None, :, None]
  got = resample(line, 4)[0, :, 0]
  np.testing.assert_allclose(got, np.linspace(3, 5, 4), atol=1e-6)
  assert resample(line, 7) is line


@pytest.mark.parametrize(("have", "want"), [(49, 30), (49, 25), (2, 5), (1, 3)])
def test_resample_equals_torchs_aligned_corners(have, want):
  x = np.random.default_rng(0).standard_normal((2, have, 3)).astype("f4")
  wanted = np.empty((2, want, 3), "f4")
  scale = (have - 1) / (want - 1)
  for i in range(want):
    low = int(i * scale)
    high = min(low + 1, have - 1)
    part = i * scale - low
    wanted[:, i] = (1 - part) * x[:, low] + part * x[:, high]
  np.testing.assert_allclose(resample(jnp.asarray(x), want), wanted, atol=1e-6)


def test_unknown_front_is_named():
  with pytest.raises(ValueError, match="'mfcc' is not one of"):
    AudioEncoder("mfcc", 8, 1, 2, 6).init(jax.random.key(0), tiny.audio(1))
