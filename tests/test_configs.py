"""configs/speak.py: every preset resolves, and a wrong word is refused."""

import json

import pytest

from configs import speak


@pytest.mark.parametrize("preset", speak.PRESETS)
def test_preset_is_locked_plain_data(preset):
  config = speak.get_config(preset)
  assert config.preset == preset
  assert config.is_locked
  plain = json.dumps(config.to_dict())  # no arrays, no callables
  assert json.loads(plain) == json.loads(config.to_json())
  with pytest.raises(AttributeError):
    config.irfd.no_such_key = 1


def test_default_preset_is_base256():
  assert speak.get_config().model.image == 256
  assert speak.get_config("seed=3").preset == "base256"


def test_overrides_take_the_place_of_the_preset():
  config = speak.get_config("demo,seed=3,irfd.steps=7,irfd.optim.lr=0.5")
  assert (config.seed, config.irfd.steps) == (3, 7)
  assert config.irfd.optim.lr == 0.5
  assert speak.get_config("demo").irfd.steps != 7  # the table is untouched


@pytest.mark.parametrize(
  ("arg", "named"),
  [
    ("huge", "demo"),
    ("demo,irfd.step=3", "steps"),
    ("demo,nothing.at.all=3", "nothing"),
    ("demo,seed", "key=value"),
  ],
)
def test_wrong_words_are_named(arg, named):
  with pytest.raises(ValueError, match=named):
    speak.get_config(arg)


def test_paper_keeps_its_own_losses_alone():
  """Eq. 8 and Eq. 13: weight 1 each, and nothing beside them."""
  config = speak.get_config("paper")
  used = {k for k, v in config.irfd.weights.items() if v}
  assert used == {
    "self", "classify", "swap_pose", "swap_emotion", "swap_identity"
  }  # fmt: skip
  used = {k: v for k, v in config.speak.weights.items() if v}
  assert used == {"sync": 1, "perceptual": 1, "gan": 1}


def test_paper_has_one_rate_for_all():
  """1.6: Adam, 1e-4."""
  config = speak.get_config("paper").speak
  assert config.optim.lr == config.discriminator.lr == 1e-4
  assert config.speech.lr_factor == 1 and config.speech.b1 == config.optim.b1


def test_demo_has_no_discriminator():
  config = speak.get_config("demo")
  assert config.irfd.weights.gan == config.speak.weights.gan == 0
