"""launch/table1.sh trains all systems alike, where python only notes."""

import pytest

from speak_jax.stages.registry import METHODS
from tests.launch.scripts import calls, noting


@pytest.fixture
def table1(tmp_path):
  return noting("table1.sh", tmp_path)


def modules(made):
  return [words[1].rpartition(".")[2] for words in made]


def test_every_method_is_trained_on_the_same_records_for_the_same_time(
  tmp_path, table1
):
  out = tmp_path / "out"
  run = table1("--out", str(out), "--minutes", "7", GRID="")
  assert run.returncode == 0 and run.stderr == ""
  made = calls(tmp_path)
  assert modules(made) == [
    "prepare",
    *["steps_within", "train"] * len(METHODS),
    "evaluate",
    "study",
  ]
  configs, folders = [], []
  for timed, trained in zip(made[1:-2:2], made[2:-2:2], strict=True):
    assert timed[timed.index("--minutes") + 1] == "7"
    assert f"--config.data.path={out}/drawn/data" in timed
    assert f"--config.data.path={out}/drawn/data" in trained
    configs.append(trained[trained.index("--config") + 1])
    assert timed[timed.index("--config") + 1] == configs[-1]
    folders.append(trained[trained.index("--workdir") + 1])
  assert sorted(configs) == sorted(f"configs/{x}.py:small64" for x in METHODS)
  # Each run has a row at least.
  models = made[-2][made[-2].index("--models") + 1]
  rows = dict(row.split("=") for row in models.split(","))
  assert rows.pop("reference") == "speak_jax/assets/reference"
  assert {row.partition("@")[0] for row in rows.values()} == set(folders)


def test_steps_are_counted_once_and_reports_train_nothing(tmp_path, table1):
  out = tmp_path / "out"
  table1("--out", str(out), GRID="")
  (out / "drawn" / "speak.steps").write_text("--config.irfd.steps=3\n")
  (tmp_path / "calls").unlink()
  table1("--out", str(out), GRID="")
  made = calls(tmp_path)
  assert "steps_within" not in modules(made)
  assert [x for x in made if "--config.irfd.steps=3" in x] == [made[1]]
  (tmp_path / "calls").unlink()
  table1("--out", str(out), "--report", GRID="")
  assert modules(calls(tmp_path)) == ["prepare", "evaluate", "study"]


def test_recordings_give_a_second_table(tmp_path, table1):
  (tmp_path / "grid" / "s1").mkdir(parents=True)
  out = tmp_path / "out"
  run = table1("--out", str(out), "--report", "--grid", "grid", GRID="")
  assert run.returncode == 0
  made = calls(tmp_path)
  assert modules(made) == ["prepare", "evaluate", "study"] * 2
  assert made[3][-2:] == ["--speech", str(tmp_path / "grid")]
  measured = [call[call.index("--data") + 1] for call in (made[1], made[4])]
  assert measured == [f"{out}/drawn/data", f"{out}/grid/data/recorded"]
  (tmp_path / "calls").unlink()
  table1("--out", str(out), "--grid", "grid", GRID="")
  learned = f"--config.data.path={out}/grid/data/recorded,{out}/drawn/data"
  trained = [learned in call for call in calls(tmp_path)]
  assert sum(trained) == 2 * len(METHODS)  # their steps are counted with it too


def test_grid_that_is_not_there_is_told_before_all_work(tmp_path, table1):
  run = table1("--grid", "nowhere")
  assert run.returncode == 2 and not (tmp_path / "calls").exists()
  line = "table1.sh: nowhere: holds no folder s1 of the GRID corpus\n"
  assert run.stderr == line
