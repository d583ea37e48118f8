"""Says whether training fits a machine that is not here, and what it does.

  python -m speak_jax.tools.compile_for --topology v5e:4x4 \
    --config configs/speak.py:base256 [--stages irfd,speak] [--search] \
    [--out TABLE.json]

XLA's compilers for TPUs and NVIDIA's GPUs make every program of the stages as
they would for that machine. For each: seconds to compile, bytes of a device
against what it has, products, cycles of a TPU by XLA's own cost model, what
devices exchange, loops, gathers, and the ten largest values that it holds with
the lines of ours they come from. With --search the largest microbatch is
looked for, where the config's own does not fit. Nothing is run, and no memory
of that machine is needed here.

Machines: v4, v5e, v5p, v6e with the shape of a slice, as v5e:4x4; v100, a100,
h100, h200 with how many, as h200:8. Needed: pip install libtpu for TPUs;
jax-cuda13-plugin and jax-cuda13-pjrt for GPUs (no driver, none of CUDA's
libraries), of V100 the same for CUDA 12 and nvidia-cuda-nvcc-cu12. Exit code
64: it cannot be said.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import jax
from absl import app, flags
from ml_collections import ConfigDict, config_flags

from speak_jax.common import command_line, exit_codes, files
from speak_jax.common.progress import say
from speak_jax.stages.registry import STAGES
from speak_jax.tools.compile_for import chips, programs, report
from speak_jax.training import config_validation

FLAGS = flags.FLAGS


def verdict(
  config: ConfigDict, name: str, machine: chips.Machine, search: bool
) -> report.Verdict:
  """A stage on a machine.

  Args:
    config: The run's.
    name: Of the stage.
    machine: Where it would be trained.
    search: Whether to look for a smaller microbatch where it does not fit.

  Raises:
    ValueError: the batch does not divide; one line.
  """
  config = programs.config_for(config, machine)
  made = []
  for program in programs.compiled(config, name, machine):
    say(
      f"{machine.name}: {name}, {program.phase}: {program.name} compiled in"
      f" {program.seconds:.0f} s, {program.peak / 1e9:.2f} GB"
    )
    made.append(program)
  smaller: Sequence[programs.Program] = ()
  if search and not programs.fit(made, machine):
    least = STAGES[name].make(config).together
    found = programs.largest_microbatch(config, name, machine, least)
    smaller = found[1] if found else ()
  return report.Verdict(name, made[0].microbatch, made, smaller)


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns the exit code."""
  del argv
  # Neither devices that are here nor Google's cloud are asked for anything.
  jax.config.update("jax_platforms", "cpu")
  os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
  # libtpu lets one process a machine in, for the sake of chips that are there.
  os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
  config = FLAGS.config
  tables = []
  try:
    config_validation.validate(config)
    if not FLAGS.topology:
      raise ValueError("give --topology, as in v5e:4x4 or h200:8")
    for name in FLAGS.topology:
      machine = chips.machine(name)
      verdicts = [
        verdict(config, stage, machine, FLAGS.search)
        for stage in FLAGS.stages or config.stages
      ]
      print(report.lines(machine, verdicts), flush=True)
      tables.append(report.values(machine, verdicts))
  except ValueError as error:
    return command_line.fail("compile_for", str(error), exit_codes.BAD_CONFIG)
  if FLAGS.out:
    files.write(Path(FLAGS.out), json.dumps(tables, indent=1) + "\n")
  return exit_codes.DONE


if __name__ == "__main__":
  config_flags.DEFINE_config_file("config", None, "Experiment.")
  flags.DEFINE_list("topology", [], "KIND:SHAPE, comma-separated.")
  flags.DEFINE_list("stages", [], "Which; empty: the config's.")
  flags.DEFINE_bool("search", False, "Look for a microbatch that fits.")
  flags.DEFINE_string("out", "", "JSON of what is printed.")
  flags.mark_flag_as_required("config")
  app.run(main, flags_parser=command_line.parser("compile_for"))
