"""The house keeps its shape: who may import whom, and what nobody may do."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("configs", "data_pipelines", "launch", "speak_jax")

# The longest prefix of a module's name counts. A module may import what its row
# names, and what lies in its own folder. Rows stand in the order of the floors:
# what a row names stands above it.
ALLOWED = {
  "configs": ("speak_jax.configs.common",),
  "configs.ablations": ("speak_jax.configs.speak",),
  "launch": OURS,
  "speak_jax.spec": (),
  "speak_jax.common": (),
  "speak_jax.bundle": ("speak_jax.common", "speak_jax.spec"),
  # Raw video to batches.
  "data_pipelines.media": ("speak_jax.common", "speak_jax.spec"),
  "data_pipelines.faces": (
    "speak_jax.common",
    "speak_jax.spec",
    "data_pipelines.media",
  ),
  "data_pipelines.dataset": (
    "speak_jax.common",
    "speak_jax.spec",
    "data_pipelines.faces",
  ),
  "data_pipelines.synthetic": (
    "speak_jax.common",
    "speak_jax.spec",
    "data_pipelines.dataset",
    "data_pipelines.media",
  ),
  "data_pipelines.sources": (
    "speak_jax.common",
    "speak_jax.spec",
    "data_pipelines.faces",
    "data_pipelines.media",
    "data_pipelines.synthetic",
  ),
  "data_pipelines.ingest": (
    "speak_jax.common",
    "data_pipelines.dataset",
    "data_pipelines.media",
    "data_pipelines.sources",
  ),
  "data_pipelines.ingest.beam": (
    "speak_jax.common",
    "data_pipelines.prepare",  # the same flags
    "data_pipelines.sources",
  ),
  "data_pipelines.sampling": (
    "speak_jax.spec",
    "data_pipelines.dataset",
    "data_pipelines.faces",
    "data_pipelines.media",
  ),
  # Its two commands.
  "data_pipelines": ("data_pipelines", "speak_jax.common", "speak_jax.spec"),
  # The method.
  "speak_jax.nn": ("speak_jax.spec",),
  "speak_jax.losses": ("speak_jax.spec", "speak_jax.nn"),
  "speak_jax.metrics": ("speak_jax.spec",),
  "speak_jax.models": ("speak_jax.common", "speak_jax.spec", "speak_jax.nn"),
  "speak_jax.pretrained": (
    "speak_jax.common",
    "speak_jax.spec",
    "speak_jax.nn",
    "speak_jax.models",
  ),
  "speak_jax.stages": (
    "speak_jax.spec",
    "speak_jax.nn",
    "speak_jax.models",
    "speak_jax.losses",
    "speak_jax.metrics",
  ),
  "speak_jax.supervision": ("speak_jax.common",),
  "speak_jax.training": (
    "data_pipelines",
    "speak_jax.bundle",
    "speak_jax.common",
    "speak_jax.configs.common",
    "speak_jax.spec",
    "speak_jax.nn",
    "speak_jax.models",
    "speak_jax.losses",
    "speak_jax.metrics",
    "speak_jax.pretrained",
    "speak_jax.stages",
    "speak_jax.supervision",
  ),
  # NumPy alone, for any size of picture.
  "speak_jax.photograph": (
    "data_pipelines",
    "speak_jax.common",
    "speak_jax.spec",
  ),
  # Without JAX, so that whoever gets a video can check it soon.
  "speak_jax.provenance": (
    "data_pipelines.media",
    "speak_jax.__version__",
    "speak_jax.bundle",
    "speak_jax.common",
  ),
  "speak_jax.inference": (
    "data_pipelines",
    "speak_jax.bundle",
    "speak_jax.common",
    "speak_jax.spec",
    "speak_jax.nn",
    "speak_jax.models",
    "speak_jax.photograph",
    "speak_jax.provenance",
    "speak_jax.stages",
    "speak_jax.training",
  ),
  "speak_jax.app": (
    "data_pipelines",
    "speak_jax.bundle",
    "speak_jax.common",
    "speak_jax.spec",
    "speak_jax.inference",
  ),
  "speak_jax.serving": (
    "data_pipelines.faces",
    "data_pipelines.media",
    "speak_jax.common",
    "speak_jax.inference",
  ),
  # Trained models behind one interface, SPEAK's and others'.
  "speak_jax.methods": (
    "data_pipelines",
    "speak_jax.bundle",
    "speak_jax.common",
    "speak_jax.configs.wav2lip",  # settings of public weights
    "speak_jax.spec",
    "speak_jax.nn",
    "speak_jax.models",
    "speak_jax.metrics",
    "speak_jax.pretrained",
    "speak_jax.stages",
    "speak_jax.training",
    "speak_jax.inference",
  ),
  # It joins data and trained models: held-out clips in, figures out.
  "speak_jax.evaluation": (
    "data_pipelines",
    "speak_jax.bundle",
    "speak_jax.common",
    "speak_jax.spec",
    "speak_jax.nn",
    "speak_jax.models",
    "speak_jax.losses",
    "speak_jax.metrics",
    "speak_jax.pretrained",
    "speak_jax.stages",
    "speak_jax.supervision",
    "speak_jax.training",
    "speak_jax.photograph",
    "speak_jax.inference",
    "speak_jax.methods",
  ),
  # It measures the others.
  "speak_jax.bench": OURS[1:],
  "speak_jax.tools": OURS[1:],
  # Files directly in speak_jax are the commands.
  "speak_jax": ("data_pipelines", "speak_jax"),
}

# Top-level packages that a part must not load: workers have no JAX, nothing
# needs another framework, and pickles run code when they are read.
FORBIDDEN = {
  "": ("torch", "tensorflow", "pickle", "cPickle", "dill", "marshal"),
  "configs": ("jax", "flax", "numpy"),
  "data_pipelines": ("jax", "flax", "optax", "orbax"),
  "speak_jax.spec": ("jax", "flax"),
  "speak_jax.common": ("jax", "flax"),
  "speak_jax.photograph": ("jax", "flax"),
  "speak_jax.provenance": ("jax", "flax"),
  "speak_jax.__main__": ("jax", "flax", "numpy", "absl"),
}

# What a part loads all the same: batches go to the trainer from workers that
# it has started itself, through sockets that nobody else holds.
EXCEPTIONS = {("data_pipelines.sampling.workers", "pickle")}


def sources() -> dict[str, Path]:
  """Module name to file, for everything of ours."""
  found = {}
  for top in OURS:
    for path in sorted((ROOT / top).rglob("*.py")):
      parts = path.relative_to(ROOT).with_suffix("").parts
      if parts[-1] == "__init__":
        parts = parts[:-1]
      found[".".join(parts)] = path
  return found


def below(name: str, prefix: str) -> bool:
  return prefix == "" or name == prefix or name.startswith(prefix + ".")


def imports(module: str, tree: ast.AST, package: bool) -> set[str]:
  """Dotted names of every import, also inside functions, relative or not."""
  names = set()
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      names |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      base = node.module or ""
      if node.level:
        up = node.level - package
        home = module.split(".")[: len(module.split(".")) - up]
        base = ".".join([*home, *filter(None, [base])])
      names |= {f"{base}.{alias.name}" for alias in node.names}
  return names


def import_faults(module: str, source: str, package: bool = False) -> list[str]:
  """What of a module's imports the table does not allow."""
  row = max((key for key in ALLOWED if below(module, key)), key=len)
  # A folder's files may import each other; the commands are each by themselves.
  folder = ".".join(module.split(".")[:2])
  own = (folder,) if folder in ALLOWED else (module,)
  faults = []
  for name in sorted(imports(module, ast.parse(source), package)):
    if name.split(".")[0] in OURS:
      if not any(below(name, ok) for ok in (*ALLOWED[row], *own)):
        faults.append(f"{module} may not import {name}")
    elif (module, name) not in EXCEPTIONS:
      for part, tops in FORBIDDEN.items():
        if below(module, part) and name.split(".")[0] in tops:
          faults.append(f"{module} may not import {name}")
  return faults


