"""The files of launch/ that run elsewhere: linted, validated, or faked."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from configs import speak
from data_pipelines.ingest import pool
from speak_jax.common import exit_codes
from speak_jax.training import distributed, input_pipeline

ROOT = Path(__file__).parents[2]
LAUNCH = ROOT / "launch"
SCRIPTS = [
  *sorted(LAUNCH.glob("*.sh")),
  *sorted(LAUNCH.glob("k8s/*.sh")),
  *sorted(LAUNCH.glob("*.sbatch")),
  ROOT / ".ci" / "run",
]
KUBERNETES = "1.34"
FINAL = [1, *range(exit_codes.BAD_CONFIG, exit_codes.NO_PROGRESS + 1)]


def tool(name: str) -> str:
  """A command that came with the environment."""
  return str(Path(sys.executable).parent / name)


def run(*words, **options):
  return subprocess.run(
    [str(word) for word in words], capture_output=True, text=True, **options
  )


# --- shell -----------------------------------------------------------------


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck(script):
  done = run(
    *(tool("shellcheck"), "--shell=bash", "--severity=warning"),
    *("--external-sources", "--source-path=SCRIPTDIR", script),
  )
  assert done.returncode == 0, done.stdout


def test_shellcheck_finds_something(tmp_path):
  (tmp_path / "bad.sh").write_text("#!/bin/bash\ncd $1\nrm -rf $2/*\n")
  assert run(tool("shellcheck"), tmp_path / "bad.sh").returncode == 1


def fake(folder: Path, name: str, text: str) -> dict[str, str]:
  """Puts a command in the way of the real one; the environment."""
  path = folder / "bin" / name
  path.parent.mkdir(exist_ok=True)
  path.write_text(f"#!/usr/bin/env bash\n{text}\n")
  path.chmod(0o755)
  return {"PATH": f"{path.parent}:/usr/bin:/bin", "HOME": str(folder)}


def test_xpk_gets_the_command_and_the_codes(tmp_path):
  bin = fake(tmp_path, "xpk", 'printf "%s\\n" "$@"')
  flags = "--name n --cluster c --project p --zone z --tpu-type v5litepod-8"
  done = run(
    *("bash", LAUNCH / "k8s" / "xpk.sh", *flags.split(), "--image", "i", "--"),
    *("python", "-m", "speak_jax.train", "--workdir", "a b"),
    env=bin,
  )
  assert done.returncode == 0, done.stderr
  words = done.stdout.splitlines()
  given = dict(zip(words, [*words[1:], ""], strict=True))
  assert words[:2] == ["workload", "create"]
  assert given["--restart-on-exit-codes"] == str(exit_codes.PEER_LOST)
  assert shlex.split(given["--command"]) == [
    *("exec", "python", "-m", "speak_jax.train", "--workdir", "a b"),
    "--distributed",
  ]


@pytest.mark.parametrize("words", [["--name", "n"], ["--nam", "n"], ["--name"]])
def test_xpk_refuses_what_is_not_whole(words):
  done = run("bash", LAUNCH / "k8s" / "xpk.sh", *words, "--", "true")
  assert done.returncode == 2
  assert "xpk.sh: " in done.stderr


def test_tpu_hosts_start_again_until_done(tmp_path):
  """The fake gcloud is the host: it runs what it is given."""
  bin = fake(
    tmp_path,
    "gcloud",
    'for w; do case "$w" in --command=*) eval "${w#*=}" ;; esac; done',
  )
  home = tmp_path / "home"
  (home / ".venv" / "bin").mkdir(parents=True)
  (home / ".venv" / "bin" / "activate").touch()
  program = tmp_path / "program"
  program.write_text(
    "#!/bin/bash\n"
    'echo "$@" >>starts\n'
    "case $(wc -l <starts) in 1) exit 43 ;; 2) exit 42 ;; 3) exit 137 ;;"
    " *) exit 66 ;; esac\n"
  )
  program.chmod(0o755)
  done = run(
    *("bash", LAUNCH / "tpu_vm.sh", "name", "zone", program, "a b"),
    env={**bin, "SPEAK_HOME": str(home), "SPEAK_WAIT": "0"},
  )
  assert done.returncode == exit_codes.DIVERGED, done.stderr
  assert (home / "starts").read_text() == "a b --distributed\n" * 4


# A SLURM of this machine: an array's machines run one after another, and a job
# that waits for them runs if all went well. It numbers jobs from 1.
SBATCH = """
echo "$*" >>submitted
id=$(wc -l <submitted)
array=0
while [[ "$1" == --* ]]; do
  case "$1" in
    --array=1-*) array="${1#*-*-*-}" ;;
    --dependency=afterok:*)
      if [ -e "failed-${1#*:}" ]; then echo "$id"; exit; fi ;;
  esac
  shift
