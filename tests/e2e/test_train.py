"""From no data to three stages and their report, as small as it gets."""

import inspect
import json
import os
import re
import signal
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import flags

from speak_jax import export
from speak_jax import train as command
from speak_jax.evaluation import protocol
from speak_jax.nn import precision
from speak_jax.stages.registry import STAGES
from speak_jax.tools.study import build as study
from speak_jax.training import (
  checkpoints,
  distributed,
  input_pipeline,
  loop,
  manifest,
  run_config,
)
from speak_jax.training.run import train
from speak_jax.training.state import TrainState, abstract_state
from speak_jax.training.step import update
from tests.e2e import reads
from tests.stages import small


def config(**changes):
  faces = dict(
    identities=2,
    held_out=2,
    clips=2,
    seconds=0.6,
    size=32,
    framing="tight",
    twins_every=5,
    workers=0,
  )
  settings = {f"data__synthetic__{k}": v for k, v in faces.items()}
  settings |= {"data__threads": 0, "train__first_save": 1}
  return small.config(**settings | changes)


@pytest.fixture(scope="module")
def seen():
  """What was read of configs."""
  return reads.Reads()


@pytest.fixture(scope="module")
def run(tmp_path_factory, seen):
  """A complete run of two steps a stage."""
  folder = tmp_path_factory.mktemp("run")
  with reads.recorded(seen):
    assert train(config(), folder, hooks=command.HOOKS) == 0
  return folder


def test_three_stages_leave_their_files(run):
  assert (run / "data" / "dataset_info.json").exists()
  for stage in ("syncnet", "irfd", "speak"):
    assert checkpoints.newest_verified_step(run, stage) == 2
    rows = (run / stage / "metrics.jsonl").read_text().splitlines()
    row = json.loads(rows[-1])
    assert row["step"] == 2
    assert all(np.isfinite(value) for value in row.values())
    assert list((run / stage / "samples").glob("*.png"))
  assert (run / "speak" / "samples" / "video_0000002.mp4").stat().st_size
  stored = run_config.read(run)
  # "auto" is a CPU's, and stays what it was wherever the run goes on.
  assert config().model.dtype == "auto"
  assert stored.model == precision.with_dtype(config(), "float32").model
  assert stored.stages == ("syncnet", "irfd", "speak")


UNTRAINED = TrainState(jnp.zeros((), jnp.int32), {}, {}, {}, {})
# Of config.train, what others than the loop read.
ELSEWHERE = (
  "compilation_cache",
  "loss_scale",
  "remat",
  "video_every",
  "video_seconds",
)
# Keys that only another choice reads, and the choice.
CHOICES = {
  "GAN": {
    "irfd__weights__gan": 0.1,
    "speak__weights__gan": 0.1,
    "speak__weights__features": 0.1,
  },
  "paper": {
    "syncnet__loss": "contrastive",
    "irfd__losses": "paper",
    "irfd__weights__swap_identity": 1.0,
  },
  # Without public weights a mel front end takes its place.
  "waveform": {"stages": ("speak",), "model__audio__front": "waveform"},
}


@pytest.mark.usefixtures("unchecked")
def test_every_leaf_of_the_config_is_read(run, seen, tmp_path, monkeypatch):
  """In the run above, or where a choice is another: then as far as traces."""

  def traced(job, batches, given, **kwargs):
    trace(job.stage)
    next(batches)
    return UNTRAINED, True

  def trace(stage):
    state = abstract_state(stage)
    key = jax.eval_shape(lambda: jax.random.key(0))
    for index in range(len(stage.phases)):
      jax.eval_shape(update(stage, index), state, stage.batch, key)

  monkeypatch.setattr(loop, "fit", traced)
  here = {"data__path": str(run / "data"), "init_from": str(run)}
  flags.FLAGS.mark_as_parsed()
  with reads.recorded(seen):
    for name, changes in CHOICES.items():
      assert train(config(**here | changes), tmp_path / name) == 0
    # Trained weights keep the waveform, and learn more slowly.
    heard = {"model__audio__front": "waveform", "model__audio__width": 32}
    trace(STAGES["speak"].make(config(**heard)))
    # What moves photographs stands by itself: tests/photograph trains it.
    trace(STAGES["motion"].make(config()))
    STAGES["motion"].sampler(config())
    # Several processes, before they meet.
    monkeypatch.setattr(distributed, "process_of_flags", lambda *words: "there")
    monkeypatch.setattr(distributed, "initialize", lambda process, **keys: None)
    command.join_processes(config())
  assert sorted(reads.leaves(config()) - seen.leaves) == []
  assert sorted(seen.defaults) == []


