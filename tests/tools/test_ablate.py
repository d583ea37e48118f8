"""Ablations: the rows, what is run of them, and the table. Nothing trains."""

import json
import os
import signal
import threading

import pytest
from absl import flags
from ml_collections import config_flags

from configs import ablations, common, speak
from speak_jax.evaluation.metric_table import MetricValue
from speak_jax.evaluation.report import published
from speak_jax.evaluation.report.paper_tables import ABLATIONS
from speak_jax.stages.registry import STAGES
from speak_jax.tools.ablate import plan, run, table
from speak_jax.training import run as training
from speak_jax.training import run_config
from tests.stages import small

DEVICES = 3  # that share a batch: the demo's do not divide
OVERRIDES = {"seed": 3, "irfd.pairs": "self", "model.maps": (8,)}


@pytest.fixture
def base():
  config = common.override(speak.get_config("demo"), OVERRIDES)
  return plan.Base(config, "configs/speak.py:demo", OVERRIDES)


# --- rows ------------------------------------------------------------------


def test_rows_have_names_of_their_own_and_the_papers_are_all_there():
  assert next(iter(plan.ROWS)) == "full"
  assert len(plan.ROWS) == 1 + sum(map(len, ablations.GROUPS.values()))
  for group, ablation in ABLATIONS.items():
    assert ["full", *ablations.GROUPS[group]] == list(ablation.rows)
  metrics = {column.metric for column in table.COLUMNS}
  for name, row in plan.ROWS.items():
    assert set(table.expected(name)) <= metrics
    assert bool(row.expects) == bool(row.source)


@pytest.mark.parametrize("preset", ["demo", "small64"])
@pytest.mark.parametrize("name", plan.ROWS)
def test_row_is_a_config_of_which_its_stages_can_be_made(name, preset):
  row = plan.ROWS[name]
  config = speak.get_config(preset)
  changed = plan.overridden(config, row.overrides)
  # No key is new, and each value is of its key's type.
  assert changed == common.override(config, row.overrides)
  for stage in row.stages:
    STAGES[stage].make(changed)


def touched(key):
  """Stages that a key reaches: its own, and those that build on it."""
  first = {"irfd": "irfd", "model": "irfd", "speak": "speak"}
  order = ("syncnet", "irfd", "speak")
  return order[order.index(first.get(key.split(".")[0], "syncnet")) :]


def test_rows_share_the_stages_that_no_override_touches():
  for name, row in plan.ROWS.items():
    if name != "full":
      longest = max(map(touched, row.overrides), key=len)
      assert row.stages == longest, name
      # SyncNet judges every row, so it is one for all.
      assert "syncnet" not in row.stages, name


def test_swapped_keys_of_the_model_do_not_reach_syncnet():
  one, *others = (
    STAGES["syncnet"].make(
      plan.overridden(speak.get_config("demo"), row.overrides)
    )
    for row in plan.ROWS.values()
  )
  assert all(stage.batch == one.batch for stage in others)


# --- jobs ------------------------------------------------------------------


def test_job_shares_full_and_has_its_budget(base, tmp_path):
  jobs = plan.plan(base, "data", tmp_path, 24)
  full, job = jobs["full"], jobs["losses/no_sync"]
  assert full.config.init_from == ""
  assert job.config.init_from == str(full.run)
  assert job.config.stages == ("speak",)
  assert job.config.data.path == os.path.abspath("data")
  for stage in small.STAGES:
    assert job.config[stage].steps == base.config[stage].steps
  assert job.config.seed == 3
  assert job.config.speak.weights.sync == 0


def test_named_data_sets_keep_their_names(base, tmp_path):
  job = plan.plan(base, "mead=m,/d/vox2", tmp_path, 24)["full"]
  path = f"mead={os.path.abspath('m')},/d/vox2"
  assert job.config.data.path == path
  assert f"--data={path}" in job.measure


# How config_flags loads a config file.
@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
def test_train_reads_the_jobs_config_from_its_flags(base, tmp_path):
  for job in plan.plan(base, "data", tmp_path, 24).values():
    found = flags.FlagValues()
    args = ["train", *job.train[2:-1]]
    config_flags.DEFINE_config_file(
      "config", None, "", flag_values=found, sys_argv=args
    )
    assert found(args) == ["train"]
    assert found.config == job.config, job.name


