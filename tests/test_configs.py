"""configs/speak.py: every preset resolves, and a wrong word is refused."""

import importlib
import json

import pytest

from configs import common, speak
from speak_jax.stages import registry
from speak_jax.training import config_validation, run_config


@pytest.mark.parametrize("preset", speak.PRESETS)
def test_preset_is_locked_plain_data(preset):
  config = speak.get_config(preset)
  assert config.preset == preset
  assert config.is_locked
  plain = json.dumps(config.to_dict())  # no arrays, no callables
  assert json.loads(plain) == json.loads(config.to_json())
  with pytest.raises(AttributeError):
    config.irfd.no_such_key = 1


@pytest.mark.parametrize("name", registry.METHODS)
def test_every_method_has_presets_that_may_be(name):
  """What holds of each, so that a method more is held to it too."""
  module = importlib.import_module(f"configs.{name}")
  own = registry.training(name)
  for preset in module.PRESETS:
    config = module.get_config(preset)
    assert (config.method, config.preset) == (name, preset)
    assert config.is_locked and set(config.stages) <= set(own.stages)
    config_validation.validate(config)
    # As a run's folder keeps it.
    stored = json.loads(json.dumps(config.to_dict()))
    assert run_config.from_json(stored) == config
  # Every rule of its own is one of a key that there is.
  keys = [path for path, _ in config_validation.leaves(config)]
  for rule in own.rules:
    assert any(config_validation.rule_of(x, [rule]) is rule[1] for x in keys)


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


# Old names with a value, and what they are now.
OLD = {
  "irfd.smoothing": (0.3, "irfd.label_smoothing", 0.3),
  "irfd.printed_triplet": (True, "irfd.triplet", "printed"),
  "irfd.hide_maps": (0.7, "irfd.drop_maps", 0.7),
  "mesh.large": (12, "mesh.min_shard_size", 12),
  "model.pose_places": (3, "model.pose_spatial_channels", 3),
}


def value_at(config, dotted):
  for name in dotted.split("."):
    config = config[name]
  return config


def test_every_old_name_is_understood():
  assert set(OLD) == set(common.RENAMED)


@pytest.mark.parametrize("old", OLD)
def test_an_old_name_sets_the_new_key(old):
  given, new, value = OLD[old]
  section, key = old.split(".")
  config = speak.get_config(f"demo,{old}={given}")
  assert value_at(config, new) == value
  assert key not in config[section]
  assert common.current_flags(["train", f"--config.{old}={given}"]) == [
    "train",
    f"--config.{new}={value}",
  ]
  stored = speak.get_config("demo").to_dict()
  del stored[section][new.split(".")[1]]
  stored[section][key] = given
  assert value_at(run_config.from_json(stored), new) == value


def test_other_words_stay_and_switches_stand_alone():
  words = ["--config=f.py:demo", "--config.seed=3", "--workdir", "R", "x=y"]
  assert common.current_flags(words) == words
  assert common.current_flags(
    ["--config.irfd.printed_triplet", "--noconfig.irfd.printed_triplet"]
  ) == ["--config.irfd.triplet=printed", "--config.irfd.triplet=crossed"]
  assert common.current_flags(["--config.mesh.large", "5"]) == [
    "--config.mesh.min_shard_size",
    "5",
  ]


def test_a_switch_that_is_gone_is_refused_unless_it_was_off():
  words = ["--config.model.equalized=False", "--noconfig.model.equalized"]
  assert common.current_flags(words) == []
  assert "equalized" not in speak.get_config("demo,model.equalized=False").model
  with pytest.raises(ValueError, match=r"model\.equalized = True: .*leave it"):
    speak.get_config("demo,model.equalized=True")