def test_what_is_handed_on_whole_is_used():
  """config.train and config.cluster are; reading all of one is not using it."""
  home = Path(loop.__file__).parent
  text = "".join(path.read_text() for path in home.glob("*.py"))
  plain = {k: v for k, v in config().train.items() if k not in ELSEWHERE}
  for key in plain:
    assert f"settings.{key}" in text, key
  initialize = inspect.getsource(distributed.initialize)
  body = initialize.split('"""')[2]
  for key in config().cluster:
    assert re.search(rf"= *{key}\b", body), key


def test_frozen_networks_are_the_earlier_stages(run):
  """SPEAK holds IRFD's averaged encoders and SyncNet's, bit for bit."""
  for stage, group in (("irfd", "encoders"), ("syncnet", "sync")):
    trained, _ = checkpoints.restore_params(run, stage, [group])
    frozen, _ = checkpoints.restore_params(run, "speak", [group])
    jax.tree.map(np.testing.assert_array_equal, trained, frozen)


def test_complete_stages_are_skipped(run, capsys, monkeypatch):
  """And each checkpoint is read and hashed once, to know that."""
  verified, fault = [], manifest.fault
  monkeypatch.setattr(
    manifest, "fault", lambda path: verified.append(path) or fault(path)
  )
  before = {p: p.stat().st_mtime_ns for p in run.rglob("metrics.jsonl")}
  assert train(config(), run) == 0
  assert "nothing to do" in capsys.readouterr().err
  assert before == {p: p.stat().st_mtime_ns for p in run.rglob("metrics.jsonl")}
  assert verified == [
    run / stage / "checkpoints" / "2" for stage in ("syncnet", "irfd", "speak")
  ]


def test_another_model_is_refused(run):
  with pytest.raises(ValueError, match=r"another model\.latent"):
    train(config(model__latent=9), run)


def test_signal_saves_and_the_stage_goes_on(run, tmp_path, monkeypatch):
  """SIGTERM in the first step: exit 42, a checkpoint, and on from there."""
  here = config(
    stages=("syncnet",),
    data__path=str(run / "data"),
    train__first_save=100,
  )
  fit = loop.fit

  def interrupted(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGTERM)
    return fit(*args, **kwargs)

  old = {
    number: signal.getsignal(number) for number in distributed.SIGNAL_CODES
  }
  try:
    with monkeypatch.context() as patch:
      patch.setattr(loop, "fit", interrupted)
      assert train(here, tmp_path) == 42
    assert checkpoints.newest_verified_step(tmp_path, "syncnet") == 1
    assert train(here, tmp_path) == 0
  finally:
    for number, handler in old.items():
      signal.signal(number, handler)
  want, _ = checkpoints.restore_params(run, "syncnet", ["sync"], ema=False)
  got, _ = checkpoints.restore_params(tmp_path, "syncnet", ["sync"], ema=False)
  jax.tree.map(np.testing.assert_array_equal, want, got)