done
export SLURM_JOB_ID=$id SLURM_CPUS_PER_TASK=4
if [ "$array" = 0 ]; then
  bash "$@" >&2 || touch "failed-$id"
else
  for SLURM_ARRAY_TASK_ID in $(seq "$array"); do
    export SLURM_ARRAY_TASK_ID
    bash "$@" >&2 || touch "failed-$id"
  done
fi
echo "$id;cluster"
"""


def submit_prepare(folder, program, *words):
  """Submits a preprocessing array; what it said, and each call's flags."""
  fake(folder, "srun", '"$@"')
  fake(folder, "python", f'echo "$@" >>calls\n{program}')
  bin = fake(folder, "sbatch", SBATCH)
  done = run(
    *("bash", LAUNCH / "prepare.sbatch", *words),
    cwd=folder,
    env={**bin, "SPEAK_SBATCH": "--partition=cpu --qos=low"},
  )
  calls = folder / "calls"
  return done, calls.read_text().splitlines() if calls.exists() else []


def test_an_array_prepares_and_then_one_job_assembles(tmp_path):
  flags = ("--source", "mead", "--input", "RAW", "--output", "DATA")
  done, calls = submit_prepare(tmp_path, "true", "3", *flags)
  assert done.returncode == 0, done.stderr
  assert done.stdout == "prepare.sbatch: array 1, then job 2 assembles\n"
  call = f"-m data_pipelines.prepare {' '.join(flags)} --workers 4"
  assert calls == [*(f"{call} --shard {i}/3" for i in (1, 2, 3)), call]
  array, last = (tmp_path / "submitted").read_text().splitlines()
  assert array.startswith("--parsable --partition=cpu --qos=low --array=1-3 ")
  assert "--dependency=afterok:1 --kill-on-invalid-dep=yes " in last


def test_a_machine_that_fails_leaves_the_set_unassembled(tmp_path):
  done, calls = submit_prepare(
    tmp_path, 'case "$*" in *2/3) exit 65 ;; esac', "3", "--source", "mead"
  )
  assert done.returncode == 0, done.stderr
  assert [call.split()[-1] for call in calls] == ["1/3", "2/3", "3/3"]


@pytest.mark.parametrize("words", [[], ["--source", "mead"], ["0"], ["3x"]])
def test_an_array_of_no_size_is_refused(tmp_path, words):
  done, calls = submit_prepare(tmp_path, "true", *words)
  assert done.returncode == 64 and not calls
  assert done.stderr.startswith("prepare.sbatch: how many machines?")


# --- Kubernetes ------------------------------------------------------------


@pytest.fixture(scope="module")
def manifests():
  text = (LAUNCH / "k8s" / "jobset.yaml").read_text()
  return {part["kind"]: part for part in yaml.safe_load_all(text)}


def test_jobset_is_valid(manifests):
  schema = json.loads((ROOT / "tests/launch/jobset.schema.json").read_text())
  jsonschema.validate(manifests["JobSet"], schema)
  spoiled = json.loads(json.dumps(manifests["JobSet"]))
  spoiled["spec"]["failurePolicy"]["maxRestart"] = 3
  with pytest.raises(jsonschema.ValidationError):
    jsonschema.validate(spoiled, schema)


