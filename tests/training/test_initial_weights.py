"""Which speech encoder a run has, before anything is built."""

import json

import pytest

from configs.speak import get_config
from speak_jax.nn import precision
from speak_jax.stages.init import networks
from speak_jax.stages.registry import STAGES
from speak_jax.training import checkpoints, initial_weights, run_config

SPEECH = "pretrained.speech=wav2vec2.safetensors"
VGG = "pretrained.vgg=vgg19.pth"


def resolved(arg: str, folder, said=None):
  said = [] if said is None else said
  saved = checkpoints.newest_verified_steps(folder, STAGES)
  return initial_weights.with_speech(
    get_config(arg), folder, saved, said.append
  )


def with_dtype(config, run):
  saved = checkpoints.newest_verified_steps(run, STAGES)
  return initial_weights.with_dtype(config, run, saved)


def check_model(config, run):
  saved = checkpoints.newest_verified_steps(run, STAGES)
  run_config.check_model(config, run, saved)


@pytest.mark.parametrize("stored", ["float32", "bfloat16", "float16"])
def test_a_run_keeps_the_type_that_it_began_with(tmp_path, stored):
  config = get_config("demo")
  assert with_dtype(config, tmp_path / "new").model.dtype == "float32"
  begun = precision.with_dtype(config, stored)
  run = trained_run(tmp_path / "run", begun)
  assert with_dtype(config, run) == begun
  # What is asked for in words is never exchanged silently.
  wanted = precision.with_dtype(config, "bfloat16")
  assert with_dtype(wanted, run) == wanted
  with pytest.raises(ValueError, match="'half' is not one of auto, float32"):
    with_dtype(precision.with_dtype(config, "half"), run)


def test_a_start_without_a_checkpoint_binds_nothing(tmp_path):
  """It may have ended at its data, on a machine of another best type."""
  config = get_config("demo")
  begun = precision.with_dtype(config, "bfloat16")
  (tmp_path / "config.json").write_text(
    json.dumps({"config": begun.to_dict()}), encoding="utf-8"
  )
  found = with_dtype(config, tmp_path)
  assert found.model.dtype == "float32"
  check_model(found, tmp_path)
  run_config.write(found, tmp_path)
  assert run_config.read(tmp_path).model == found.model
  trained_run(tmp_path, begun, "syncnet")
  assert with_dtype(config, tmp_path) == begun
  with pytest.raises(ValueError, match=r"another model\.dtype"):
    check_model(found, tmp_path)


def trained_run(folder, config, stage="speak"):
  """A run that has come to a checkpoint of a stage."""
  (folder / stage / "checkpoints" / "3").mkdir(parents=True)
  text = json.dumps({"config": config.to_dict()})
  (folder / "config.json").write_text(text)
  return folder


def test_no_wav2vec_starts_from_random_weights(tmp_path):
  said = []
  config = resolved("base256", tmp_path, said)
  audio = config.model.audio
  assert (audio.front, audio.width, audio.layers) == ("mel", 256, 4)
  assert audio.out == get_config("base256").model.audio.out
  assert len(said) == 1 and "\n" not in said[0]
  assert "config.pretrained.speech" in said[0] and "mel front" in said[0]
  # Whatever reads the run, and the same command again, have the same.
  run = trained_run(tmp_path / "run", config)
  assert run_config.read(run).model == config.model
  assert resolved("base256", run).model == config.model
  assert networks(config).speak.front == "mel"


def test_public_weights_keep_the_front_and_its_convolutions(tmp_path):
  said = []
  config = resolved(f"base256,{SPEECH}", tmp_path, said)
  assert config.model.audio == get_config("base256").model.audio
  assert networks(config).speak.freeze_features
  assert not said
  # A run that has learned goes on as it is, without the file.
  run = trained_run(tmp_path / "run", config)
  again = resolved("base256", run, said)
  assert again.model == config.model and not said
  assert networks(again).speak.freeze_features


@pytest.mark.parametrize("key", ["finetune_from", "itself"])
@pytest.mark.parametrize("old", [False, True])
def test_what_goes_on_from_public_speech_keeps_it_fixed(tmp_path, key, old):
  config = get_config(f"base256,{SPEECH}")
  if not old:
    config = initial_weights.with_speech(config, tmp_path, {}, print)
  stored = config.to_dict()
  if old:  # of before there was such a key
    del stored["speak"]["convolutions"]
  run = trained_run(tmp_path / "run", run_config.from_json(stored))
  if key == "itself":
    found = resolved("base256", run)
  else:
    found = resolved(f"base256,finetune_from={run}", tmp_path / "new")
  assert found.model.audio.front == "waveform"
  assert networks(found).speak.freeze_features
  # Unless it is asked for.
  free = f"base256,speak.convolutions=trained,finetune_from={run}"
  assert not networks(resolved(free, tmp_path)).speak.freeze_features


def test_a_run_goes_on_from_a_mel_front(tmp_path):
  run = trained_run(tmp_path / "run", resolved("base256", tmp_path))
  found = resolved(f"base256,finetune_from={run}", tmp_path / "new")
  assert found.model.audio.front == "mel"


def test_paper_does_not_start_without_public_speech(tmp_path):
  with pytest.raises(ValueError, match=r"config\.pretrained\.speech") as error:
    resolved("paper", tmp_path)
  assert "\n" not in str(error.value)
  config = resolved(f"paper,{SPEECH},{VGG}", tmp_path)
  assert config.model.audio.front == "waveform"
  run = trained_run(tmp_path / "run", config)
  assert resolved(f"paper,{VGG}", run).model.audio.front == "waveform"


@pytest.mark.parametrize(
  ("arg", "lacks"),
  [
    ("stages=('syncnet','irfd')", ()),
    ("stages=('irfd',)", ()),
    ("stages=('speak',)", ("speech", "vgg")),
    (f"stages=('speak',),{SPEECH}", ("vgg",)),
    (f"speak.weights.perceptual=0.0,{SPEECH}", ()),
  ],
)
def test_only_what_a_stage_starts_from_is_required(tmp_path, arg, lacks):
  if not lacks:
    resolved(f"paper,{arg}", tmp_path)
    return
  with pytest.raises(ValueError, match="needs public weights") as error:
    resolved(f"paper,{arg}", tmp_path)
  for name in ("speech", "vgg"):
    assert (f"config.pretrained.{name}" in str(error.value)) == (name in lacks)


def test_earlier_stages_have_no_speech_encoder(tmp_path):
  alone = "base256,stages=('syncnet','irfd')"
  assert resolved(alone, tmp_path).model == get_config("base256").model


def test_an_unknown_word_is_named(tmp_path):
  with pytest.raises(ValueError, match="'free' is not auto"):
    resolved("base256,speak.convolutions=free", tmp_path)
