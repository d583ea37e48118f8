"""What all tests share. The environment is set before anything imports JAX."""

import contextlib
import gc
import os
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Recordings of real people, which only some of us have.
SHARED = ROOT.parent / "shared"

# Commands that tests start as processes of their own inherit all of these.
# Two devices, so that sharded steps are sharded on every machine; the tests'
# numbers are a CPU's unless someone asks for another platform.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "2")
# Test time is compile time: the second run finds its programs here.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
# A random key that is used twice is an error.
os.environ.setdefault("JAX_DEBUG_KEY_REUSE", "1")
# Nothing here runs long enough to pay for its optimisation.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# XLA's older emitter of fused loops compiles a step in less than half the time
# (4 s of a core against 12). jaxlib 0.12 has the new one alone, and ends the
# process when it is given a flag that it does not know.
if metadata.version("jaxlib").startswith("0.10."):
  os.environ["XLA_FLAGS"] = " ".join(
    ("--xla_cpu_use_fusion_emitters=false", os.environ.get("XLA_FLAGS", ""))
  ).strip()
Path(os.environ["JAX_COMPILATION_CACHE_DIR"]).mkdir(
  mode=0o700, parents=True, exist_ok=True
)

# Traces leave many small objects that live on. Looking through all of them at
# Python's usual rate took a quarter of the time of tests that trace (163 s of a
# core against 120).
gc.set_threshold(200_000, 50, 100)

import jaxtyping  # noqa: E402
import pytest  # noqa: E402

from tests import compiles, skips  # noqa: E402
from tests.forked import forked  # noqa: E402, F401

# Every annotated argument of our packages is checked as tests call them, an int
# passing for a float as type checkers have it. JAXTYPING_DISABLE=1 switches
# it off. Modules with numba are left out, which cannot compile what is wrapped,
# and with Gradio, which does not see that what is wrapped is a generator.
jaxtyping.install_import_hook(
  [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in ("speak_jax", "data_pipelines")
    for path in (ROOT / package).rglob("*.py")
    if not re.search(
      "^import gradio|import njit",
      path.read_text(encoding="utf-8"),
      re.MULTILINE,
    )
  ],
  "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",
)

# Files that take longest, longest first: begun last they would keep one worker
# busy while the others have nothing left to do.
SLOW_FIRST = (
  "e2e/test_train.py",
  "golden/test_golden.py",
  "faults/test_two_processes.py",
  "training/test_sharding.py",
  "methods/test_eamm.py",
  "methods/test_thpad.py",
  "methods/test_wav2lip.py",
  "test_evaluate.py",
  "stages/test_presets.py",
  "stages/test_gradients.py",
  "faults/test_one_process.py",
  "methods/test_added.py",
  "evaluation/test_self_driven.py",
  "visit/test_visit.py",
  "tools/test_self_test.py",
  "methods/test_atvg.py",
  "inference/test_endless.py",
  "bench/test_learning.py",
  "bench/test_generating.py",
  "stages/test_methods_presets.py",
  "sampling/test_batches.py",
  "stages/test_eamm.py",
  "stages/test_wav2lip.py",
  "reported/test_sound.py",
  "stages/test_thpad.py",
  "ingest/test_run.py",
  "test_awkward.py",
  "models/test_precision.py",
  "training/test_public.py",
  "reported/test_outputs.py",
  "test_generate.py",
  "methods/test_fomm.py",
  "stages/test_structure.py",
  "stages/test_ablations.py",
  "test_export.py",
  "dataset/test_damage.py",
  "tools/test_train_judge.py",
  "faults/test_media.py",
  "stages/test_atvg.py",
  "training/test_scaling.py",
  "models/test_networks.py",
  "sampling/test_workers.py",
  "photograph/test_measure_command.py",
  "bench/test_outputs.py",
  "reported/test_settings.py",
  "bench/test_command.py",
  "models/test_generator.py",
  "photograph/test_teeth.py",
  "models/test_thpad.py",
  "inference/test_stream.py",
  "photograph/test_talking.py",
  "training/test_loop.py",
  "training/test_checkpoints.py",
  "app/test_page.py",
  "models/test_audio.py",
  "sampling/test_mixtures.py",
  "launch/test_reference.py",
  "evaluation/test_matrix.py",
  "launch/test_local.py",
  "stages/test_dtypes.py",
  "training/test_microbatches.py",
  "tools/test_compile_for.py",
  "evaluation/test_honest_judge.py",
)


def pytest_addoption(parser: pytest.Parser) -> None:
  """What the suite has beside pytest's own options."""
  parser.addoption(
    "--campaigns",
    action="store_true",
    help="also run the long forms of tests: see CONTRIBUTING.md",
  )


