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
  assert front["conv_layers_0"]["kernel"].shape == (10, 1, 512)
  assert front["conv_layers_6"]["kernel"].shape == (2, 512, 512)
  assert front["pos_conv_embed"]["kernel"].shape == (128, 2, 32)


def test_resample_keeps_ends_and_lines():
  line = jnp.linspace(3.0, 5.0, 7)[None, :, None]
  got = resample(line, 4)[0, :, 0]
  np.testing.assert_allclose(got, np.linspace(3, 5, 4), atol=1e-6)
  assert resample(line, 7) is line


def test_unknown_front_is_named():
  with pytest.raises(ValueError, match="'mfcc' is not one of"):
    AudioEncoder("mfcc", 8, 1, 2, 6).init(jax.random.key(0), tiny.audio(1))
