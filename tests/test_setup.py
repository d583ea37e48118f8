"""Set-up: the scripts run in bash and zsh; the lists fix every file by hash."""

import ast
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from packaging.markers import Marker

from data_pipelines.faces import nets
from launch import lock

ROOT = Path(__file__).parents[1]
SCRIPTS = [
  *sorted(ROOT.glob("launch/*.sh")),
  *sorted(ROOT.glob("launch/k8s/*.sh")),
  *sorted(ROOT.glob("launch/*.sbatch")),
  ROOT / ".ci" / "run",
]
LISTS = sorted(ROOT.glob("launch/requirements*.txt"))
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
# What bash 3.2, which macOS has, does not know, and what its set -u ends at.
LATER = {
  "associative array": r"\b(declare|local|typeset)\s+-\w*A",
  "name reference": r"\b(declare|local|typeset)\s+-\w*n\b",
  "mapfile": r"\b(mapfile|readarray)\b",
  "case of letters": r"\$\{\w+(\^|,)",
  "last by a negative index": r"\$\{\w+\[-\d+\]",
  "is a variable set": r"\[\[ -v ",
  "both to a file": r"&>>|\|&",
  "fall through": r";;?&",
  "coprocess": r"\bcoproc\b",
  "globstar": r"\bglobstar\b",
  "transformation": r"\$\{\w+(\[[@*]\])?@[A-Z]\}",
  "an array that may be empty": r"(?<!\+)\"\$\{\w+\[@\]\}\"",
}
# Arrays that always have something in them.
FULL = {"slurm.sbatch": ['"${srun[@]}"']}


def canonical(name: str) -> str:
  return re.sub(r"[-_.]+", "-", name).lower()


def locked(path: Path) -> dict[str, str]:
  """`name ; marker` -> version; fails on a line that has no hash."""
  found = {}
  for line, entry in lock.entries(path.read_text()).items():
    match = re.fullmatch(r"([A-Za-z0-9._-]+)==([\w.+!]+)( ; .+)?", line)
    assert match, f"{path.name}: {line!r} is not name==version"
    hashes = re.findall(r"--hash=sha256:[0-9a-f]{64}\b", entry)
    assert hashes and len(entry.splitlines()) == 1 + len(hashes), line
    found[canonical(match[1]) + (match[3] or "")] = match[2]
  return found


def name_of(line: str) -> str:
  return line.partition(" ;")[0]


def versions(path: Path, python: str) -> dict[str, str]:
  """Package -> version of what a Python on Linux takes of a list."""
  found = {}
  for line, version in locked(path).items():
    name, _, marker = line.partition(" ; ")
    if holds(marker, python):
      assert name not in found, f"{path.name}: two versions of {name}"
      found[name] = version
  return found


def holds(marker: str, python: str) -> bool:
  """A marker of a list, on x86 Linux."""
  place = {
    "python_full_version": f"{python}.0",
    "python_version": python,
    "sys_platform": "linux",
    "platform_machine": "x86_64",
    "platform_system": "Linux",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
    "os_name": "posix",
  }
  return not marker or Marker(marker).evaluate(place)


def wanted(extras: tuple[str, ...]) -> set[str]:
  """Names that setup.py asks for."""
  tree = ast.parse((ROOT / "setup.py").read_text())
  found = {
    node.targets[0].id: node.value
    for node in tree.body
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
  }
  asked = ast.literal_eval(found["INSTALL_REQUIRES"])
  by_extra = ast.literal_eval(found["EXTRAS_REQUIRE"])
  asked += [line for extra in extras for line in by_extra[extra]]
  return {canonical(re.match(r"[\w.-]+", line)[0]) for line in asked}


def later_words(name: str, text: str) -> list[str]:
  """What of a script bash 3.2 would not take."""
  lines = [x for x in text.splitlines() if not x.lstrip().startswith("#")]
  text = "\n".join(lines)
  for full in FULL.get(name, []):
    text = text.replace(full, "")
  return [what for what, how in LATER.items() if re.search(how, text)]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_script_is_for_the_bash_of_macos(script):
  assert later_words(script.name, script.read_text()) == []


@pytest.mark.parametrize(
  "line",
  [
    "declare -A given=([--slices]=1)",
    "mapfile -t lines <file",
    'srun "${container[@]}" bash',
    'echo "${name^^}"',
    "make &>>log",
  ],
)
def test_planted_later_word_is_found(line):
  assert len(later_words("x.sh", f"#!/bin/bash\n{line}\n")) == 1


# --- lists -----------------------------------------------------------------


def test_every_list_has_its_extra():
  names = {path.name for path in LISTS}
  extras = [lock.listed(extra).name for extra in (*lock.ADDED, *lock.WHOLE)]
  assert names == {lock.BASE.name, *extras}


@pytest.mark.parametrize("python", PYTHONS)
def test_list_names_every_requirement(python):
  base = versions(ROOT / lock.BASE, python)
  assert {"jax", "flax", "grain", "av"} <= set(base)
  assert wanted(("editable",)) <= set(base)
  for extra in lock.ADDED:
    added = versions(ROOT / lock.listed(extra), python)
    assert wanted((extra,)) <= set(base) | set(added)
    assert not set(base) & set(added), f"{extra} changes the list"
  for extra in lock.WHOLE:
    assert wanted((extra,)) <= set(versions(ROOT / lock.listed(extra), python))