def pytest_configure(config: pytest.Config) -> None:
  """Markers, and the limits of compiled programs and of skips."""
  for line in (
    "campaign: a long form, which runs with --campaigns alone",
    "compiles(number): programs that this test may compile",
  ):
    config.addinivalue_line("markers", line)
  config.pluginmanager.register(compiles.Budget(), "compile budget")
  config.pluginmanager.register(skips.Floor(), "floor of skips")


def pytest_report_header() -> str:
  """Says what tests read."""
  if SHARED.is_dir():
    return f"material: drawn people, and recordings in {SHARED}"
  return "material: drawn people; no recordings in ../shared"


def pytest_collection_modifyitems(
  config: pytest.Config, items: list[pytest.Item]
) -> None:
  """Leaves out what is not for this run, and puts slow files first.

  That is long forms, and where there is no folder shared/ the tests of single
  files that people have reported: files of each kind are drawn beside them.
  """

  def wanted(item: pytest.Item) -> bool:
    asked = getattr(item, "fixturenames", ())
    long = item.get_closest_marker("campaign")
    return (config.getoption("campaigns") or not long) and (
      SHARED.is_dir() or "reported" not in asked
    )

  config.hook.pytest_deselected(items=[x for x in items if not wanted(x)])
  items[:] = [x for x in items if wanted(x)]
  turn = {ROOT / "tests" / name: i for i, name in enumerate(SLOW_FIRST)}
  items.sort(key=lambda item: turn.get(item.path, len(turn)))


# Folders whose tests run modules compiled, as a stage does.
COMPILED = ("losses", "models", "nn")


@pytest.fixture(autouse=True)
def compiled(request: pytest.FixtureRequest) -> None:
  """For every test of these folders; test_networks.py compares with eager."""
  if request.path.parent.name in COMPILED:
    from tests import jitted  # JAX, which other tests may not need

    jitted.compile_networks(request.getfixturevalue("monkeypatch"))


# Folders whose tests train and run all of a system.
WHOLE = ("bench", "e2e", "evaluation", "golden", "methods")


@pytest.fixture
def unchecked() -> Iterator[None]:
  """Annotated arguments are not checked, and keys may be used twice.

  For traces of whole networks at full size, which take a third longer with
  the checks; the same functions are checked at small sizes all over.
  """
  with _unchecked():
    yield


@pytest.fixture(scope="module", autouse=True)
def unchecked_systems(request: pytest.FixtureRequest) -> Iterator[None]:
  """The same for all tests of these folders, and what their modules make."""
  if request.path.parent.name not in WHOLE:
    yield
    return
  with _unchecked():
    yield


@contextlib.contextmanager
def _unchecked() -> Iterator[None]:
  import jax  # which other tests may not need

  before = jaxtyping.config.jaxtyping_disable
  jaxtyping.config.update("jaxtyping_disable", True)
  with jax.debug_key_reuse(False):
    yield
  jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture(scope="session")
def root() -> Path:
  """The checkout."""
  return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
  """Folder of real test material beside the checkout, or a skip.

  For what drawings cannot show. What they can takes `recordings`, or a fixture
  that does.
  """
  if not SHARED.is_dir():
    pytest.skip("no folder shared/ with test material beside the checkout")
  return SHARED


@pytest.fixture(
  scope="session",
  params=[None, *([SHARED / "data"] if SHARED.is_dir() else [])],
  ids=lambda data: "real" if data else "drawn",
)
def recordings(request: pytest.FixtureRequest) -> Path | None:
  """Folder of real material; None, everywhere, for what a test has drawn."""
  return request.param


@pytest.fixture(scope="session")
def awkward(
  recordings: Path | None, tmp_path_factory: pytest.TempPathFactory
) -> "Files":
  """The awkward files; what is drawn is drawn as it is asked for."""
  from tests.awkward import Files  # behind the hook above

  if recordings is None:
    return Files(tmp_path_factory.mktemp("awkward"))
  plain = recordings / "real" / "clips" / "clip06_congressman.mp4"
  return Files(recordings / "awkward", plain)


@pytest.fixture(scope="session")
def face_models() -> Path:
  """Folder of the face model files, or a skip."""
  from data_pipelines.faces import nets  # behind the hook above

  default = ROOT / "data_pipelines" / "faces" / "models"
  path = Path(os.environ.get("SPEAK_JAX_MODELS", default))
  if len(list(path.rglob("*.tflite"))) < len(nets.MODEL_FILES):
    pytest.skip(
      f"face models missing in {path}: run python -m data_pipelines.faces.fetch"
    )
  return path
