"""Prepares a data set on many machines, as an Apache Beam pipeline.

  python -m data_pipelines.ingest.beam --source mead --input RAW \\
    --output DATA -- --runner=FlinkRunner --flink_master=HOST:8081

Flags are those of `data_pipelines.prepare`; what stands behind `--` is for
Beam. An element of the pipeline is the work of one machine of as many as there
are shards, so it does what `prepare --shard i/n` does, with the same bytes.
RAW and DATA have to be under the same names on every machine.
docs/preparing.md has the commands for Flink, Spark and Dataflow.
"""

import functools
import sys
from typing import Any

from absl import app, flags

from data_pipelines import prepare as command
from data_pipelines.ingest import engine
from data_pipelines.sources.task import Task
from speak_jax.common import command_line

MISSING = (
  "Apache Beam is not installed; docs/preparing.md says how, in an environment"
  " of its own"
)


def main(argv: list[str]) -> int:
  """Runs the command; returns the exit code."""
  mine = sys.argv[: len(sys.argv) - len(argv) + 1]
  return command.run(
    lambda tasks, meta: prepare(tasks, meta, mine, options=argv[1:])
  )


def prepare(
  tasks: list[Task],
  meta: dict[str, Any],
  argv: list[str],
  *,
  options: list[str],
) -> engine.Summary:
  """Makes the data set that flags describe.

  Args:
    tasks: What the flags choose.
    meta: As for `engine.prepare`.
    argv: The command with its flags, from which every worker finds the same
      tasks: they are too many to be sent.
    options: Of Beam: `--runner=...` and what the runner wants.

  Raises:
    PrepareError: see `engine.prepare`; or Beam is not installed.
  """
  try:
    import apache_beam as beam  # pyright: ignore[reportMissingImports]
    from apache_beam.options import (  # pyright: ignore[reportMissingImports]
      pipeline_options,
    )
  except ImportError:
    raise engine.PrepareError(MISSING) from None
  count = len(engine.plan(tasks, meta))
  with beam.Pipeline(options=pipeline_options.PipelineOptions(options)) as line:
    _ = (
      line
      | "Shards" >> beam.Create(range(1, count + 1))
      | "Spread" >> beam.Reshuffle()
      | "Make" >> beam.Map(_make, argv=tuple(argv), count=count)
    )
  return command.make(tasks, meta)  # only the data set is left to be made


def _make(number: int, *, argv: tuple[str, ...], count: int) -> None:
  """Makes one shard; on any machine."""
  tasks, meta = _chosen(argv)
  engine.prepare(
    tasks,
    flags.FLAGS.output,
    workers=1,
    meta=meta,
    max_reject=1.0,  # all together are judged
    share=(number, count),
    shown=False,
  )


@functools.cache
def _chosen(argv: tuple[str, ...]) -> tuple[list[Task], dict[str, Any]]:
  """What the flags choose; once a process."""
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(argv)
  survey, meta = command.chosen()
  return survey.tasks, meta


if __name__ == "__main__":
  # Workers look for `_make` in this module by its name, not in __main__.
  from data_pipelines.ingest import beam

  flags.mark_flags_as_required(["source", "output"])
  app.run(beam.main, flags_parser=command_line.parser("beam"))
