"""The installed package: its wheel, the command, and what it finds by name."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import speak_jax
from configs import ablations, speak
from speak_jax import __main__ as command
from speak_jax import bundle
from speak_jax.common import exit_codes, packaged
from speak_jax.configs import ablations as installed

ROOT = Path(__file__).parents[2]
OWN = str(packaged.CONFIGS / "speak.py")
REFERENCE = str(packaged.REFERENCE)


# --- names -----------------------------------------------------------------


@pytest.mark.parametrize(
  ("text", "path"),
  [
    ("configs/speak.py", OWN),
    ("configs/speak.py:small64,seed=3", f"{OWN}:small64,seed=3"),
    ("speak.py:demo", f"{OWN}:demo"),
    ("small64", f"{OWN}:small64"),
    ("demo,seed=3", f"{OWN}:demo,seed=3"),
    ("seed=3", f"{OWN}:seed=3"),
    ('demo,data.mix={"A": 1.0}', f'{OWN}:demo,data.mix={{"A": 1.0}}'),
    ("mine.py:fast", "mine.py:fast"),
    ("other/speak.py:demo", "other/speak.py:demo"),
    ("configs/smal64", "configs/smal64"),
    ("", ""),
  ],
)
def test_config_by_its_name(tmp_path, monkeypatch, text, path):
  monkeypatch.chdir(tmp_path)
  assert packaged.config(text) == path


def test_a_file_that_is_there_counts_more(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "configs").mkdir()
  for name in ("configs/speak.py", "small64"):
    (tmp_path / name).touch()
    assert packaged.config(f"{name}:a=1") == f"{name}:a=1"
  assert packaged.model("reference") == REFERENCE
  (tmp_path / "reference").mkdir()
  assert packaged.model("reference") == "reference"


def test_flags_with_and_without_a_sign(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  words = ["train", "--config", "demo", "--workdir", "demo", "--config.seed=3"]
  words += ["--config.finetune_from=reference", "--model", "reference"]
  words += ["-config=small64", "--model=reference", "reference"]
  assert packaged.named([*words, "--", "--config=demo"]) == [
    *("train", "--config", f"{OWN}:demo", "--workdir", "demo"),
    *("--config.seed=3", f"--config.finetune_from={REFERENCE}"),
    *("--model", REFERENCE, f"-config={OWN}:small64"),
    *(f"--model={REFERENCE}", "reference", "--", "--config=demo"),
  ]
  assert packaged.named(["train", "--config"]) == ["train", "--config"]


@pytest.mark.parametrize("flag", ["--identity", "-identity", "--audio"])
def test_example_is_a_file_that_comes_along(tmp_path, monkeypatch, flag):
  monkeypatch.chdir(tmp_path)
  path = packaged.PORTRAIT if "identity" in flag else packaged.SENTENCE
  assert path.is_file()
  assert packaged.named(["x", flag, "example"]) == ["x", flag, str(path)]
  assert packaged.named([f"{flag}=example"]) == [f"{flag}={path}"]
  for other in (["--pose", "example"], ["-o=example"], [flag, "example.png"]):
    assert packaged.named(other) == other
  (tmp_path / "example").mkdir()  # no input, whatever it holds
  assert packaged.named([flag, "example"]) == [flag, str(path)]
  (tmp_path / "example").rmdir()
  (tmp_path / "example").touch()
  assert packaged.named([flag, "example"]) == [flag, "example"]


def test_what_is_named_is_there():
  assert packaged.REFERENCE == bundle.REFERENCE
  assert packaged.CONFIGS.resolve() == ROOT / "configs"
  names = {path.name for path in (ROOT / "configs").glob("*.py")}
  assert {"speak.py", "common.py", "ablations.py"} <= names
  # A link and the folder: the same rows by either name.
  assert installed.GROUPS == ablations.GROUPS


# --- the command -----------------------------------------------------------


def run(*words: str, cwd: Path = ROOT, **env: str):
  return subprocess.run(
    [sys.executable, "-m", "speak_jax", *words],
    cwd=cwd,
    env={**os.environ, **env},
    capture_output=True,
    text=True,
    timeout=300,
  )


def test_every_command_has_its_place_in_speak():
  modules = {module for module, _ in command.COMMANDS.values()}
  present = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for top in ("speak_jax", "data_pipelines")
    for path in (ROOT / top).rglob("*.py")
    if '\nif __name__ == "__main__"' in path.read_text()
  }
  present = {name.removesuffix(".__main__") for name in present}
  left_out = {
    "speak_jax",  # itself
    "data_pipelines.ingest.beam",  # an environment of its own
    "data_pipelines.synthetic.sheet",  # a picture of the documents
  }
  assert modules == present - left_out
  for name, (module, says) in command.COMMANDS.items():
    assert len(says) <= 60
    own = module.rpartition(".")[2].replace("_", "-")
    assert name == {"fetch": "models"}.get(own, own)


@pytest.mark.parametrize(
  ("name", "module"),
  [
    ("judge", "train_judge"),
    ("train-judge", "train_judge"),
    ("train_judge", "train_judge"),
    ("offsets", "av_offsets"),
    ("checkpoints", "verify_checkpoints"),
    ("self_test", "self_test"),
  ],
)
def test_old_names_and_underscores_are_understood(name, module, monkeypatch):
  ran = []
  monkeypatch.setattr(sys, "argv", ["speak", name, "--help"])
  monkeypatch.setattr(
    command.runpy, "run_module", lambda module, **_: ran.append(module)
  )
  command.main()
  assert ran == [f"speak_jax.tools.{module}"]
  assert sys.argv[1:] == ["--help"]


def test_speak_helps_at_once_and_without_jax():
  code = (
    "import sys; sys.argv = ['speak', '--help']\n"
    "import speak_jax.__main__ as m; m.main()\n"
    "print(sorted({'jax', 'numpy', 'absl'} & set(sys.modules)))"
  )
  done = subprocess.run(
    [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
  )
  *lines, loaded = done.stdout.splitlines()
  assert loaded == "[]", done.stderr
  assert all(any(f"  {x} " in y for y in lines) for x in command.COMMANDS)


def test_speak_tells_its_version():
  assert run("--version").stdout == f"speak {speak_jax.__version__}\n"
  text = (ROOT / "setup.py").read_text()
  assert "version=VERSION[1]" in text
  assert re.fullmatch(r"\d+\.\d+\.\d+", speak_jax.__version__)


def test_unknown_command_is_one_line():
  done = run("trian")
  assert done.returncode == exit_codes.BAD_CONFIG
  assert done.stderr == (
    "speak: there is no command trian; did you mean train?\n"
  )
  assert run("judg").stderr.endswith("did you mean judge?\n")


def test_speak_runs_a_command_as_python_m_does(tmp_path):
  """Flags, one line of what is wrong, exit code; a config by its name."""
  words = ("--config=small64,nothing=1", "--workdir", str(tmp_path / "run"))
  done = run("train", *words, JAX_PLATFORMS="cpu")
  assert done.returncode == exit_codes.BAD_CONFIG
  assert "config has no key 'nothing'" in done.stderr
  assert len(done.stderr.splitlines()) == 1
  same = subprocess.run(
    [sys.executable, "-m", "speak_jax.train", *words],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  assert (same.returncode, same.stderr) == (done.returncode, done.stderr)


# --- the wheel -------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
  """A folder as site-packages is, made from a wheel of this checkout."""
  work = tmp_path_factory.mktemp("wheel")
  source = work / "source"
  source.mkdir()
  made = shutil.ignore_patterns("__pycache__", "*.tflite", "*.egg-info")
  for name in ("configs", "data_pipelines", "speak_jax"):
    shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=made)
  for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "NOTICE"):
    shutil.copyfile(ROOT / name, source / name)
  build = "import setuptools.build_meta as b; b.build_wheel('../dist')"
  (work / "dist").mkdir()
  done = subprocess.run(
    [sys.executable, "-c", build],
    cwd=source,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  (wheel,) = (work / "dist").glob("*.whl")
  with zipfile.ZipFile(wheel) as archive:
    archive.extractall(work / "site")
  return work / "site"


def test_wheel_has_all_that_is_read(site):
  tops = {path.name for path in site.iterdir()}
  info = f"speak_jax-{speak_jax.__version__}.dist-info"
  assert tops == {"speak_jax", "data_pipelines", info}
  for name in (
    "py.typed",
    "assets/judge.safetensors",
    "assets/teeth.safetensors",
    "assets/teeth.json",
    "assets/example/portrait.jpg",
    "assets/example/sentence.wav",
    "assets/example/COPYING",
    "configs/speak.py",
  ):
    assert (site / "speak_jax" / name).is_file()
  assert (site / "data_pipelines" / "py.typed").is_file()
  assert not (site / "speak_jax" / "configs").is_symlink()
  bundle.verify(site / "speak_jax" / "assets" / "reference")
  entry = (site / info / "entry_points.txt").read_text()
  assert "speak = speak_jax.__main__:main" in entry
  for top in ("speak_jax", "data_pipelines"):
    for path in (ROOT / top).rglob("*.py"):
      assert (site / path.relative_to(ROOT)).is_file()


def test_wheel_works_outside_the_checkout(site, tmp_path):
  """From an empty folder, with the packaged configs and no other."""
  outside = {"PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}
  code = (
    "import pathlib, speak_jax.tools.ablate.plan as a;"
    "from speak_jax.common import packaged;"
    "from data_pipelines.faces import nets;"
    "print(a.__file__, packaged.CONFIGS, nets.models_dir(), sep='\\n')"
  )
  done = subprocess.run(
    [sys.executable, "-c", code],
    cwd=tmp_path,
    env={
      **{k: v for k, v in os.environ.items() if k != "SPEAK_JAX_MODELS"},
      **outside,
      "XDG_CACHE_HOME": str(tmp_path / "cache"),
    },
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  module, configs, models = done.stdout.splitlines()
  assert module == str(site / "speak_jax" / "tools" / "ablate" / "plan.py")
  assert configs == str(site / "speak_jax" / "configs")
  assert models == str(tmp_path / "cache" / "speak_jax" / "models")

  words = ("--config=configs/speak.py:small64,nothing=1", "--workdir=run")
  done = run("train", *words, cwd=tmp_path, **outside)
  assert done.returncode == exit_codes.BAD_CONFIG
  assert "config has no key 'nothing'" in done.stderr


def test_presets_are_those_of_the_checkout(site):
  code = (
    "from speak_jax.configs import speak\n"
    "for name in speak.PRESETS: print(speak.get_config(name).to_json())"
  )
  done = subprocess.run(
    [sys.executable, "-c", code],
    cwd=site,
    env={**os.environ, "PYTHONPATH": str(site)},
    capture_output=True,
    text=True,
  )
  assert done.stdout.splitlines() == [
    speak.get_config(name).to_json() for name in speak.PRESETS
  ]
