"""A stage more is one file and one row: a toy is trained by the real command.

It learns a colour for the frames of a clip, from SPEAK's batches.
"""

import ast
import json
from pathlib import Path

import jax.numpy as jnp
import pytest
from ml_collections import ConfigDict

from speak_jax.nn.pixels import as_bytes, as_frames
from speak_jax.stages import batch_shapes, optimizers, registry, speak
from speak_jax.stages.base import LossOut, Phase, Row, Stage
from speak_jax.training import checkpoints, input_pipeline, run_config, weights
from speak_jax.training.run import train
from tests.stages import small


def make(config):
  settings = config.toy

  def init(seed, earlier):
    group = earlier.get("toy", ({"colour": jnp.zeros(3)}, {}))
    return {"toy": group[0]}, {"toy": group[1]}

  def loss(params, collections, batch, step, key):
    error = as_frames(batch.frames) - params["toy"]["colour"]
    return LossOut((error**2).mean(), {"l1": jnp.abs(error).mean()}, {})

  def sample_grids(params, collections, batch):
    drawn = jnp.broadcast_to(params["toy"]["colour"], batch.frames.shape)
    return {"colours": as_bytes(drawn)}

  return Stage(
    name="toy",
    init=init,
    pretrained_from={},
    optims={"toy": optimizers.adam(("toy",), settings.optim, settings.steps)},
    phases=(Phase("fit", "toy", loss),),
    ema_groups=("toy",),
    ema_decay=settings.optim.ema,
    batch=batch_shapes.clips(config, settings.batch, 1),
    microbatch=settings.microbatch,
    sample_grids=sample_grids,
    weights={"colour": 1.0},
    notes=("learns a colour",),
  )


def config():
  whole = small.config(
    stages=("toy",),
    data__threads=0,
    data__synthetic__identities=2,
    data__synthetic__held_out=1,
    data__synthetic__clips=1,
    data__synthetic__seconds=0.6,
    data__synthetic__size=32,
    data__synthetic__twins_every=0,
    data__synthetic__workers=0,
    train__first_save=1,
  )
  with whole.unlocked():
    optim = whole.speak.optim.to_dict()
    whole.toy = ConfigDict(dict(steps=3, batch=2, microbatch=2, optim=optim))
  return whole


def test_a_fourth_stage_is_one_file_and_one_row(tmp_path, monkeypatch, capsys):
  row = Row(make, ("toy",), speak.sampler)
  stages = {**speak.TRAINING.stages, "toy": row}
  more = speak.TRAINING._replace(stages=stages)
  monkeypatch.setattr(speak, "TRAINING", more)
  assert train(config(), tmp_path) == 0
  assert "toy: learns a colour" in capsys.readouterr().err
  assert checkpoints.newest_verified_step(tmp_path, "toy") == 3
  rows = (tmp_path / "toy" / "metrics.jsonl").read_text().splitlines()
  assert json.loads(rows[-1])["fit/l1"] > 0
  assert list((tmp_path / "toy" / "samples").glob("*.png"))
  stored = run_config.read(tmp_path)
  learned = weights.of_stage(tmp_path, stored, "toy")["toy"]["params"]
  assert abs(learned["colour"]).max() > 0


def test_names_of_stages_are_one_for_all_methods():
  assert len(set(registry.STAGES)) == len(registry.STAGES)
  with pytest.raises(ValueError, match="'nobody' is not one of speak"):
    registry.training("nobody")
  with pytest.raises(KeyError):
    registry.STAGES["nobody's"]


def _branches(name):
  """Comparisons with a name, outside of the files that are called after it."""
  package = Path(registry.__file__).parents[1]
  for path in package.rglob("*.py"):
    if path.stem != name:
      for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Compare):
          words = {
            x.value for x in ast.walk(node) if isinstance(x, ast.Constant)
          }
          if name in words:
            yield f"{path.relative_to(package)}:{node.lineno}"


@pytest.mark.parametrize("name", registry.METHODS)
def test_no_file_asks_for_a_method_by_name(name):
  """But for the group of parameters that is called "speak"."""
  known = {"bench/networks.py"} if name == registry.SPEAKING else set()
  assert {x.split(":")[0] for x in _branches(name)} == known


@pytest.mark.parametrize("name", small.STAGES)
def test_samplers_are_those_that_there_are(name):
  sampler = registry.STAGES[name].sampler(small.config())
  assert callable(input_pipeline.sampler_named(sampler.name))


def test_earlier_stages_come_before_the_one_that_speaks():
  assert registry.earlier() == ("syncnet", "irfd")