def test_its_jobs_and_policy_are_valid(manifests):
  kubernetes_validate.validate(
    manifests["NetworkPolicy"], KUBERNETES, strict=True
  )
  for part in manifests["JobSet"]["spec"]["replicatedJobs"]:
    job = {
      "apiVersion": "batch/v1",
      "kind": "Job",
      "metadata": {"name": part["name"]},
      "spec": part["template"]["spec"],
    }
    kubernetes_validate.validate(job, KUBERNETES, strict=True)
    job["spec"]["template"]["spec"]["restartpolicy"] = "Never"
    with pytest.raises(kubernetes_validate.ValidationError):
      kubernetes_validate.validate(job, KUBERNETES, strict=True)
    del job["spec"]["template"]["spec"]["restartpolicy"]


def test_jobset_is_consistent(manifests):
  """Numbers that must agree, codes that are final, and who each pod is."""
  spec = manifests["JobSet"]["spec"]
  (part,) = spec["replicatedJobs"]
  job = part["template"]["spec"]
  (container,) = job["template"]["spec"]["containers"]
  variables = {v["name"]: v.get("value", "") for v in container["env"]}
  assert spec["coordinator"]["replicatedJob"] == part["name"]
  assert job["parallelism"] == job["completions"]
  assert variables["JOBSET_PROCESSES"] == str(job["completions"])
  (rule,) = job["podFailurePolicy"]["rules"]
  assert rule["onExitCodes"]["values"] == FINAL
  assert rule["onExitCodes"]["containerName"] == container["name"]
  assert "--distributed" in container["args"]
  host = "speak-train-0-0.speak"
  coordinator = variables["JOBSET_COORDINATOR"].replace(
    "$(COORDINATOR_HOST)", host
  )
  place = distributed.process_of_jobset(
    variables | {"JOBSET_COORDINATOR": coordinator, "JOB_COMPLETION_INDEX": "1"}
  )
  assert place == distributed.ProcessSpec(f"{host}:8476", job["completions"], 1)
  assert container["ports"][0]["containerPort"] == 8476


def test_all_cores_of_a_pod_but_two_feed_its_gpus(manifests, monkeypatch):
  (part,) = manifests["JobSet"]["spec"]["replicatedJobs"]
  (container,) = part["template"]["spec"]["template"]["spec"]["containers"]
  cores = int(container["resources"]["requests"]["cpu"])
  gpus = container["resources"]["limits"]["nvidia.com/gpu"]
  monkeypatch.setattr(pool, "cores", lambda: cores)
  config = speak.get_config("base256")
  assert input_pipeline._workers(config, gpus) == cores - 2


def test_pods_are_confined(manifests):
  (part,) = manifests["JobSet"]["spec"]["replicatedJobs"]
  pod = part["template"]["spec"]["template"]["spec"]
  assert pod["securityContext"]["runAsNonRoot"]
  assert pod["automountServiceAccountToken"] is False
  for container in pod["containers"]:
    inside = container["securityContext"]
    assert inside["readOnlyRootFilesystem"]
    assert inside["allowPrivilegeEscalation"] is False
    assert inside["capabilities"] == {"drop": ["ALL"]}


# --- image -----------------------------------------------------------------


def test_dockerfile_lint(tmp_path):
  assert run(tool("hadolint"), LAUNCH / "Dockerfile").returncode == 0
  (tmp_path / "Dockerfile").write_text("FROM python:latest\nRUN cd /x\n")
  assert run(tool("hadolint"), tmp_path / "Dockerfile").returncode == 1


TEXT = (LAUNCH / "Dockerfile").read_text().replace("\\\n", "")
STAGES = dict(
  re.findall(r"^FROM \S+ AS (\S+)\n(.*?)(?=^FROM|\Z)", TEXT, re.M | re.S)
)


def copied(stage: str) -> list[list[str]]:
  """What a stage takes of the checkout: sources, and where to."""
  return [
    x.split() for x in re.findall(r"^COPY (?!--)(.*)$", STAGES[stage], re.M)
  ]


def take(stage: str, here: Path) -> None:
  """Does what the COPY lines of a stage do, without .dockerignore."""
  for *sources, target in copied(stage):
    for source in [path for x in sources for path in sorted(ROOT.glob(x))]:
      place = here / target / source.name
      place.parent.mkdir(parents=True, exist_ok=True)
      shutil.copyfile(source, place)