def test_users_get_no_tools_of_developers():
  base = {name_of(line) for line in locked(ROOT / lock.BASE)}
  assert base.isdisjoint({"ruff", "pyright", "pytest", "hypothesis"})


@pytest.mark.parametrize("python", PYTHONS)
def test_jax_is_the_newest_that_runs_there(python):
  base = versions(ROOT / lock.BASE, python)
  newest = (0, 10) if python == "3.11" else (0, 12)
  assert tuple(map(int, base["jax"].split(".")[:2])) == newest
  assert base["jaxlib"] == base["jax"]
  cuda = versions(ROOT / "launch/requirements-cuda.txt", python)
  assert cuda["jax-cuda13-plugin"] == base["jax"]
  volta = versions(ROOT / "launch/requirements-cuda12.txt", python)
  assert volta["jax-cuda12-plugin"] == volta["jax-cuda12-pjrt"] == base["jax"]
  # cuDNN 9.11 and later have nothing for compute capability 7.0.
  assert volta["nvidia-cudnn-cu12"] == "9.10.2.21"
  assert "libtpu" in versions(ROOT / "launch/requirements-tpu.txt", python)


def test_lists_say_nothing_of_where_packages_come_from():
  for path in LISTS:
    assert canonical("speak_jax") not in map(name_of, locked(path))
    text = path.read_text()
    assert not re.search(r"://|@|--(?!hash=)", text), path.name


def test_set_up_asks_for_the_right_face_models():
  text = (ROOT / "launch" / "setup.sh").read_text()
  assert set(re.findall(r"\w+\.tflite", text)) == set(nets.MODEL_FILES)


def test_code_map_names_every_folder():
  text = (ROOT / "docs" / "code_map.md").read_text()
  named = re.findall(r"^\| `([\w/]+)/` \|", text, re.MULTILINE)
  present = set()
  for home in ("configs", "data_pipelines", "examples", "launch", "speak_jax",
               "tests", "typings"):  # fmt: skip
    for path in (ROOT / home).rglob("*"):
      if path.suffix in (".py", ".sh", ".yaml", ".pyi"):
        folder = path.parent.relative_to(ROOT)
        deep = home not in ("tests", "typings")
        inner = [folder, *folder.parents] if deep else [Path(home)]
        present |= {x.as_posix() for x in inner if x.parts}
  assert sorted(named) == sorted(present | {"speak_jax/assets"})


@pytest.mark.parametrize("script", ["demo.sh", "reference.sh", "table1.sh"])
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
  named `broken` is there; so does what fetches the models, without its own.
  """
  launch = tmp_path / "launch"
  launch.mkdir()
  for path in (ROOT / "launch" / "setup.sh", *LISTS):
    (launch / path.name).write_text(path.read_text())
  (tmp_path / "setup.py").write_text("")
  faces = tmp_path / "data_pipelines" / "faces"
  (faces / "models").mkdir(parents=True)
  for name in nets.MODEL_FILES:
    (faces / "models" / name).write_text("")
  (faces / "fetch.py").write_text("raise SystemExit('fetch: no network')\n")
  environment = tmp_path / "environment"
  venv.create(environment)
  (site,) = environment.glob("lib/python*/site-packages")
  (site / "pip.py").write_text(
    "import pathlib, sys\n"
    f"here = pathlib.Path({str(tmp_path)!r})\n"
    "with open(here / 'calls', 'a') as file: print(sys.argv, file=file)\n"
    "if (here / 'broken').exists():\n"
    "  print('ERROR: Ignored the following versions', file=sys.stderr)\n"
    "  sys.exit('ERROR: no such package')\n"
  )
  return tmp_path


SHELLS = {"bash": ["bash", "-c"], "zsh": ["zsh", "-fc"]}


@pytest.fixture(params=SHELLS)
def shell(request) -> list[str]:
  if shutil.which(request.param) is None:
    pytest.skip(f"no {request.param} here: apt-get install {request.param}")
  return SHELLS[request.param]


def set_up(
  checkout: Path, shell: list[str], before: str = "", **env: str
) -> subprocess.CompletedProcess:
  """Sources setup.sh by its path, in a strict shell."""
  line = f"{before} source {checkout}/launch/setup.sh"
  text = f"set -eu; cd /; {line}; echo ready"
  return subprocess.run(
    [*shell, text],
    cwd="/",
    env={"PATH": "/usr/bin:/bin", **env},
    capture_output=True,
    text=True,
  )


def test_missing_python_is_one_line(checkout, shell):
  run = set_up(checkout, shell, PYTHON="/nonexistent/python")
  assert (run.returncode, run.stdout) == (1, "")
  assert len(run.stderr.splitlines()) == 1
  assert "3.11 to 3.14" in run.stderr
  assert not (checkout / ".venv").exists()


def test_second_set_up_does_nothing(checkout, shell):
  environment = str(checkout / "environment")
  calls = checkout / "calls"
  first = set_up(checkout, shell, VIRTUAL_ENV=environment)
  assert first.returncode == 0, first.stderr
  assert "environment ready" in first.stdout
  before = calls.read_text()
  assert len(before.splitlines()) == 2
  assert "--require-hashes" in before and "-e" in before
  assert f"{checkout}/launch/requirements.txt" in before

  second = set_up(checkout, shell, VIRTUAL_ENV=environment)
  assert (second.returncode, second.stdout) == (0, "ready\n")
  assert calls.read_text() == before

  (checkout / "setup.py").write_text("# a new requirement")
  assert set_up(checkout, shell, VIRTUAL_ENV=environment).returncode == 0
  assert calls.read_text() == before * 2


def test_extras_are_installed_once_and_beside(checkout, shell):
  """Those of a developer do not make a user's list old, nor the reverse."""
  environment = str(checkout / "environment")
  calls = checkout / "calls"
  assert set_up(checkout, shell, VIRTUAL_ENV=environment).returncode == 0
  before = calls.read_text()
  both = {"VIRTUAL_ENV": environment, "SPEAK_EXTRAS": "dev  cuda12"}
  written = "SPEAK_EXTRAS='dev  cuda12'"  # as README has it
  first = set_up(checkout, shell, written, VIRTUAL_ENV=environment)
  assert first.returncode == 0
  added = calls.read_text().removeprefix(before).splitlines()
  assert ["dev.txt" in added[0], "cuda12.txt" in added[1]] == [True, True]
  assert len(added) == 2
  assert set_up(checkout, shell, **both).stdout == "ready\n"
  again = set_up(checkout, shell, VIRTUAL_ENV=environment)
  assert again.stdout == "ready\n"

  wrong = set_up(
    checkout, shell, VIRTUAL_ENV=environment, SPEAK_EXTRAS="cuda11"
  )
  assert wrong.returncode == 1
  assert "there is no extra cuda11" in wrong.stderr


