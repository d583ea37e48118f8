"""Measures runs and bundles on held-out people, and writes a report.

  python -m speak_jax.evaluate --model RUN|BUNDLE --data DATA --out REPORT \
    [--swap] [--syncnet syncnet_v2.model] [--cache DIR]
  python -m speak_jax.evaluate --models NAME=RUN,NAME=BUNDLE --data DATA ...
  python -m speak_jax.evaluate --table 1 --models ... --data NAME=DATA,NAME=DATA
  python -m speak_jax.evaluate --table 3 --models full=RUN,no_pose=RUN,... ...
  python -m speak_jax.evaluate --self-test

With --models the methods stand side by side in REPORT/methods.md, .csv, .json
and .tex: what each needs and sees, static frame and ground truth, milliseconds
a frame, and the paper's Table I beside. A run of a method that can be used in
several ways is named as RUN@MODE.
REPORT/report.html is all of it in one file, with videos; REPORT/report.md the
same without them; REPORT/metrics.json every figure under a flat name;
REPORT/videos/METHOD/CLIP.mp4 what was measured, for `speak_jax.tools.study`.
Of a run whose later stages are not there yet the earlier ones are measured.
Lip sync is judged by the official SyncNet v2 where its weights are given
(Sync-C and Sync-D, the field's figures), else by the run's own SyncNet, of
several runs by that of the first that has one. LPIPS and FID are there where
their public weights are given (--lpips, --inception).

--swap asks how well the codes are apart: the swap matrix, probes, and what
other speech or none changes. With --models it drives every method's portraits
by three other people, as far as it can be driven; methods.md says what came.

--table writes REPORT/table.md, .csv, .json and .tex: 1 the paper's Table I for
any data sets, each apart; 3 the encoders left out (full, no_identity, no_pose,
no_emotion); losses the losses left out, as in v1 of the paper (full,
no_identity, no_cls, no_pose, no_emotion, no_self, no_irfd, no_gan, no_vgg,
no_sync). Of several data sets each has a report in REPORT/NAME.

--self-test measures damaged copies of rendered clips and compares with stored
figures: run it once on a machine before trusting a number from it.
"""

import re
from pathlib import Path

from absl import app, flags

from data_pipelines.dataset.paths import named_folders
from data_pipelines.faces.nets import MissingModelError
from speak_jax.bundle import is_bundle
from speak_jax.common import command_line, outputs
from speak_jax.evaluation.cache import Cache
from speak_jax.evaluation.plan import SHOWN_CLIPS, Plan
from speak_jax.evaluation.protocol import evaluate, tabulate
from speak_jax.evaluation.report import tables
from speak_jax.evaluation.report.paper_tables import KINDS, Result
from speak_jax.methods import registry
from speak_jax.tools.self_test import check

FLAGS = flags.FLAGS

ALONE = "speak"  # the name of a model that is evaluated by itself
_RESERVED = ("irfd", "meta", "syncnet")  # what other figures begin with
_HEADLINES = (
  "psnr",
  "ssim",
  "mouth_r",
  "sync_c",
  "sync_d",
  "psnr_over_static",
  "shuffled_driving_minus_true",
  "mouth_box_over_shuffled",
)
_PART_HEADLINES = (
  "syncnet/two_way",
  "irfd/psnr",
  "irfd/pose_moved",
  "irfd/pose_moved_no_swap",
  "irfd/identity_swap_margin",
  "speak/static_psnr",
)


def named_models(flag: str) -> dict[str, registry.Place]:
  """{name: place} of a flag such as full=RUN,no_pose=RUN2,video=RUN3@video.

  Raises:
    ValueError: a name is missing, odd, reserved or there twice.
  """
  paths = {}
  for part in flag.split(","):
    name, sign, path = part.partition("=")
    if not sign or not path:
      raise ValueError(f"--models: {part!r} is not NAME=RUN")
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name) or name in _RESERVED:
      raise ValueError(f"--models: {name!r} cannot be a name")
    if name in paths:
      raise ValueError(f"--models: {name} is there twice")
    paths[name] = registry.place(path)
  return paths


def _headlines(result: Result) -> list[str]:
  """A line for each metric that is printed at the end."""
  names = [*_PART_HEADLINES]
  for entry in result.entries:
    names += [f"{entry.name}/{metric}" for metric in _HEADLINES]
  return [
    f"{name:36s} {result.metrics[name]:.3f}"
    for name in names
    if name in result.metrics
  ]


