"""Set-up: the scripts parse and the lock files fix every version."""

import re
import subprocess
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = [*sorted(ROOT.glob("launch/*.sh")), ROOT / ".ci" / "run"]
LOCKS = [ROOT / f"launch/requirements-py3{minor}.txt" for minor in (11, 12)]
BEAM = [ROOT / f"launch/requirements-beam-py3{minor}.txt" for minor in (11, 12)]


def canonical(name: str) -> str:
  return re.sub(r"[-_.]+", "-", name).lower()


def locked(path: Path) -> dict[str, str]:
  """Package to version; fails on a line that is not `name==version`."""
  found = {}
  for line in path.read_text().splitlines():
    if line.startswith("#"):
      continue
    match = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.+!]+)", line)
    assert match, f"{path.name}: {line!r} is not name==version"
    found[canonical(match[1])] = match[2]
  return found


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_script_parses(script):
  run = subprocess.run(["bash", "-n", script], capture_output=True, text=True)
  assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize("path", LOCKS + BEAM, ids=lambda path: path.name)
def test_lock_names_every_requirement(path):
  text = (ROOT / "setup.py").read_text()
  wanted = re.findall(r'^\s+"([A-Za-z0-9-]+)[^"]*",', text, re.MULTILINE)
  assert {"jax", "ruff", "pytest"} <= set(wanted)
  missing = {canonical(name) for name in wanted} - set(locked(path))
  # What stands in setup.py without being a requirement.
  missing -= {"data-pipelines", "speak-jax"}
  assert missing == set()


@pytest.mark.parametrize(
  ("ours", "theirs"), list(zip(LOCKS, BEAM, strict=True)), ids=("311", "312")
)
def test_lock_of_beam_differs_by_what_beam_asks(ours, theirs):
  ours, theirs = locked(ours), locked(theirs)
  assert "apache-beam" in theirs and "apache-beam" not in ours
  assert set(ours) <= set(theirs)
  other = {name for name in ours if ours[name] != theirs[name]}
  assert other <= {
    "beartype",
    "numpy",
    "pillow",
    "protobuf",
    "pyarrow",
    "python-dateutil",
  }


def test_locks_have_no_path_or_project():
  for path in LOCKS + BEAM:
    assert canonical("speak_jax") not in locked(path)
    assert not re.search(r"[/@]|--", path.read_text())


def test_readme_names_every_module():
  """The tree in README.md: each package's block names all of its files."""
  text = (ROOT / "README.md").read_text()
  tree = re.search(r"```\n(configs/ .*?)```", text, re.DOTALL)
  assert tree
  found, folders = set(), []
  for line in tree[1].splitlines():
    depth = (len(line) - len(line.lstrip())) // 2
    folder = re.match(r"\s*(\w+)/", line)
    if folder:
      folders = [*folders[:depth], folder[1]]
    home = folders if folder else folders[:depth]
    names = re.findall(r"\w+\.(?:py|sh)\b", line)
    found |= {"/".join([*home, name]) for name in names}
  present = {
    str(path.relative_to(ROOT))
    for top in ("configs", "data_pipelines", "launch", "speak_jax")
    for path in (ROOT / top).rglob("*.[ps][yh]")
    if path.name != "__init__.py"
  }
  assert found == present


@pytest.mark.parametrize("script", ["demo.sh", "reference.sh"])
def test_scripts_refuse_unknown_arguments(tmp_path, script):
  run = subprocess.run(
    ["bash", ROOT / "launch" / script, "--sed", "1"],
    cwd=tmp_path,
    capture_output=True,
    text=True,
  )
  assert run.returncode == 2
  assert run.stderr.splitlines()[0] == f"{script}: unknown argument --sed"


@pytest.fixture
def checkout(tmp_path) -> Path:
  """A folder with what setup.sh looks at, and an environment without pip.

  In pip's place is a module that notes its calls, and fails while a file
  named `broken` is there.
  """
  launch = tmp_path / "launch"
  launch.mkdir()
  for path in (ROOT / "launch" / "setup.sh", *LOCKS):
    (launch / path.name).write_text(path.read_text())
  (tmp_path / "setup.py").write_text("")
  models = tmp_path / "data_pipelines" / "media" / "models"
  models.mkdir(parents=True)
  (models / "face.tflite").write_text("")
  environment = tmp_path / "environment"
  venv.create(environment)
  (site,) = environment.glob("lib/python*/site-packages")
  (site / "pip.py").write_text(
    "import pathlib, sys\n"
    f"here = pathlib.Path({str(tmp_path)!r})\n"
    "with open(here / 'calls', 'a') as file: print(sys.argv, file=file)\n"
    "if (here / 'broken').exists(): sys.exit('ERROR: no such package')\n"
  )
  return tmp_path


def set_up(checkout: Path, **env: str) -> subprocess.CompletedProcess:
  return subprocess.run(
    ["bash", "-c", f"set -e; source {checkout}/launch/setup.sh; echo ready"],
    cwd="/",
    env={"PATH": "/usr/bin:/bin", **env},
    capture_output=True,
    text=True,
  )


def test_missing_python_is_one_line(checkout):
  run = set_up(checkout, PYTHON="/nonexistent/python")
  assert (run.returncode, run.stdout) == (1, "")
  assert len(run.stderr.splitlines()) == 1
  assert "3.11 or 3.12" in run.stderr
  assert not (checkout / ".venv").exists()


def test_second_set_up_does_nothing(checkout):
  environment = str(checkout / "environment")
  calls = checkout / "calls"
  first = set_up(checkout, VIRTUAL_ENV=environment)
  assert first.returncode == 0, first.stderr
  assert "environment ready" in first.stdout
  before = calls.read_text()
  assert "-r" in before and "-e" in before

  second = set_up(checkout, VIRTUAL_ENV=environment)
  assert (second.returncode, second.stdout) == (0, "ready\n")
  assert calls.read_text() == before

  (checkout / "setup.py").write_text("# a new requirement")
  assert set_up(checkout, VIRTUAL_ENV=environment).returncode == 0
  assert calls.read_text() == before * 2


def test_failed_set_up_is_tried_again(checkout):
  environment = str(checkout / "environment")
  (checkout / "broken").touch()
  failed = set_up(checkout, VIRTUAL_ENV=environment)
  assert failed.returncode == 1
  assert "ready" not in failed.stdout
  assert "no such package" in failed.stderr
  assert len(failed.stderr.splitlines()) == 1

  (checkout / "broken").unlink()
  assert set_up(checkout, VIRTUAL_ENV=environment).returncode == 0
