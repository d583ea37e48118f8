"""The command `speak`: every command of the package by one name.

  speak COMMAND [its flags]        as python -m speak_jax COMMAND
  speak COMMAND --help

`speak train ...` is `python -m speak_jax.train ...`, and so are all others.
Names may be written with - or _.
"""

import difflib
import runpy
import sys

import speak_jax
from speak_jax.common.exit_codes import BAD_CONFIG

# By the order of use: the module, and what it is for.
COMMANDS = {
  "doctor": (
    "speak_jax.tools.doctor",
    "what this machine has, lacks, and needs",
  ),
  "models": ("data_pipelines.faces.fetch", "gets the face model files"),
  "demo-inputs": (
    "data_pipelines.synthetic.demo_inputs",
    "draws the four inputs of a first video",
  ),
  "generate": (
    "speak_jax.generate",
    "a video from a picture, speech, head motion and emotion",
  ),
  "verify": ("speak_jax.tools.verify", "whether a video says it is synthetic"),
  "app": ("speak_jax.app", "the same in a browser: a page of this machine"),
  "licences": (
    "speak_jax.tools.licences",
    "whose the weights are, and what they learned from",
  ),
  "serve": ("speak_jax.serve", "videos and streams over HTTP and WebSocket"),
  "prepare": ("data_pipelines.prepare", "raw videos, or drawn faces, to data"),
  "inspect": ("data_pipelines.inspect", "what a data set holds"),
  "av-offsets": (
    "speak_jax.tools.av_offsets",
    "clips whose sound does not fit",
  ),
  "train": ("speak_jax.train", "the stages, resumable"),
  "goodput": ("speak_jax.tools.goodput", "where the time of a run went"),
  "steps-within": (
    "speak_jax.tools.steps_within",
    "how many steps train within some minutes here",
  ),
  "compile-for": (
    "speak_jax.tools.compile_for",
    "does training fit a machine that is not here",
  ),
  "verify-checkpoints": (
    "speak_jax.tools.verify_checkpoints",
    "whether a run's checkpoints are whole",
  ),
  "evaluate": ("speak_jax.evaluate", "figures on held-out people"),
  "spaces": ("speak_jax.tools.spaces", "what the codes of TH-PAD hold"),
  "measure-photographs": (
    "speak_jax.tools.measure_photographs",
    "figures of photographs that are moved",
  ),
  "bench": ("speak_jax.bench", "how fast this machine does all that"),
  "self-test": ("speak_jax.tools.self_test", "does this machine measure well"),
  "study": ("speak_jax.tools.study", "a blind study of several methods' clips"),
  "ablate": ("speak_jax.tools.ablate", "what each part gives, in one table"),
  "export": ("speak_jax.export", "a run to a bundle for generate"),
  "to-onnx": (
    "speak_jax.tools.to_onnx",
    "a bundle's functions for runtimes without JAX",
  ),
  "pretrained": ("speak_jax.pretrained", "public weights: verify, convert"),
  "train-judge": ("speak_jax.tools.train_judge", "the judge of drawn frames"),
  "train-teeth": (
    "speak_jax.tools.train_teeth",
    "the teeth of photographs, from a folder of portraits",
  ),
  "film": ("data_pipelines.synthetic.film", "drawn people as mp4 files"),
}

# Names of earlier versions.
ALIASES = {
  "offsets": "av-offsets",
  "checkpoints": "verify-checkpoints",
  "judge": "train-judge",
}


def usage() -> str:
  """The text of --help."""
  width = max(map(len, COMMANDS))
  lines = [f"  {name:{width}}  {x[1]}" for name, x in COMMANDS.items()]
  return "\n".join(
    [
      "usage: speak COMMAND [flags]",
      "",
      "Talking heads from speech, with pose and emotion (SPEAK).",
      "",
      *lines,
      "",
      "speak COMMAND --help    flags of one command",
      "speak --version",
    ]
  )


def main() -> None:
  """Runs a command in this process, as `python -m MODULE` does."""
  command, *rest = sys.argv[1:] or ["--help"]
  if command in ("-h", "--help", "help"):
    print(usage())
    return
  if command == "--version":
    print(f"speak {speak_jax.__version__}")
    return
  name = command.replace("_", "-")
  name = ALIASES.get(name, name)
  if name not in COMMANDS:
    near = difflib.get_close_matches(name, [*COMMANDS, *ALIASES], 1)
    hint = f"; did you mean {near[0]}?" if near else "; see speak --help"
    print(f"speak: there is no command {command}{hint}", file=sys.stderr)
    sys.exit(BAD_CONFIG)
  sys.argv[1:] = rest
  runpy.run_module(COMMANDS[name][0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
  main()
