"""Prepares a data set on many machines, as an Apache Beam pipeline.

  python -m data_pipelines.ingest.beam --source mead --input RAW \\
    --output DATA -- --runner=FlinkRunner --flink_master=HOST:8081

Flags are those of `data_pipelines.prepare`; what stands behind `--` is for
Beam. Each element of the pipeline is one shard, made by the call that
`prepare --shard i/n` makes, so the bytes are the same.
RAW and DATA have to be under the same names on every machine.
docs/preparing.md has the commands for Flink, Spark and Dataflow.
"""

import functools
import sys
from typing import Any

from absl import app, flags

from data_pipelines import prepare as command
from data_pipelines.ingest import run
from data_pipelines.ingest.outcomes import PrepareError
from data_pipelines.ingest.plan import plan_shards
from data_pipelines.ingest.summary import Summary
from data_pipelines.sources.task import Task
from speak_jax.common import command_line

MISSING = (
  "Apache Beam is not installed; docs/preparing.md says how, in an environment"
  " of its own"
)


def main(argv: list[str]) -> int:
  """Runs the command; returns the exit code."""
  mine = sys.argv[: len(sys.argv) - len(argv) + 1]
  return command.run_with(
    lambda tasks, meta: prepare(tasks, meta, mine, options=argv[1:])
  )


def prepare(
  tasks: list[Task],
  meta: dict[str, Any],
  argv: list[str],
  *,
  options: list[str],
) -> Summary:
  """Makes the data set that flags describe.

  Args:
    tasks: What the flags choose.
    meta: As for `run.prepare`.
    argv: The command with its flags, from which every worker finds the same
      tasks: they are too many to be sent.
    options: Of Beam: `--runner=...` and what the runner wants.

  Raises:
    PrepareError: see `run.prepare`; or Beam is not installed.
  """
  try:
    import apache_beam as beam  # pyright: ignore[reportMissingImports]
    from apache_beam.options import (  # pyright: ignore[reportMissingImports]
      pipeline_options,
    )
  except ImportError:
    raise PrepareError(MISSING) from None
  count = len(plan_shards(tasks, meta))
  with beam.Pipeline(options=pipeline_options.PipelineOptions(options)) as line:
    _ = (
      line
      | "Shards" >> beam.Create(range(1, count + 1))
      | "Spread" >> beam.Reshuffle()
      | "Make" >> beam.Map(_make_shard, argv=tuple(argv), count=count)
    )
  return command.run_local(tasks, meta)  # which assembles


def _make_shard(number: int, *, argv: tuple[str, ...], count: int) -> None:
  """Makes shard `number` of `count`; runs on any machine."""
  tasks, meta = _find_clips(argv)
  run.prepare(
    tasks,
    flags.FLAGS.output,
    workers=1,
    meta=meta,
    max_reject=1.0,  # the rejects of all shards are judged together
    shard=(number, count),
    shown=False,
  )


@functools.cache
def _find_clips(argv: tuple[str, ...]) -> tuple[list[Task], dict[str, Any]]:
  """The clips and settings that the flags name; once a process."""
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(argv)
  survey, meta = command.find_clips()
  return survey.tasks, meta


if __name__ == "__main__":
  # Workers look for `_make_shard` in this module by its name, not in __main__.
  from data_pipelines.ingest import beam

  flags.mark_flags_as_required(["source", "output"])
  app.run(beam.main, flags_parser=command_line.parser("beam"))