def call_faults(module: str, source: str) -> list[str]:
  """Calls that run text as code or load objects from untrusted files."""
  faults = []
  for node in ast.walk(ast.parse(source)):
    if not isinstance(node, ast.Call):
      continue
    called = ast.unparse(node.func)
    if called in ("eval", "exec", "os.system", "os.popen", "yaml.load"):
      faults.append(f"{module}:{node.lineno} calls {called}")
    for keyword in node.keywords:
      if keyword.arg in ("shell", "allow_pickle") and (
        ast.unparse(keyword.value) != "False"
      ):
        faults.append(f"{module}:{node.lineno} passes {keyword.arg}")
  return faults


def test_imports_point_one_way():
  faults = []
  for module, path in sources().items():
    package = path.name == "__init__.py"
    faults += import_faults(module, path.read_text(), package)
  assert faults == []


@pytest.mark.parametrize(
  ("module", "source"),
  [
    ("speak_jax.losses.pixel", "from speak_jax.models import irfd"),
    ("speak_jax.losses.pixel", "from ..models import irfd"),
    ("speak_jax.models.irfd", "import speak_jax.stages.base"),
    ("speak_jax.stages.irfd", "def f():\n  import data_pipelines.prepare"),
    ("speak_jax.bundle", "from data_pipelines.media import video"),
    ("speak_jax.metrics.image", "from data_pipelines.dataset import reader"),
    ("speak_jax.training.loop", "from speak_jax.inference import windows"),
    ("speak_jax.spec", "from speak_jax import nn"),
    ("speak_jax.spec", "import jax.numpy as jnp"),
    ("data_pipelines.sampling.pairs", "from speak_jax import models"),
    ("data_pipelines.sampling.sound", "from speak_jax.nn.mel import log_mel"),
    ("data_pipelines.faces.align", "import jax"),
    ("configs.speak", "from speak_jax import spec"),
    ("speak_jax.train", "from configs import speak"),
    ("speak_jax.generate", "import tensorflow as tf"),
    ("speak_jax.bundle", "from pickle import loads"),
  ],
)
def test_planted_import_is_found(module, source):
  assert len(import_faults(module, source)) == 1