def test_row_that_changes_nothing_is_left_out(base, tmp_path):
  jobs = plan.plan(base, "data", tmp_path, 24)
  # The demo has neither a discriminator nor swaps without a ground truth.
  assert not {"losses/no_gan", "losses/no_pose", "ours/pairs_self"} & set(jobs)
  assert {"ours/gan", "3/no_pose", "ours/pairs_swap_cycle"} <= set(jobs)


@pytest.mark.parametrize("preset", ["base256", "small64", "demo"])
def test_robust_presets_have_no_swap_terms_to_leave_out(preset, tmp_path):
  base = plan.Base(speak.get_config(preset), "configs/speak.py", {})
  left = set(plan.ROWS) - set(plan.plan(base, "data", tmp_path, 24))
  none = {f"losses/no_{x}" for x in ("identity", "pose", "emotion")}
  assert none <= left
  if preset == "base256":
    assert left == none


def test_names_are_chosen_with_or_without_their_group():
  assert plan.chosen("all", "") == list(plan.ROWS)
  assert plan.chosen("3", "")[1:] == [f"3/{x}" for x in ablations.GROUPS["3"]]
  both = ["full", "3/no_pose", "losses/no_pose"]
  assert plan.chosen("all", "no_pose") == both
  assert plan.chosen("all", "3/no_pose, full") == both[:2]
  assert plan.chosen("losses", "no_pose") == ["full", "losses/no_pose"]
  with pytest.raises(ValueError, match="no row 'no_maps' among full, 3/no_id"):
    plan.chosen("3", "no_maps")


# --- running ---------------------------------------------------------------


class Toy(run.Commands):
  """Commands that leave behind what the real ones would."""

  def __init__(self, jobs, fails=(), stops=""):
    super().__init__()
    self.jobs, self.fails, self.stops = jobs, fails, stops
    self.ran = []

  def __call__(self, command, log):
    job = next(x for x in self.jobs.values() if x.log == log)
    what = command[1].split(".")[1]
    self.ran.append((what, job.name))
    log.parent.mkdir(parents=True, exist_ok=True)
    if job.name in self.fails:
      log.write_text("...\ntrain: step 7 is not finite\n")
      return 66
    if job.name == self.stops:
      self.code = 130
      return 130
    if what == "train":
      config = training.resolved(job.config, job.run)
      config, _ = training.fitted(
        config, job.run, {}, DEVICES, lambda line: None
      )
      run_config.write(config, job.run)
      for stage in job.row.stages:
        steps = job.config[stage].steps
        (job.run / stage / "checkpoints" / str(steps)).mkdir(parents=True)
    else:
      job.report.mkdir(parents=True, exist_ok=True)
      figures = metrics(20 + len(self.ran))
      (job.report / "metrics.json").write_text(json.dumps(figures))
    return 0


def metrics(psnr):
  """A metrics.json with one figure of each kind."""
  values = {
    "speak/psnr": psnr,
    "speak/static_psnr": 19.0,
    "speak/true_psnr": 100.0,
    "irfd/pose_moved": 0.5,
  }
  return {
    f"{name}{end}": value + change
    for name, value in values.items()
    for end, change in (("", 0.0), ("/low", -0.1), ("/high", 0.1))
  } | {"meta/data": "toy"}


@pytest.fixture
def jobs(base, tmp_path, monkeypatch):
  def latest(run, stage):
    folders = (run / stage / "checkpoints").glob("*")
    return max((int(x.name) for x in folders), default=None)

  monkeypatch.setattr(run.checkpoints, "newest_verified_step", latest)
  return plan.plan(base, "data", tmp_path, 24)


NAMES = ("full", "3/no_pose", "losses/no_gan", "losses/no_sync")
WITHOUT_GAN = (
  "left out, the config has speak.weights.gan = 0.0, speak.weights.features ="
  " 0.0 already"
)


