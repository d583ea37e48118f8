"""The files of launch/ that run elsewhere: linted, validated, or faked."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from configs import speak
from data_pipelines import engine
from speak_jax import exit_codes, input_pipeline
from speak_jax.training import cluster

ROOT = Path(__file__).parents[2]
LAUNCH = ROOT / "launch"
SCRIPTS = [
  *sorted(LAUNCH.glob("*.sh")),
  *sorted(LAUNCH.glob("k8s/*.sh")),
  LAUNCH / "slurm.sbatch",
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


@pytest.mark.parametrize("words", [["--name", "n"], ["--nam", "n"]])
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
  place = cluster.place_of_jobset(
    variables | {"JOBSET_COORDINATOR": coordinator, "JOB_COMPLETION_INDEX": "1"}
  )
  assert place == cluster.Place(f"{host}:8476", job["completions"], 1)
  assert container["ports"][0]["containerPort"] == 8476


def test_all_cores_of_a_pod_but_two_feed_its_gpus(manifests, monkeypatch):
  (part,) = manifests["JobSet"]["spec"]["replicatedJobs"]
  (container,) = part["template"]["spec"]["template"]["spec"]["containers"]
  cores = int(container["resources"]["requests"]["cpu"])
  gpus = container["resources"]["limits"]["nvidia.com/gpu"]
  monkeypatch.setattr(engine, "cores", lambda: cores)
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


def test_every_image_is_pinned_not_root_and_hears_signals():
  text = (LAUNCH / "Dockerfile").read_text()
  names, bases = {"scratch"}, re.findall(r"^FROM (\S+) AS (\S+)$", text, re.M)
  assert len(bases) == len(re.findall(r"^FROM", text, re.M))
  for base, name in bases:
    assert base in names or re.search(r"@sha256:[0-9a-f]{64}$", base), base
    names.add(name)
  for target in ("cpu", "cuda", "tpu"):
    stage = re.search(
      rf"^FROM \S+ AS {target}\n(.*?)(?=^FROM|\Z)", text, re.M | re.S
    )
    assert stage
    assert "\nUSER 1000\n" in stage[1]
    assert '\nENTRYPOINT ["tini", "--", ' in stage[1]
  assert text.count("--require-hashes") == text.count("pip install ")


def wheels(path: Path) -> dict[str, str]:
  """Package to version; every one has hashes."""
  found = {}
  text = path.read_text().replace("\\\n", " ")
  for line in text.splitlines():
    if line and not line.startswith("#"):
      match = re.fullmatch(
        r"([A-Za-z0-9._-]+)==(\S+)(?:\s+--hash=sha256:[0-9a-f]{64})+\s*", line
      )
      assert match, f"{path.name}: {line[:60]}"
      name, version = match.groups()
      found[re.sub(r"[-_.]+", "-", name).lower()] = version
  return found


def test_images_hold_the_versions_that_are_tested():
  locked = dict(
    (re.sub(r"[-_.]+", "-", name).lower(), version)
    for name, version in re.findall(
      r"^([\w.-]+)==(\S+)$",
      (LAUNCH / "requirements-py312.txt").read_text(),
      re.M,
    )
  )
  image = wheels(LAUNCH / "image" / "cpu.txt")
  assert {"jax", "flax", "grain", "av"} <= set(image)
  assert image.items() <= locked.items()
  cuda = wheels(LAUNCH / "image" / "cuda.txt")
  assert cuda["jax-cuda13-plugin"] == image["jax"]
  assert "libtpu" in wheels(LAUNCH / "image" / "tpu.txt")