def test_image_is_pinned_not_root_and_hears_signals():
  names, bases = {"scratch"}, re.findall(r"^FROM (\S+) AS (\S+)$", TEXT, re.M)
  assert len(bases) == len(re.findall(r"^FROM", TEXT, re.M))
  for base, name in bases:
    assert base in names or re.search(r"@sha256:[0-9a-f]{64}$", base), base
    names.add(name)
  *_, last = STAGES.values()
  assert last.index("USER 1000\n") > last.rindex("RUN ")
  assert '\nENTRYPOINT ["tini", "--", "speak"]' in last
  fetched = TEXT.replace("install --no-deps --no-build-isolation -e .", "")
  assert TEXT.count("pip install ") == 3
  assert fetched.count("--require-hashes") == fetched.count("pip install ") == 2


def test_every_extra_of_the_image_has_its_list():
  said = re.search(r"^# EXTRA is (.*?)(?:\n#\n|\. The)", TEXT, re.M | re.S)
  assert said and "EXTRA=cpu\n" in STAGES["image"]
  named = set(re.findall(r"\b(?:cpu|cuda12|cuda|tpu)\b", said[1]))
  lists = {path.stem for path in LAUNCH.glob("requirements-*.txt")}
  assert named == {"cpu", "cuda", "cuda12", "tpu"}
  assert {f"requirements-{extra}" for extra in named - {"cpu"}} <= lists


def test_image_fetches_its_face_models_with_what_it_has(tmp_path):
  """Without the rest of the code, so that they are fetched once."""
  take("models", tmp_path)
  (line,) = re.findall(r"^RUN python -m (\S+) (\S+)$", STAGES["models"], re.M)
  module, folder = line
  done = run(sys.executable, "-m", module, "--help", cwd=tmp_path)
  assert done.returncode == 0 and "folder" in done.stdout, done.stderr
  # Nor may it take any of it from the package that is installed here.
  ours = "data_pipelines", "speak_jax", "configs", "launch"
  listed = (
    f"import sys, {module}\nfor name, x in sys.modules.items():\n"
    f"  if name.split('.')[0] in {ours}: print(x.__file__)"
  )
  files = run(sys.executable, "-c", listed, cwd=tmp_path).stdout.split()
  assert files
  assert [x for x in files if not Path(x).is_relative_to(tmp_path)] == []
  kept = re.search(r"COPY --from=models (\S+) (\S+)\n", STAGES["image"])
  assert kept and kept[1] == folder
  assert f"SPEAK_JAX_MODELS={kept[2]}\n" in STAGES["image"]


def test_image_installs_what_it_runs():
  """The whole code is there, and the command that is its entry."""
  assert copied("image")[-1] == [".", "."]
  assert "pip install --no-deps --no-build-isolation -e ." in STAGES["image"]
  ignored = (LAUNCH / "Dockerfile.dockerignore").read_text().split()
  packages = {x.split("/")[0] for x in tracked() if x.endswith("__init__.py")}
  for name in (packages - {"tests"}) | {"configs", "launch", "setup.py"}:
    assert f"!{name}" in ignored
  assert "speak = speak_jax.__main__:main" in (ROOT / "setup.py").read_text()


# Whoever may write neither beside the code nor in a home.
HOMELESS = """
from numba.core import caching
def refuse(self):
  raise OSError
caching.InTreeCacheLocator.ensure_cache_path = refuse
caching.UserWideCacheLocator.ensure_cache_path = refuse
from data_pipelines.synthetic import raster
from speak_jax.photograph import rasterize
"""


def test_loops_compile_for_a_user_of_the_image_without_a_home(tmp_path):
  (kept,) = re.findall(r"^ENV NUMBA_CACHE_DIR=(\S+)$", STAGES["image"], re.M)
  assert kept.startswith("/tmp/")
  variables = os.environ | {"PYTHONPATH": str(ROOT)}
  for given, fine in (({}, False), ({"NUMBA_CACHE_DIR": tmp_path}, True)):
    changed = variables | {x: str(y) for x, y in given.items()}
    done = run(sys.executable, "-c", HOMELESS, env=changed)
    assert (done.returncode == 0) == fine, done.stderr


def tracked() -> list[str]:
  """Our modules."""
  return [
    str(path.relative_to(ROOT))
    for top in ("configs", "data_pipelines", "launch", "speak_jax")
    for path in (ROOT / top).rglob("*.py")
  ]