def test_second_call_does_only_what_is_missing(jobs, tmp_path, capsys):
  call = Toy(jobs)
  assert run.ablate(jobs, NAMES[:2], tmp_path, call) == 0
  assert call.ran == [
    (what, name) for name in NAMES[:2] for what in ("train", "evaluate")
  ]
  capsys.readouterr()
  call = Toy(jobs)
  assert run.ablate(jobs, NAMES, tmp_path, call) == 0
  assert call.ran == [
    ("train", "losses/no_sync"), ("evaluate", "losses/no_sync")
  ]  # fmt: skip
  lines = capsys.readouterr().err.splitlines()
  told = [line for line in lines if line.startswith("ablate: ")]
  assert told[:4] == [
    "ablate: full: complete, 0.0 minutes",
    "ablate: 3/no_pose: complete, 0.0 minutes",
    f"ablate: losses/no_gan: {WITHOUT_GAN}",
    "ablate: losses/no_sync: trained speak, measured, 0.0 minutes",
  ]
  # Rows of earlier calls are still in the table.
  call = Toy(jobs)
  assert run.ablate(jobs, ["full"], tmp_path, call) == 0
  assert not call.ran
  stored = json.loads((tmp_path / "table.json").read_text())
  assert [row["method"] for row in stored["rows"]] == [
    "full",
    "3/no_pose",
    "losses/no_sync",
    "static first frame",
    "ground truth",
  ]
  notes = json.dumps(stored["notes"])
  assert f"losses/no_gan: {WITHOUT_GAN}." in notes
  assert "losses/no_pose: left out" in notes  # not asked for, not run either
  assert "losses/no_cls" not in notes  # would change something


def test_report_is_made_anew_if_it_is_older_or_was_asked_for_otherwise(
  base, jobs, tmp_path
):
  run.ablate(jobs, NAMES, tmp_path, Toy(jobs))
  speaks = jobs["3/no_pose"].run / "speak" / "checkpoints"
  late = (jobs["3/no_pose"].report / "metrics.json").stat().st_mtime + 9
  os.utime(next(speaks.iterdir()), (late, late))
  call = Toy(jobs)
  run.ablate(jobs, NAMES, tmp_path, call)
  assert call.ran == [("evaluate", "3/no_pose")]
  more = plan.plan(base, "data", tmp_path, 48)
  call = Toy(more)
  run.ablate(more, ["full"], tmp_path, call)
  assert call.ran == [("evaluate", "full")]
  # What was measured on other clips is not in the same table.
  assert "no_sync" not in (tmp_path / "table.md").read_text()


def test_failing_row_is_named_and_the_others_run(jobs, tmp_path, capsys):
  call = Toy(jobs, fails=["3/no_pose"])
  assert run.ablate(jobs, NAMES, tmp_path, call) == 66
  assert ("evaluate", "losses/no_sync") in call.ran
  told = capsys.readouterr().err
  why = "exit code 66: train: step 7 is not finite"
  assert f"3/no_pose: failed after 0.0 minutes, {why}" in told
  assert "without figures: 3/no_pose\n" in told
  assert (
    f"- 3/no_pose: no figures, {why}" in (tmp_path / "table.md").read_text()
  )


def test_nothing_is_run_without_full(jobs, tmp_path):
  call = Toy(jobs, fails=["full"])
  assert run.ablate(jobs, NAMES, tmp_path, call) == 66
  assert call.ran == [("train", "full")]


def test_a_stop_leaves_the_rest_for_the_next_call(jobs, tmp_path, capsys):
  call = Toy(jobs, stops="3/no_pose")
  assert run.ablate(jobs, NAMES, tmp_path, call) == 130
  assert call.ran[-1] == ("train", "3/no_pose")
  assert "the same command goes on" in capsys.readouterr().err
  call = Toy(jobs)
  assert run.ablate(jobs, NAMES, tmp_path, call) == 0
  assert call.ran[0] == ("train", "3/no_pose")


def test_folder_of_another_experiment_is_refused(base, jobs, tmp_path):
  run.ablate(jobs, ["full"], tmp_path, Toy(jobs))
  base.config.unlock()
  base.config.mesh.cpu_devices = 2  # how, not what
  base.config.data.workers = 0
  plan.plan(base, "data", tmp_path, 24)
  base.config.irfd.batch += DEVICES
  with pytest.raises(ValueError, match=r"full: .* another irfd\.batch; choose"):
    plan.plan(base, "data", tmp_path, 24)
  base.config.irfd.batch -= DEVICES
  base.config.speak.convolutions = "fixed"
  with pytest.raises(ValueError, match=r"another speak\.convolutions"):
    plan.plan(base, "data", tmp_path, 24)
  base.config.speak.convolutions = "auto"
  base.config.irfd.steps = 7
  with pytest.raises(ValueError, match=r"full: .* another irfd\.steps; choose"):
    plan.plan(base, "data", tmp_path, 24)


