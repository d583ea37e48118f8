"""Steps that fit into some minutes."""

import pytest

from configs import speak, thpad
from speak_jax.tools.steps_within import scaled


def test_all_stages_keep_their_share_of_the_time():
  config = speak.get_config("base256")
  seconds = {"syncnet": 1.0, "irfd": 2.0, "speak": 4.0}
  minutes = 90.0
  values = scaled(config, seconds, minutes)
  took = sum(values[f"{x}.steps"] * seconds[x] for x in seconds)
  assert took == pytest.approx(60 * minutes, rel=0.01)
  share = values["irfd.steps"] / config.irfd.steps
  for key, value in values.items():
    section, *path = key.split(".")
    whole = config[section]
    for name in path:
      whole = whole[name]
    ends = value if isinstance(value, tuple) else (value,)
    wholes = whole if isinstance(whole, tuple) else (whole,)
    assert ends == pytest.approx([share * x for x in wholes], abs=1), key
  # Weights and rates rise between the same shares of the steps; how high does
  # not change.
  rises = {"speak.sync_ramp", "speak.gan_ramp", "irfd.gan_lead"}
  rises |= {"speak.optim.warmup", "irfd.discriminator.warmup"}
  assert rises <= set(values)
  assert not {"speak.r1_every", "speak.optim.lr"} & set(values)


def test_a_stage_is_never_without_a_step():
  config = speak.get_config("small64")
  values = scaled(config, dict.fromkeys(config.stages, 1.0), 0.01)
  assert {values[f"{x}.steps"] for x in config.stages} == {1}


def test_steps_of_noise_are_no_steps_of_training():
  config = thpad.get_config("small64")
  values = scaled(config, dict.fromkeys(config.stages, 1.0), 1.0)
  assert "thpad_prior.steps" in values
  assert "thpad_prior.noise_steps" not in values
