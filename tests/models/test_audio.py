import jax
import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax import spec
from speak_jax.models.audio import AudioEncoder, MelFront, resample
from speak_jax.models.wav2vec import Hidden, Wav2vec
from tests import jitted
from tests.models import tiny

PLAIN = ("frame", "window")  # as in FaceFormer; by the window


def test_mel_front_gives_one_vector_a_frame():
  encoder = AudioEncoder("mel", 8, 1, 2, 6, *PLAIN)
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


@pytest.mark.parametrize("fps", [24.0, 25.0, 29.97, 30.0, 60.0])
def test_mel_front_follows_the_frame_rate(fps):
  """Of windows that are no whole number of its steps; at frames' middles."""
  encoder = AudioEncoder("mel", 8, 0, 2, 6, *PLAIN, fps=fps)
  frames = 22
  samples = round(frames * spec.samples_per_frame(fps))
  audio = tiny.normal(3, 1, samples) / 10
  variables = encoder.init(jax.random.key(0), audio)
  got, seen = encoder.apply(
    variables,
    audio,
    capture_intermediates=lambda m, _: isinstance(m, MelFront),
    mutable="intermediates",
  )
  steps = seen["intermediates"]["front"]["__call__"][0][0]
  assert len(steps) == -(-samples // 640)
  middle = (np.arange(frames) + 0.5) / fps
  at = (np.arange(len(steps)) + 0.5) * 640 / spec.SAMPLE_RATE_HZ
  read = np.stack([np.interp(middle, at, x) for x in steps.T], 1)
  out = variables["params"]["out"]
  want = read @ out["kernel"] + out["bias"]
  np.testing.assert_allclose(got[0], want, atol=1e-5)


@pytest.mark.parametrize(("fps", "frames"), [(25.0, 25), (30.0, 30)])
def test_waveform_front_follows_the_frame_rate(fps, frames):
  encoder = AudioEncoder("waveform", 32, 1, 2, 6, *PLAIN, fps=fps)
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
  encoder = AudioEncoder("waveform_large", 32, 1, 2, 6, *PLAIN)
  audio = jax.ShapeDtypeStruct((1, 3200), jnp.float32)
  front = jax.eval_shape(encoder.init, jax.random.key(0), audio)["params"][
    "front"
  ]
  last = front["feature_extractor"]["conv_layers_6"]
  assert last["conv"]["bias"].shape == last["layer_norm"]["scale"].shape


def test_waveform_is_standardized_and_its_convolutions_can_be_frozen():
  free = AudioEncoder("waveform", 16, 1, 2, 6, *PLAIN)
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
    grads = jitted.grad(
      lambda p: (encoder.apply({"params": p}, audio) ** 2).sum()
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
    AudioEncoder("mfcc", 8, 1, 2, 6, *PLAIN).init(
      jax.random.key(0), tiny.audio(1)
    )


@pytest.mark.parametrize(
  ("words", "named"),
  [(("second", "clip"), "'second' is not"), (("frame", "room"), "'room'")],
)
def test_unknown_words_are_named(words, named):
  with pytest.raises(ValueError, match=named):
    AudioEncoder("mel", 8, 1, 2, 6, *words).init(
      jax.random.key(0), tiny.audio(1)
    )


def clip_with_a_pause() -> np.ndarray:
  """Two seconds at full voice, one 40 dB below, two at full voice; int16."""
  rng = np.random.default_rng(3)
  tone = np.convolve(rng.normal(size=80_000), np.hanning(9) / 4, "same")
  gain = np.repeat([1, 1, 0.01, 1, 1], 16_000)
  return np.round(4000 * gain * tone + 30).astype(np.int16)


@pytest.fixture(scope="module", params=["window", "clip"])
def normed(request):
  """What the first norm makes of five windows of a second, and of the clip."""
  clip = clip_with_a_pause()
  encoder = AudioEncoder("waveform", 16, 1, 2, 6, "published", request.param)
  level = jnp.asarray(spec.sound_level(clip))[None]
  sound = jnp.asarray(clip, jnp.float32)[None] / 32768
  shapes = jax.eval_shape(encoder.init, jax.random.key(0), sound, level)
  rng = np.random.default_rng(0)
  variables = jax.tree.map(
    lambda x: jnp.asarray(rng.normal(size=x.shape), jnp.float32), shapes
  )

  @jax.jit
  def run(audio):
    _, kept = encoder.apply(
      variables,
      audio,
      jnp.repeat(level, len(audio), 0),
      capture_intermediates=lambda net, _: net.name == "layer_norm",
      mutable=["intermediates"],
    )
    first = kept["intermediates"]["front"]["feature_extractor"]
    return first["conv_layers_0"]["layer_norm"]["__call__"][0]

  windows = run(sound.reshape(5, -1))
  return request.param, np.asarray(windows), np.asarray(run(sound)[0])


def test_one_gain_serves_a_whole_clip(normed):
  """By the window a pause is as loud as speech; by the clip it is quiet."""
  level, windows, whole = normed
  loud = windows.std(1).mean(-1)
  pause = loud[2] / loud[[0, 1, 3, 4]].mean()
  assert pause > 0.9 if level == "window" else pause < 0.02
  # The published network hears the whole utterance.
  away = [
    abs(window - whole[3_200 * i : 3_200 * i + len(window)]).max()
    for i, window in enumerate(windows)
  ]
  assert (max(away) < 0.02) == (level == "clip")


def test_the_level_of_a_clip_must_be_there():
  encoder = AudioEncoder("waveform", 16, 1, 2, 6, "published", "clip")
  with pytest.raises(ValueError, match="needs the level"):
    jax.eval_shape(encoder.init, jax.random.key(0), tiny.audio(1))


def test_level_says_what_filters_make_of_a_sound():
  clip = clip_with_a_pause()
  mean, *power = spec.sound_level(clip)
  sound = clip / 32768
  np.testing.assert_allclose(
    [mean, power[0]], [sound.mean(), sound.var()], 1e-5
  )
  taps = np.random.default_rng(1).normal(size=10)
  lags = abs(np.subtract.outer(np.arange(10), np.arange(10)))
  want = np.convolve(sound - sound.mean(), taps).var()
  np.testing.assert_allclose(taps @ np.array(power)[lags] @ taps, want, 1e-3)
  # In pieces, however long it is.
  long = np.tile(clip, 30)
  assert len(long) > 30 << 16
  np.testing.assert_allclose(spec.sound_level(long)[1], power[0], 1e-4)
  assert not spec.sound_level(clip[:0]).any()


@pytest.mark.parametrize("fps", [25.0, 30.0])
def test_published_steps_are_read_at_the_middle_of_each_frame(fps, monkeypatch):
  """A transformer that tells the time of its steps gives that of the frames."""
  encoder = AudioEncoder("waveform", 16, 1, 2, 1, "published", "clip", fps)

  def encode(self, features):
    assert features.shape[1] == 49  # a second, 50 a second, less the ends
    middle = (np.arange(49) * 320 + 200) / 16_000
    return Hidden(features, (), jnp.asarray(middle)[None, :, None])

  monkeypatch.setattr(Wav2vec, "encode", encode)
  monkeypatch.setattr(
    Wav2vec, "features", lambda self, x, c: jnp.zeros((1, 49, 1))
  )
  seen = encoder.apply(
    {"params": {"out": {"kernel": np.ones((1, 1)), "bias": np.zeros(1)}}},
    jnp.zeros((1, 16_000)),
    jnp.zeros((1, spec.LEVEL)),
  )
  want = (np.arange(fps) + 0.5) / fps
  inside = want < (48 * 320 + 200) / 16_000
  np.testing.assert_allclose(seen[0, inside, 0], want[inside], atol=1e-6)


def test_a_frame_is_the_same_in_a_longer_stretch(monkeypatch):
  """But for what attention hears of the rest: taken out here."""
  encoder = AudioEncoder("waveform", 16, 0, 2, 4, "published", "clip")
  clip = clip_with_a_pause()[:32_000]
  level = jnp.asarray(spec.sound_level(clip))[None]
  sound = jnp.asarray(clip, jnp.float32)[None] / 32768
  variables = jax.jit(encoder.init)(jax.random.key(0), sound, level)
  run = jax.jit(encoder.apply)
  whole = run(variables, sound, level)[0]
  # 15 frames with the 32 on each side that the positions hear.
  part = run(variables, sound[:, 640 : 640 * 80], level)[0]
  wrong = abs(whole[34:47] - part[33:46]).max() / whole.std()
  assert wrong < 1e-3