def test_a_run_is_compared_as_train_writes_it(base, jobs, tmp_path):
  """Resolved by what it has and by its devices, of which plan takes none."""
  run.ablate(jobs, NAMES, tmp_path, Toy(jobs))
  stored = run_config.read(jobs["full"].run)
  for key in ("model.dtype", "speak.convolutions", "irfd.batch"):
    old, new = stored, jobs["full"].config
    for word in key.split("."):
      old, new = old[word], new[word]
    assert old != new, key
  again = plan.plan(base, "data", tmp_path, 24)
  call = Toy(again)
  assert run.ablate(again, NAMES, tmp_path, call) == 0
  assert not call.ran


def test_signal_is_handed_on_once_and_nothing_follows(tmp_path):
  before = {number: signal.getsignal(number) for number in run.SIGNAL_CODES}
  call = run.Commands()
  ready = tmp_path / "ready"
  code = (
    "import pathlib, signal, time\n"
    "signal.signal(signal.SIGINT, lambda *_: (print('asked'), exit(7)))\n"
    f"pathlib.Path({str(ready)!r}).touch()\n"
    "time.sleep(60)\n"
  )

  def press():
    while not ready.exists():
      threading.Event().wait(0.02)
    os.kill(os.getpid(), signal.SIGINT)

  try:
    call.install()
    threading.Thread(target=press, daemon=True).start()
    assert call(("-c", code), tmp_path / "logs" / "row.log") == 7
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)
  assert call.code == 130
  assert call(("-c", "print('more')"), tmp_path / "logs" / "row.log") == 130
  told = (tmp_path / "logs" / "row.log").read_text().splitlines()
  assert told[-1] == "asked"


# --- the table -------------------------------------------------------------


@pytest.mark.parametrize(
  ("value", "sign", "said"),
  [
    (1.0, -1, "agrees"),
    (1.0, 1, "does not"),
    (1.0, 0, ""),
    (1.9, -1, "within noise"),
    (3.0, 1, "agrees"),
    (float("nan"), 1, "within noise"),
  ],
)
def test_verdict_is_the_sign_unless_intervals_overlap(value, sign, said):
  row = MetricValue(value, value - 0.2, value + 0.2)
  assert table.verdict(row, MetricValue(2.0, 1.8, 2.2), sign) == said


def test_table_has_changes_signs_and_references():
  made = table.ablation_table(
    {
      "full": metrics(25.0),
      "losses/no_sync": metrics(24.0),
      "3/no_pose": metrics(26.0),
      "ours/pairs_twins": metrics(25.05),
    }
  )
  rows = {row.method: row for row in made.rows}
  assert not rows["full"].marks
  # Published: 29.31 with L_sync, 28.41 without.
  assert rows["losses/no_sync"].marks == {
    "speak/psnr": "-1.00, - expected: agrees"
  }
  assert rows["3/no_pose"].marks["speak/psnr"] == "+1.00, - expected: does not"
  assert rows["ours/pairs_twins"].marks == {
    "speak/psnr": "+0.05, within noise",
    "irfd/pose_moved": "+0.00, + expected: within noise",
  }
  # no_sync has full's IRFD, the references have none.
  assert "irfd/pose_moved" not in rows["losses/no_sync"].values
  assert rows["static first frame"].values == {
    "speak/psnr": pytest.approx(MetricValue(19.0, 18.9, 19.1), nan_ok=True)
  }
  assert rows["ground truth"].values["speak/psnr"].value == 100
  notes = "\n".join(made.notes)
  assert "losses/no_sync: without L_sync" in notes
  assert "speak.weights.sync = 0.0" in notes


def test_expected_signs_are_the_published_ones():
  theirs = published.change(published.ENCODERS, "no_pose")
  found = table.expected("3/no_pose")
  assert found["speak/f_lmd"] == 1 and theirs["f_lmd"] > 0
  assert found["speak/sync_confidence"] == -1 and theirs["sync_c"] < 0
  # The same name in the other group is another row.
  assert table.expected("losses/no_emotion")["speak/m_lmd"] == -1
  assert table.expected("3/no_emotion")["speak/m_lmd"] == 1