def test_other_data_only_where_they_are_asked_for(run, tmp_path):
  """A checkpoint of one data set goes on with another, and then is of it."""
  here = dict(stages=("syncnet",), train__first_save=100)
  one = dict(here, data__path=str(run / "data"))
  assert train(config(**one), tmp_path / "run") == 0
  drawn = config(**here, seed=1, syncnet__steps=1)
  assert train(drawn, tmp_path / "drawn") == 0
  other = str(tmp_path / "drawn" / "data")
  on = dict(here, syncnet__steps=3, data__path=other)
  with pytest.raises(ValueError, match=r"other data; config\.data\.allow_ch"):
    train(config(**on), tmp_path / "run")
  assert checkpoints.newest_verified_step(tmp_path / "run", "syncnet") == 2
  # What is refused has written nothing.
  more = config(**one | {"syncnet__steps": 3, "syncnet__batch": 8})
  with pytest.raises(ValueError, match="and 8 are asked for"):
    train(more, tmp_path / "run")
  stored = run_config.read(tmp_path / "run")
  assert stored.data.path == one["data__path"]
  assert (stored.syncnet.batch, stored.syncnet.steps) == (2, 2)
  allowed = config(**on, data__allow_change=True)
  assert train(allowed, tmp_path / "run") == 0
  clips = input_pipeline.open_data(allowed, tmp_path)["train"]
  path = tmp_path / "run" / "syncnet" / "checkpoints" / "3"
  meta = checkpoints.ocp.load_checkpointables(str(path), {"meta": None})["meta"]
  assert meta["dataset"] == input_pipeline.fingerprint(clips, {})
  with pytest.raises(ValueError, match="other data"):
    train(config(**one | {"syncnet__steps": 4}), tmp_path / "run")


def test_missing_earlier_stage_is_named(run, tmp_path):
  alone = config(stages=("speak",), data__path=str(run / "data"))
  with pytest.raises(ValueError, match="stage speak needs irfd"):
    train(alone, tmp_path)


@pytest.fixture(scope="module")
def bundle(run, tmp_path_factory):
  """What the run exports, earlier stages with it."""
  out = tmp_path_factory.mktemp("export") / "bundle"
  return export.export(run, out, say=lambda text: None, evaluation=True)


@pytest.fixture
def begins(run, tmp_path, monkeypatch):
  """What stages would begin with, {stage: given}, were they trained."""
  found = {}

  def fit(job, batches, given, **kwargs):
    found[job.stage.name] = given
    return UNTRAINED, True

  monkeypatch.setattr(loop, "fit", fit)

  def begin(folder="new", **changes):
    settings = {"data__path": str(run / "data")} | changes
    found.clear()
    assert train(config(**settings), tmp_path / folder) == 0
    return found

  return begin


def test_every_stage_goes_on_from_a_run_or_its_bundle(run, bundle, begins):
  groups = {
    "syncnet": {"sync"},
    "irfd": {"encoders", "decoder"},
    "speak": {"encoders", "sync", "speak"},
  }
  for source, stages in ((run, ("irfd",)), (bundle, tuple(groups))):
    found = begins(source.name, finetune_from=str(source), stages=stages)
    assert {x: set(given) for x, given in found.items()} == {
      x: groups[x] for x in stages
    }
    for stage, given in found.items():
      want, _ = checkpoints.restore_params(run, stage, sorted(given))
      got = {group: params for group, (params, _) in given.items()}
      jax.tree.map(np.testing.assert_array_equal, want, got)


def test_what_a_run_trained_itself_comes_first(
  run, bundle, begins, tmp_path, capsys
):
  """Encoders of its own IRFD; G_g is the bundle's, and not warmed up again."""
  (tmp_path / "new").mkdir()
  (tmp_path / "new" / "irfd").symlink_to(run / "irfd")
  given = begins(finetune_from=str(bundle), stages=("irfd", "speak"))["speak"]
  said = capsys.readouterr().err
  assert f"speak: encoders from {tmp_path / 'new'}/irfd" in said
  assert f"speak: speak from {bundle}" in said
  assert "speak: decoder" not in said and "decoder" not in given
  stage = STAGES["speak"].make(config())
  params, _ = small.parameters(stage, given=given)
  jax.tree.map(
    np.testing.assert_array_equal, params["speak"], given["speak"][0]
  )


