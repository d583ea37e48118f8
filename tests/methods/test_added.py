"""A method more is files alone: a toy is trained, measured and tabulated.

tests/added holds its files as docs/adding.md shows them; each folder stands
for that of the package.
"""

import importlib.util
import json
import re
from pathlib import Path

import pytest

import speak_jax
from configs import speak
from data_pipelines.dataset import opening
from data_pipelines.sampling import held_out
from speak_jax.common import packaged
from speak_jax.evaluation import eval_clip, protocol, speed
from speak_jax.evaluation.cache import Cache
from speak_jax.export import export
from speak_jax.methods import registry
from speak_jax.stages import registry as stages
from speak_jax.tools import steps_within
from speak_jax.training import run_config, weights
from speak_jax.training.run import train

ADDED = Path(__file__).parents[1] / "added"
FOLDERS = ("models", "stages", "methods")


@pytest.fixture(scope="module")
def added():
  """The toy's files lie in the package, and its name in the table."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(stages, "METHODS", (*stages.METHODS, "toy"))
    for folder in FOLDERS:
      package = importlib.import_module(f"speak_jax.{folder}")
      patch.setattr(
        package, "__path__", [*package.__path__, str(ADDED / folder)]
      )
    yield


def get_config(arg):
  path = ADDED / "configs" / "toy.py"
  found = importlib.util.spec_from_file_location("toy_config", path)
  module = importlib.util.module_from_spec(found)
  found.loader.exec_module(module)
  return module.get_config(arg)


@pytest.fixture(scope="module")
def run(added, tmp_path_factory):
  folder = tmp_path_factory.mktemp("toy") / "run"
  assert train(get_config("demo"), folder) == 0
  return folder


def test_it_is_trained_by_the_command_of_all(run):
  rows = (run / "toy" / "metrics.jsonl").read_text().splitlines()
  assert json.loads(rows[-1])["fit/pixel"] > 0
  stored = run_config.read(run)
  assert stored.method == "toy"
  # Nothing of SPEAK's has come into its config.
  assert set(stored) == set(get_config("demo"))
  _, learned = weights.load(run)
  assert set(learned) == {"toy"}


def test_it_goes_on_and_refuses_another_method(run, capsys):
  assert train(get_config("demo"), run) == 0
  assert "nothing to do" in capsys.readouterr().err
  with pytest.raises(ValueError, match="was trained as toy"):
    run_config.check_model(speak.get_config("demo"), run, {})
  with pytest.raises(ValueError, match="'irfd' is not one of toy"):
    train(get_config("demo,stages=('irfd',)"), run)


def test_it_is_no_bundle_and_no_talking_head(run, tmp_path):
  with pytest.raises(ValueError, match="a run of toy, of which there are no"):
    export(run, tmp_path / "bundle")
  with pytest.raises(ValueError) as refused:
    speak_jax.load(run)
  assert str(run) in str(refused.value)
  assert "\n" not in str(refused.value)


@pytest.mark.parametrize("key", ["toy.quiet=3", "model.width=0"])
def test_its_own_keys_have_rules(added, tmp_path, key):
  with pytest.raises(ValueError, match=key.split("=")[0]):
    train(get_config(f"demo,{key}"), tmp_path / "run")
  assert not (tmp_path / "run").exists()


def test_its_steps_are_timed(run):
  config = get_config(f"demo,data.path={str(run / 'data')!r}")
  [(stage, seconds)] = steps_within.seconds_a_step(config, 2).items()
  assert stage == "toy" and seconds > 0


@pytest.fixture(scope="module")
def table(run, tmp_path_factory):
  """The report of all methods side by side, and the table's rows."""
  out = tmp_path_factory.mktemp("toy") / "report"
  plan = protocol.Plan(
    models={"speak": packaged.REFERENCE, "toy": run, "lower": run},
    modes={"lower": "lower"},
    clips=2,
    seed=0,
    side_by_side=True,
    speed=False,
    swap=True,
    cache=Cache(out / "cache", 10**8),
  )
  metrics = protocol.evaluate(plan, str(run / "data"), out).metrics
  rows = json.loads((out / "methods.json").read_text())["rows"]
  return out, metrics, {row["method"]: row for row in rows}


def test_it_stands_in_one_table_with_the_others(table):
  out, metrics, rows = table
  names = ["speak", "toy", "lower", "static first frame", "ground truth"]
  assert list(rows)[:5] == names
  assert rows["toy"]["needs"] == "identity, audio"
  assert rows["toy"]["ignores"] == "pose, emotion"
  assert rows["lower"]["needs"] == "identity, audio, pose"
  assert rows["lower"]["sees"] == "the lower half of every frame"
  # Both crops.
  for name in names[:4]:
    assert 0 < rows[name]["ssim"] < rows["ground truth"]["ssim"] == 1
    assert 0 < rows[name]["aligned_ssim"] <= 1
  # What is drawn has a spread, and nothing else.
  assert rows["toy"]["psnr_spread"] > 0
  assert metrics["toy/psnr/spread"] == rows["toy"]["psnr_spread"]
  assert rows["lower"]["psnr_spread"] is rows["speak"]["psnr_spread"] is None
  # A method that sees the lower half has that half.
  assert rows["lower"]["psnr"] > rows["static first frame"]["psnr"]
  text = (out / "methods.md").read_text()
  assert "Wav2Lip, v3 (published, other protocol)" in text
  assert "5 keys" in text and " +- " in text


def test_driven_by_others_it_is_asked_for_what_it_takes(table):
  out, metrics, rows = table
  # SPEAK takes all three inputs, the toy neither pose nor emotion.
  for name, asked in (
    ("speak", {"pose_r2", "mouth_r", "emotion", "identity"}),
    ("toy", {"mouth_r", "identity"}),
    ("lower", {"pose_r2", "mouth_r", "identity"}),
    ("ground truth", {"pose_r2", "mouth_r", "emotion", "identity"}),
    ("static first frame", set()),
  ):
    driven = {
      key.removeprefix("driven/")
      for key, value in rows[name].items()
      if re.fullmatch(r"driven/[^/]*(?<!_low)(?<!_high)", key)
      and value is not None
    }
    assert driven == asked, name
  assert (
    rows["speak"]["driven/identity"] == metrics["speak/driven/all/identity"]
  )
  assert (out / "driven_toy.png").stat().st_size > 1_000
  assert "toy. Portrait, who gives pose" in (out / "report.md").read_text()
  # Only a run knows how long it was trained.
  assert rows["toy"]["minutes"] > 0
  assert rows["speak"]["minutes"] is None


def test_frames_are_kept_by_method_weights_clip_and_key(table):
  out, *_ = table
  # 2 clips, each with its own speech and another's: five keys of the toy's,
  # one of the others'.
  kept = len(list((out / "cache").glob("*.mkv")))
  assert kept == 2 * 2 * (5 + 1 + 1)


def test_it_is_timed_at_one_frame_and_at_many(run):
  records = opening.open_records(str(run / "data"), "test")
  whole = next(
    held_out.evaluation_clips(
      records,
      size=32,
      face_size=32,
      emotion_frames=4,
      emotion_input="frame",
      same_session=False,
      limit=1,
    )
  )
  method = registry.find(registry.Place(run))
  times = speed.measure(method, run, eval_clip.eval_clip(whole))
  assert list(times) == ["ms_1", "ms_1_whole", "ms_64", "ms_64_whole"]
  assert 0 < times["ms_64"] < times["ms_1"]
  assert times["ms_64"] < times["ms_64_whole"]
