import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax.models.wav2vec import ConvLayer, Wav2vec
from speak_jax.nn.attention import Attention
from speak_jax.nn.conv import Conv1d
from tests.models import tiny

SMALL = dict(
  width=8,
  layers=2,
  heads=2,
  hidden=12,
  conv_channels=(4, 6),
  conv_sizes=(10, 3),
  conv_strides=(5, 2),
  position_size=4,
  position_groups=2,
)
STYLES = {
  "base": {},
  "large": dict(conv_bias=True, conv_norm="layer", pre_norm=True),
}


def small(style):
  """A network and its parameters, none of them 0 or 1."""
  net = Wav2vec(**SMALL, **STYLES[style])
  variables = jax.jit(net.init)(jax.random.key(0), tiny.normal(1, 1, 100))
  leaves, tree = jax.tree.flatten(variables)
  keys = jax.random.split(jax.random.key(2), len(leaves))
  moved = [
    leaf + 0.2 * jax.random.normal(key, leaf.shape)
    for leaf, key in zip(leaves, keys, strict=True)
  ]
  return net, jax.tree.unflatten(tree, moved)


@pytest.mark.parametrize("style", STYLES)
def test_padding_is_not_heard(style):
  net, variables = small(style)
  audio = tiny.normal(3, 2, 200)
  # 103 samples: 19 steps of the first convolution, 9 of the second.
  mask = jnp.arange(200) < jnp.array([[200], [103]])
  assert net.frames_of(mask.sum(-1)).tolist() == [19, 9]
  run = jax.jit(net.apply)
  heard = run(variables, audio, mask)
  assert heard.conv_features.shape == (2, 19, 6)
  assert [state.shape for state in heard.states] == [(2, 19, 8)] * 3
  # The sound of padding changes the convolutions' features after it alone,
  # but in base style through the group norm's statistics.
  if style == "large":
    noisy = jnp.where(mask, audio, 5 * tiny.normal(4, 2, 200))
    again = run(variables, noisy, mask)
    np.testing.assert_allclose(again.last[1, :9], heard.last[1, :9], atol=1e-5)
    np.testing.assert_allclose(again.last[0], heard.last[0], atol=1e-5)
    assert abs(run(variables, noisy).last - heard.last)[1, :9].max() > 1e-3
  # All of it sound: as without a mask.
  every = run(variables, audio, jnp.ones_like(mask))
  np.testing.assert_allclose(every.last, run(variables, audio).last, atol=1e-5)


def test_styles_end_as_published():
  audio = tiny.normal(3, 1, 200)
  net, variables = small("base")
  heard = jax.jit(net.apply)(variables, audio)
  np.testing.assert_array_equal(heard.last, heard.states[-1])
  net, variables = small("large")
  heard = jax.jit(net.apply)(variables, audio)
  norm = variables["params"]["encoder"]["layer_norm"]
  state = np.asarray(heard.states[-1])
  centred = state - state.mean(-1, keepdims=True)
  wanted = centred / np.sqrt(state.var(-1, keepdims=True) + 1e-5)
  np.testing.assert_allclose(
    heard.last, wanted * norm["scale"] + norm["bias"], atol=1e-5
  )


def test_attention_equals_its_formula():
  layer = Attention(2)
  x = tiny.normal(0, 2, 5, 6)
  valid = jnp.arange(5) < jnp.array([[5], [3]])
  variables = layer.init(jax.random.key(0), x)
  project = {
    name: np.asarray(x @ p["kernel"] + p["bias"]).reshape(2, 5, 2, 3)
    for name, p in variables["params"].items()
    if name != "out_proj"
  }
  scores = np.einsum("bnhd,bmhd->bhnm", project["q_proj"], project["k_proj"])
  scores = np.where(valid[:, None, None], np.exp(scores / np.sqrt(3)), 0)
  scores /= scores.sum(-1, keepdims=True)
  heard = np.einsum("bhnm,bmhd->bnhd", scores, project["v_proj"])
  out = variables["params"]["out_proj"]
  wanted = heard.reshape(2, 5, 6) @ out["kernel"] + out["bias"]
  np.testing.assert_allclose(
    layer.apply(variables, x, valid), wanted, atol=1e-5
  )


@pytest.mark.parametrize("size", [3, 4])
def test_grouped_convolution_has_the_right_gradient(size):
  layer = Conv1d(6, size, pad=size // 2, groups=3)
  x, weight = tiny.normal(0, 2, 7, 6), tiny.normal(1, 2, 7 + 1 - size % 2, 6)
  variables = layer.init(jax.random.key(0), x)
  kernel = variables["params"]["kernel"]

  def ours(kernel, x):
    params = variables["params"] | {"kernel": kernel}
    return (layer.apply({"params": params}, x) * weight).sum()

  def plain(kernel, x):
    x = jnp.pad(x, ((0, 0), (size // 2,) * 2, (0, 0)))
    parts = [
      sum(
        x[:, i : i + weight.shape[1], g : g + 2] @ kernel[i, :, g : g + 2]
        for i in range(size)
      )
      for g in (0, 2, 4)
    ]
    return (jnp.concatenate(parts, -1) * weight).sum()

  got = jax.value_and_grad(ours, (0, 1))(kernel, x)
  wanted = jax.value_and_grad(plain, (0, 1))(kernel, x)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), got, wanted
  )
  with pytest.raises(ValueError, match="3 groups at stride 2"):
    Conv1d(6, 3, 2, groups=3).init(jax.random.key(0), x)


def test_unknown_norm_is_named():
  with pytest.raises(ValueError, match="'batch' is not one of"):
    ConvLayer(4, 3, 1, True, "batch").init(
      jax.random.key(0), tiny.normal(0, 1, 9, 2)
    )
