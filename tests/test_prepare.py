import pytest
from absl import flags
from absl.testing import flagsaver

from data_pipelines import prepare
from data_pipelines.dataset import opening
from data_pipelines.ingest import run

SYNTHETIC = {
  "source": "synthetic",
  "identities": 3,
  "clips-per-identity": 1,
  "seconds": 0.2,
  "size": 32,
}
NO_WORKERS = {"workers": 0}  # another process takes seconds to start


@pytest.fixture
def command(tmp_path, capsys):
  """Runs the command in this process: (exit code, lines on stderr)."""
  flags.FLAGS.mark_as_parsed()

  def run(**values):
    with flagsaver.flagsaver(output=str(tmp_path / "data"), **values):
      code = prepare.main(["prepare"])
    return code, capsys.readouterr().err.splitlines()

  return run


@pytest.mark.parametrize(
  ("values", "line"),
  [
    ({"source": "folder", "input": "none"}, "none: no such folder"),
    ({"source": "folder"}, "--source folder needs --input FOLDER"),
    (
      {"source": "synthetic", "levels": ["4"]},
      "--levels 4: not 1, 2 or 3",
    ),
    ({"source": "synthetic", "levels": ["x"]}, "--levels x: not 1, 2 or 3"),
    (
      {"source": "synthetic", "emotions": ["glad"]},
      "--emotions glad: not one",
    ),
  ],
)
def test_the_command_fails_in_one_line(command, tmp_path, values, line):
  code, lines = command(**values)
  assert code == 1
  assert len(lines) == 1 and lines[0].startswith(f"prepare: {line}")
  assert not (tmp_path / "data").exists()


def test_the_command_says_too_many_rejects_by_its_code(tmp_path, capsys):
  (tmp_path / "raw").mkdir()
  (tmp_path / "raw" / "a.mp4").write_text("no video")
  flags.FLAGS.mark_as_parsed()
  raw, data = str(tmp_path / "raw"), str(tmp_path / "data")
  with flagsaver.flagsaver(source="folder", input=raw, output=data, workers=1):
    code = prepare.main(["prepare"])
  said = capsys.readouterr()
  last = said.err.splitlines()[-1]
  assert code == prepare.TOO_MANY_REJECTS
  assert "1 of 1 clips rejected" in last and "a.mp4: " in last
  title, row = said.out.splitlines()[-2:]
  assert title.split()[:2] == ["clips", "stretches"]
  assert row.split()[:2] == ["1", "0"]


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "a/b", "-1/2"])
def test_a_shard_that_is_none_is_refused(command, shard):
  code, lines = command(**SYNTHETIC, shard=shard)
  assert code == 1
  assert lines[-1] == (
    f"prepare: --shard {shard}: not i/n with i from 1 to n, such as 1/8"
  )


def test_shards_then_one_call_make_the_data_set(command, tmp_path, monkeypatch):
  def here(*args, **options):
    return whole(*args, **options | NO_WORKERS)

  whole = run.prepare
  monkeypatch.setattr(run, "prepare", here)
  for shard in ("1/2", "2/2"):
    assert command(**SYNTHETIC, shard=shard)[0] == 0
    assert not (tmp_path / "data" / "dataset_info.json").exists()
  assert command(**SYNTHETIC)[0] == 0
  assert len(opening.open_records(tmp_path / "data", "train")) == 3