def _plan() -> Plan:
  """What the flags ask for.

  Raises:
    ValueError: the flags do not go together; one line.
  """
  if bool(FLAGS.model) == bool(FLAGS.models):
    raise ValueError("give either --model or --models")
  if not FLAGS.out:
    raise ValueError("give --out, the folder of the report")
  if FLAGS.swap and FLAGS.table:
    raise ValueError("--swap is not in the paper's tables: leave --table out")
  models = (
    named_models(FLAGS.models)
    if FLAGS.models
    else {ALONE: registry.place(FLAGS.model)}
  )
  max_bytes = round(FLAGS.cache_gb * 1e9)
  return Plan(
    models={name: x.path for name, x in models.items()},
    modes={name: x.mode for name, x in models.items() if x.mode},
    side_by_side=bool(FLAGS.models) and not FLAGS.table,
    speed=FLAGS.speed,
    clips=FLAGS.clips,
    seed=FLAGS.seed,
    syncnet=Path(FLAGS.syncnet) if FLAGS.syncnet else None,
    lpips=FLAGS.lpips,
    inception=FLAGS.inception,
    cache=Cache(Path(FLAGS.cache), max_bytes) if FLAGS.cache else None,
    swap=FLAGS.swap,
    videos=FLAGS.videos,
  )


def _check_out(out: Path, plan: Plan) -> None:
  """Refuses a folder whose files are read, or that cannot be written into.

  Raises:
    ValueError: one line.
  """
  files = (FLAGS.syncnet, FLAGS.inception, *FLAGS.lpips.split(","))
  models = plan.models.values()
  bundles = [path for path in models if is_bundle(path)]
  data = named_folders(FLAGS.data).values() if FLAGS.data else ()
  outputs.check_folder(
    out, [*models, *filter(None, files)], sealed=[*bundles, *data]
  )


def main(_: list[str]) -> int:
  """Reads the flags, measures, prints the headlines; 1 and a line if not."""
  if FLAGS["self-test"].value:
    return check.report()
  try:
    plan = _plan()
    out = Path(FLAGS.out)
    _check_out(out, plan)
    if FLAGS.table:
      written = tabulate(plan, FLAGS.table, FLAGS.data, out)
      print("\n".join(map(tables.markdown, written)), end="")
      print(f"wrote {out / 'table.md'}")
    else:
      result = evaluate(plan, FLAGS.data, out)
      print("\n".join(_headlines(result)))
      if result.methods is not None:
        print(tables.markdown(result.methods), end="")
      print(f"wrote {out / 'report.html'}")
  except (ValueError, MissingModelError) as error:
    return command_line.fail("error", str(error))
  return 0


if __name__ == "__main__":
  flags.DEFINE_string("model", "", "RUN or BUNDLE")
  flags.DEFINE_string("models", "", "NAME=RUN,NAME=BUNDLE: side by side")
  flags.DEFINE_string("data", "", "prepared data sets; empty: the run's own")
  flags.DEFINE_string("out", "", "folder of the report")
  flags.DEFINE_integer("clips", 24, "held-out clips at most", lower_bound=2)
  flags.DEFINE_integer("seed", 0, "seed of the bootstrap and of the donors", 0)
  flags.DEFINE_string("syncnet", "", "weights of the official SyncNet v2")
  flags.DEFINE_string(
    "lpips", "", "weights of LPIPS: AlexNet's file and alex.pth, with a comma"
  )
  flags.DEFINE_string("inception", "", "weights of FID's Inception")
  flags.DEFINE_bool(
    "swap", False, "how well are the codes apart; of --models: driven by others"
  )
  flags.DEFINE_bool(
    "speed", True, "of --models: time each at 1 and at 64 frames"
  )
  flags.DEFINE_enum("table", "", ["", *KINDS], "write the paper's table")
  flags.DEFINE_integer(
    "videos", SHOWN_CLIPS, "clips of which videos are kept", lower_bound=0
  )
  flags.DEFINE_string("cache", "", "folder that keeps generated frames")
  flags.DEFINE_float("cache_gb", 4, "its size at most", lower_bound=0)
  flags.DEFINE_bool(
    "self-test", False, "whether the figures mean here what they should"
  )
  app.run(main, flags_parser=command_line.parser("evaluate"))