def test_a_model_that_is_no_start_is_one_line(run, bundle, begins, tmp_path):
  bare = export.export(run, tmp_path / "bare", say=lambda text: None)
  for source, other, line in (
    (bare, {}, "bare: has nothing of stage syncnet; .* --evaluation"),
    (bundle, {"model__latent": 9}, "its decoder have other sizes .* see .'"),
    (tmp_path / "no", {}, "not a run"),
  ):
    changes = {"stages": ("syncnet", "irfd"), "finetune_from": str(source)}
    with pytest.raises(ValueError, match=line) as caught:
      begins(f"from_{source.name}", **changes, **other)
    assert "\n" not in str(caught.value)
  # Speaking needs no SyncNet where no loss asks for it.
  alone = {"stages": ("speak",), "finetune_from": str(bare)}
  with pytest.raises(ValueError, match="stage speak needs syncnet"):
    begins(**alone)
  assert "speak" in begins(**alone, speak__weights__sync=0.0)


def test_a_run_and_its_bundle_are_evaluated(run, bundle, tmp_path):
  """Swaps, a table of two systems, and a study of their clips."""
  alone = protocol.Plan({"speak": run}, clips=2, seed=0, swap=True)
  found = protocol.evaluate(alone, "", tmp_path / "report").metrics
  for figure in (
    "speak/psnr",
    "speak/static_psnr",
    "speak/sync_confidence",
    "syncnet/two_way",
    "irfd/psnr",
    "swap/pose/pose/toward",
    "twins/psnr/both",
    "probe/pose_from_pose",
    "audio/silent/mouth",
  ):
    assert np.isfinite(found[figure]), figure
  page = (tmp_path / "report" / "report.html").read_text()
  assert "<h2>Training</h2>" in page
  alike = protocol.Plan({"speak": bundle}, clips=2, seed=0)
  measured = protocol.evaluate(alike, str(run / "data"), tmp_path / "again")
  # The bundle brings what the earlier stages learned.
  for figure in ("irfd/psnr", "irfd/code_std/mouth", "speak/sync_confidence"):
    assert measured.metrics[figure] == pytest.approx(found[figure], abs=0.1)
  both = protocol.Plan({"run": run, "bundle": bundle}, clips=2, seed=0)
  made = protocol.tabulate(both, "1", str(run / "data"), tmp_path / "tables")
  ours = {row.method: row.values for row in made[0].rows}
  # The bundle holds the same weights.
  assert ours["bundle"]["psnr"].value == pytest.approx(
    ours["run"]["psnr"].value, abs=0.1
  )
  clips = study.find_videos([str(tmp_path / "tables" / "videos")])
  rated = study.build(
    {name: clips[name] for name in ("run", "bundle", "ground-truth")},
    tmp_path / "study",
    seed=0,
    limit=0,
    embed_mb=20,
  )
  assert rated.page.stat().st_size


@pytest.mark.parametrize(
  ("changes", "named"),
  [
    ({"stages": ("speek",)}, "'speek' is not one of syncnet"),
    ({"irfd__losses": "none"}, "irfd.losses"),
    ({"irfd__microbatch": 0}, r"config\.irfd\.microbatch = 0 is not a whole"),
    ({"model__frames": 4}, "model.frames"),
    ({"mesh__model": 7}, "config.mesh"),
    (
      {"train__log_every": 0},
      r"config\.train\.log_every = 0 is not a whole number from 1 on",
    ),
    ({"train__keep": 0}, r"config\.train\.keep"),
    (
      {"train__limit_data": -1.0},
      r"train\.limit_data = -1\.0 is not a number from 0",
    ),
    ({"irfd__steps": 0}, r"config\.irfd\.steps = 0"),
    ({"speak__r1_every": 0}, r"config\.speak\.r1_every"),
    ({"data__max_bad": -0.5}, r"config\.data\.max_bad"),
  ],
)
def test_wrong_config_is_one_line(changes, named, tmp_path):
  with pytest.raises(ValueError, match=named) as caught:
    train(config(**changes), tmp_path / "run")
  assert "\n" not in str(caught.value)
  assert not (tmp_path / "run").exists()


def test_unusable_data_is_one_line(run, tmp_path):
  with pytest.raises(input_pipeline.DataError, match="nowhere"):
    train(config(data__path=str(tmp_path / "nowhere")), tmp_path / "a")
  with pytest.raises(input_pipeline.DataError, match=r"frames/s"):
    train(
      config(data__path=str(run / "data"), data__fps=50.0, model__frames=10),
      tmp_path / "b",
    )