@pytest.mark.parametrize(
  ("module", "source"),
  [
    ("speak_jax.models.irfd", "from speak_jax.nn import resnet"),
    ("speak_jax.models.build", "from speak_jax.models import irfd"),
    ("speak_jax.models.build", "from . import irfd"),
    ("data_pipelines.sampling.pairs", "from speak_jax import spec"),
    ("data_pipelines.dataset.record", "import tensorflow_datasets as tfds"),
    ("speak_jax.train", "from data_pipelines import prepare"),
    ("configs.speak", "from speak_jax.configs import common"),
  ],
)
def test_wanted_import_is_allowed(module, source):
  assert import_faults(module, source) == []


def test_no_unsafe_call():
  faults = []
  for module, path in sources().items():
    faults += call_faults(module, path.read_text())
  assert faults == []


@pytest.mark.parametrize(
  "source",
  [
    "eval('1')",
    "subprocess.run('ls', shell=True)",
    "np.load(path, allow_pickle=True)",
    "os.system('ls')",
  ],
)
def test_planted_call_is_found(source):
  assert len(call_faults("m", source)) == 1


def test_spec_loads_without_jax():
  code = "import sys, speak_jax.spec; sys.exit('jax' in sys.modules)"
  assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def commands() -> list[str]:
  """Modules that run with `python -m`: those that ask for __main__."""
  return [
    module.removesuffix(".__main__")
    for module, path in sources().items()
    if '\nif __name__ == "__main__"' in path.read_text()
  ]


def test_commands_of_the_readme_are_found():
  text = (ROOT / "README.md").read_text()
  named = set(
    re.findall(r"python -m ((?:speak_jax|data_pipelines)[.\w]+)", text)
  )
  assert {"speak_jax.train", "data_pipelines.prepare"} <= named
  assert named <= set(commands())


# Started as users do; the others come from a process that forks.
REAL = ("speak_jax", "speak_jax.train", "data_pipelines.prepare")


@pytest.mark.parametrize("module", commands())
def test_command_helps(module, forked):
  if module in REAL:
    run = subprocess.run(
      [sys.executable, "-m", module, "--help"],
      cwd=ROOT,
      capture_output=True,
      text=True,
      timeout=300,
    )
  else:
    run = forked.run(module, "--help")
  # absl ends --help with status 1, argparse with 0.
  assert run.returncode in (0, 1), run.stderr
  assert "Traceback" not in run.stderr, run.stderr
  assert "--" in run.stdout, run.stdout