def test_failed_set_up_is_tried_again(checkout, shell):
  environment = str(checkout / "environment")
  (checkout / "broken").touch()
  failed = set_up(checkout, shell, VIRTUAL_ENV=environment)
  assert failed.returncode == 1
  assert "ready" not in failed.stdout
  assert "ERROR: no such package" in failed.stderr
  assert len(failed.stderr.splitlines()) == 1

  (checkout / "broken").unlink()
  assert set_up(checkout, shell, VIRTUAL_ENV=environment).returncode == 0


def test_without_face_models_there_is_a_warning(checkout, shell):
  """And only after an installation is the network asked for them."""
  models = checkout / "data_pipelines" / "faces" / "models"
  shutil.rmtree(models)
  environment = str(checkout / "environment")
  first = set_up(checkout, shell, VIRTUAL_ENV=environment)
  assert first.returncode == 0 and "ready\n" in first.stdout
  fetch, warning = first.stderr.splitlines()
  assert fetch == "fetch: no network"
  assert "only drawn faces" in warning
  assert "python -m data_pipelines.faces.fetch" in warning
  second = set_up(checkout, shell, VIRTUAL_ENV=environment)
  assert second.stderr.splitlines() == [warning]

  elsewhere = checkout / "copied"
  elsewhere.mkdir()
  named = {"VIRTUAL_ENV": environment, "SPEAK_JAX_MODELS": str(elsewhere)}
  assert set_up(checkout, shell, **named).stderr.splitlines() == [warning]
  for name in nets.MODEL_FILES:
    (elsewhere / name).write_text("")
  assert set_up(checkout, shell, **named).stderr == ""


def test_other_shells_are_refused_in_a_line(checkout):
  if shutil.which("dash") is None:
    pytest.skip("no dash here")
  run = subprocess.run(
    ["dash", "-c", f". {checkout}/launch/setup.sh || echo refused"],
    capture_output=True,
    text=True,
  )
  assert run.stdout == "refused\n"
  assert run.stderr.splitlines() == [
    "set-up failed: source launch/setup.sh needs bash or zsh"
  ]


@pytest.mark.parametrize(
  ("version", "fits"),
  [((3, 10), 0), ((3, 11), 1), ((3, 13), 1), ((3, 14), 1), ((3, 15), 0)],
)
def test_which_pythons_fit(checkout, tmp_path, shell, version, fits):
  """A Python that says to be another one."""
  python = tmp_path / "python"
  python.write_text(
    f'#!/bin/sh\n[ "$1" = -c ] || exec {sys.executable} "$@"\n'
    f'exec {sys.executable} -c "import sys; sys.version_info = '
    f'{(*version, 0)}; exec(sys.argv.pop(1))" "$2"\n'
  )
  python.chmod(0o755)
  text = (
    f"source {checkout}/launch/setup.sh 2>/dev/null; setup_fits {python};"
    " echo $?"
  )
  # Without a Python to make an environment with, sourcing ends at once.
  bare = {"PATH": "/usr/bin:/bin", "PYTHON": "/nonexistent"}
  run = subprocess.run([*shell, text], env=bare, capture_output=True, text=True)
  assert run.stdout == f"{1 - fits}\n"
