"""Trains ablations at equal steps, and writes one table of what each moves.

  python -m speak_jax.tools.ablate \
    --config configs/speak.py[:preset[,key=value]] --data DATA --out DIR \
    [--table 3|losses|ours|all] [--only NAME,NAME] [--clips N] \
    [--config.any.key=value]

The rows stand in configs/ablations.py. `full` is the config as it is; every
other row is that with its overrides, on the same data, with the same seed and
as many steps. Stages that a row does not touch are those of `full`. Every row
is measured by itself, by `speak_jax.evaluate` on the same held-out clips. A row
whose overrides the config has already is left out, and the table names it.

DIR/runs/ROW, DIR/reports/ROW, DIR/logs/ROW.log; DIR/table.md and table.json
are written anew after every row. The same command goes on where it was
stopped, and does only what is missing; a run of the same config and data that
is there already may be linked as DIR/runs/full.

Exit codes are those of speak_jax.train. A row that fails is named and the
others are run nonetheless: the code is then that of the first. Nothing is run
without `full`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import app, flags
from ml_collections import config_flags

from data_pipelines.dataset.paths import named_folders
from speak_jax.common import command_line, outputs
from speak_jax.common.exit_codes import BAD_CONFIG
from speak_jax.configs.ablations import GROUPS
from speak_jax.configs.common import current_flags
from speak_jax.tools.ablate.plan import Base, chosen, plan
from speak_jax.tools.ablate.run import Commands, ablate


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns the exit code."""
  if len(argv) > 1:
    return command_line.fail(
      "ablate", f"{argv[1]}: unexpected argument", BAD_CONFIG
    )
  values: Any = flags.FLAGS
  flag = values["config"]
  base = Base(flag.value, flag.config_filename, flag.override_values)
  out = Path(values.out)
  try:
    outputs.check_folder(out, [], sealed=named_folders(values.data).values())
    names = chosen(values.table, values.only)
    jobs = plan(base, values.data, out, values.clips)
    call = Commands()
    call.install()
    return ablate(jobs, names, out, call)
  except ValueError as error:
    return command_line.fail("ablate", str(error), BAD_CONFIG)
  except OSError as error:
    return command_line.fail("ablate", f"{error.filename}: {error.strerror}", 1)


if __name__ == "__main__":
  config_flags.DEFINE_config_file("config", None, "experiment")
  flags.DEFINE_string("data", None, "prepared data sets, comma-separated")
  flags.DEFINE_string("out", None, "DIR, folder of runs, reports and the table")
  flags.DEFINE_enum("table", "all", [*GROUPS, "all"], "which rows")
  flags.DEFINE_string("only", "", "NAME,NAME: of these rows, some")
  flags.DEFINE_integer("clips", 24, "held-out clips at most", lower_bound=2)
  flags.mark_flags_as_required(["config", "data", "out"])
  app.run(main, flags_parser=command_line.parser("ablate", current_flags))
