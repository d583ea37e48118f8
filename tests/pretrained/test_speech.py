import json
from pathlib import Path

import jax
import numpy as np
import pytest

from speak_jax.models import wav2vec
from speak_jax.models.audio import AudioEncoder
from speak_jax.nn import attention
from speak_jax.pretrained import goldens, speech
from speak_jax.pretrained.tensors import Converted, Tensors, WeightsError
from tests.models import tiny

TINY = ("hubert_tiny", "wav2vec2_ctc_tiny", "wav2vec2_large_tiny")
GOLDENS = Path(__file__).parent / "goldens"
FIRST = "feature_extractor.conv_layers.0.conv.weight"
G, V = (f"encoder.pos_conv_embed.conv.weight_{x}" for x in "gv")


def public(width=128, hidden=20, layers=2, channels=(6, 7, 5), large=False):
  """A checkpoint of random numbers in the public layout, float32."""
  shapes = {
    "masked_spec_embed": (width,),
    "feature_projection.layer_norm": (channels[-1],),
    "feature_projection.projection": (width, channels[-1]),
    "encoder.layer_norm": (width,),
  }
  inner = 1
  for i, (outer, size) in enumerate(zip(channels, (10, 3, 2), strict=True)):
    at = f"feature_extractor.conv_layers.{i}"
    shapes[f"{at}.conv"] = (outer, inner, size)
    if large or i == 0:
      shapes[f"{at}.layer_norm"] = (outer,)
    inner = outer
  for i in range(layers):
    at = f"encoder.layers.{i}"
    for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
      shapes[f"{at}.attention.{name}"] = (width, width)
    shapes[f"{at}.feed_forward.intermediate_dense"] = (hidden, width)
    shapes[f"{at}.feed_forward.output_dense"] = (width, hidden)
    shapes[f"{at}.layer_norm"] = shapes[f"{at}.final_layer_norm"] = (width,)
  rng = np.random.default_rng(0)

  def draw(*shape):
    return (0.3 * rng.standard_normal(shape)).astype(np.float32)

  found = {
    G: 2 + draw(1, 1, 4),
    V: draw(width, width // 2, 4),
    "encoder.pos_conv_embed.conv.bias": draw(width),
  }
  for key, shape in shapes.items():
    if key == "masked_spec_embed":
      found[key] = draw(*shape)
      continue
    found[f"{key}.weight"] = draw(*shape)
    if large or not key.endswith(".conv"):
      found[f"{key}.bias"] = draw(shape[0])
  return found


def convert(weights, **config):
  """With what the shapes of `public` do not tell, unless told otherwise."""
  config = {"conv_stride": [5, 2, 2]} | config
  return speech.convert(Tensors(weights, "file"), config)


@pytest.mark.parametrize("name", TINY)
def test_outputs_equal_the_reference(name):
  found = list(goldens.verify(GOLDENS, [name]))
  outputs = {"conv_features", "hidden1", "last"}
  if "ctc" in name:
    outputs.add("logits")
  assert {result.output for result in found} == outputs
  assert all(result.passed for result in found), found


def test_the_base_network_equals_the_reference(shared):
  """94 million weights; its outputs are too large for the repository."""
  folder = shared / "data" / "goldens"
  found = list(goldens.verify(folder, ["hubert_base_full"]))
  assert len(found) == 3 and all(result.passed for result in found), found


def golden(name):
  """Weights and configuration of a stored reference."""
  about = json.loads((GOLDENS / "meta.json").read_text())[name]
  weights = goldens.fill(about["shapes"], about["seed"])
  return weights, about["config"]["cfg"]


@pytest.mark.parametrize("name", TINY)
def test_one_weight_is_unused(name):
  weights, config = golden(name)
  (unused,) = speech.convert(Tensors(weights, name), config).unused
  assert unused.endswith("masked_spec_embed")


def tanh(monkeypatch):
  exact = jax.nn.gelu
  monkeypatch.setattr(
    attention.nn, "gelu", lambda x, approximate: exact(x, approximate=True)
  )


def conv_epsilon(monkeypatch):
  monkeypatch.setattr(wav2vec, "EPSILON", 1e-6)


def layer_epsilon(monkeypatch):
  # 1e-6 is below the reference's own error: what goes in is of size 1.
  monkeypatch.setattr(attention, "EPSILON", 1e-3)


@pytest.mark.parametrize("mistake", [tanh, conv_epsilon, layer_epsilon])
def test_mistakes_show(monkeypatch, mistake):
  mistake(monkeypatch)
  found = goldens.verify(GOLDENS, ["hubert_tiny"])
  assert max(result.error for result in found) > 5 * goldens.TOLERANCE


def test_sizes_come_from_the_shapes():
  sizes = convert(public()).sizes
  assert sizes == dict(
    width=128,
    layers=2,
    heads=2,
    hidden=20,
    conv_channels=(6, 7, 5),
    conv_sizes=(10, 3, 2),
    conv_strides=(5, 2, 2),
    conv_bias=False,
    conv_norm="group",
    projection_norm=True,
    pre_norm=False,
    position_size=4,
    position_groups=2,
  )
  large = convert(public(large=True)).sizes
  style = dict(conv_bias=True, conv_norm="layer", pre_norm=True)
  assert large == sizes | style
  told = convert(
    public(large=True),
    num_attention_heads=4,
    conv_stride=[4, 2, 1],
    do_stable_layer_norm=False,
    hidden_act="gelu",
    vocab_size=3,  # one of the many that shapes tell
  ).sizes
  assert told == large | dict(heads=4, conv_strides=(4, 2, 1), pre_norm=False)


@pytest.mark.parametrize("large", [False, True])
def test_parameters_are_the_networks(large):
  converted = convert(public(large=large))
  net = wav2vec.Wav2vec(**converted.sizes)
  wanted = jax.eval_shape(net.init, jax.random.key(0), tiny.normal(0, 1, 200))
  assert jax.tree.map(np.shape, converted.variables) == jax.tree.map(
    np.shape, wanted
  )


def test_norm_before_the_projection_may_be_absent():
  weights = public()
  for name in ("weight", "bias"):
    del weights[f"feature_projection.layer_norm.{name}"]
  converted = convert(weights)
  assert not converted.sizes["projection_norm"]
  assert set(converted.variables["params"]["feature_projection"]) == {
    "projection"
  }


def test_both_spellings_of_weight_norm_are_read():
  weights = public()
  old = convert(dict(weights)).variables["params"]["encoder"]
  stem = "encoder.pos_conv_embed.conv.parametrizations.weight.original"
  weights[f"{stem}0"], weights[f"{stem}1"] = weights.pop(G), weights.pop(V)
  new = convert(weights).variables["params"]["encoder"]
  kernel = new["pos_conv_embed"]["kernel"]
  np.testing.assert_array_equal(kernel, old["pos_conv_embed"]["kernel"])
  # Each offset in time has the length of its g: (k, i, o) over i and o.
  np.testing.assert_allclose(
    np.sqrt((kernel**2).sum((1, 2))), weights[f"{stem}0"][0, 0], rtol=1e-5
  )


@pytest.mark.parametrize("prefix", ["hubert.", "wav2vec2."])
def test_prefix_head_and_pretraining_are_understood(prefix):
  plain = convert(public())
  weights = {prefix + key: array for key, array in public().items()}
  weights["lm_head.weight"] = np.ones((3, 128), np.float32)
  weights["lm_head.bias"] = np.zeros(3, np.float32)
  extra = ("quantizer.codevectors", "project_q.bias", "project_hid.weight")
  weights |= {key: np.ones(2, np.float32) for key in extra}
  converted = convert(weights)
  assert converted.unused == (prefix + "masked_spec_embed", *extra)
  assert converted.head["kernel"].shape == (128, 3)
  assert converted.sizes == plain.sizes
  assert plain.head == {}
  jax.tree.map(
    np.testing.assert_array_equal, converted.variables, plain.variables
  )
  del weights["lm_head.weight"]
  with pytest.raises(WeightsError, match=r"file: key lm_head.weight is miss"):
    convert(weights)


@pytest.mark.parametrize("large", [False, True])
def test_no_key_may_be_missing_misshapen_or_unknown(large):
  whole = public(large=large)
  for key in whole:
    if key == "masked_spec_embed":
      continue
    less = {other: array for other, array in whole.items() if other != key}
    with pytest.raises(WeightsError, match="missing") as caught:
      convert(less)
    assert key in str(caught.value)
    for bad in (whole[key][..., None], np.concatenate([whole[key]] * 2)):
      with pytest.raises(WeightsError, match=r"^file: "):
        convert(whole | {key: bad})
  with pytest.raises(WeightsError, match=r"unknown key adapter\.weight"):
    convert(whole | {"adapter.weight": np.ones(2, np.float32)})


@pytest.mark.parametrize(
  ("weights", "config", "reason"),
  [
    (public(96), {}, "width 96 is no public one: num_attention_heads"),
    (public(96), {"num_attention_heads": 7}, "7 does not divide 96"),
    (public(), {"num_attention_heads": "2"}, "'2' does not divide 128"),
    (public(), {"conv_stride": [5, 2]}, "has shape .128, 5., wanted"),
    (public(), {"conv_stride": [5, 2, 2, 2]}, "layers.3.conv.weight is miss"),
    (public(), {"conv_stride": 5}, "conv_stride 5 is no list"),
    (public(), {"conv_stride": None}, "layers.3.conv.weight is missing"),
    (public(), {"hidden_act": "relu"}, "hidden_act 'relu' is not 'gelu'"),
    (public(), {"layer_norm_eps": 1e-6}, "layer_norm_eps 1e-06"),
    (public() | {FIRST: np.ones((6, 0, 9), "f4")}, {}, "wanted 3 axes"),
    (public() | {V: np.zeros((128, 64, 4), "f4")}, {}, "weight_v has a dir"),
    (public() | {V: np.ones((128, 63, 4), "f4")}, {}, "no groups of 63"),
  ],
)
def test_what_does_not_fit_is_said(weights, config, reason):
  with pytest.raises(WeightsError, match=reason) as caught:
    convert(weights, **config)
  assert str(caught.value).startswith("file: ")
  assert "\n" not in str(caught.value)


def test_sizes_that_are_not_public_must_be_told():
  weights, config = golden("hubert_tiny")
  weights[FIRST] = weights[FIRST][..., :9]
  with pytest.raises(WeightsError, match=r"sizes \(9, 3, 3, 3, 3, 2, 2\) are"):
    speech.convert(Tensors(weights, "file"), config)


def test_encoder_takes_the_network_it_has():
  encoder = AudioEncoder("waveform_large", 32, 1, 2, 6, "frame", "window")
  audio = tiny.normal(5, 1, 1600)
  params = jax.jit(encoder.init)(jax.random.key(0), audio)["params"]
  sizes = {
    "width": 32,
    "layers": 1,
    "heads": 2,
    "hidden": 128,
    "conv_norm": "layer",
    "conv_channels": (512,) * 7,
  }
  ones = jax.tree.map(np.ones_like, params["front"])
  converted = Converted({"params": ones}, sizes, {}, ())
  new = params | speech.encoder_params(converted, encoder, "file")
  assert jax.tree.map(np.shape, new) == jax.tree.map(np.shape, params)
  assert new["front"]["encoder"]["layer_norm"]["bias"][0] == 1
  assert new["out"] is params["out"]
  for name, wrong in (("heads", 4), ("conv_channels", (512,) * 6)):
    other = converted._replace(sizes=sizes | {name: wrong})
    with pytest.raises(WeightsError, match=f"^file: {name} is .* encoder's is"):
      speech.encoder_params(other, encoder, "file")
  with pytest.raises(WeightsError, match="does not fit front 'mel'"):
    speech.encoder_params(converted, encoder.clone(front="mel"), "file")
