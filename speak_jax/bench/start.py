"""How soon a new process has its first frame."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator

from speak_jax.bench.figure import Figure
from speak_jax.bench.plan import Plan

_CODE = """
import sys, time, speak_jax
from speak_jax.common import packaged
made = speak_jax.load().generate(
  packaged.PORTRAIT, packaged.SENTENCE, size=int(sys.argv[1])
)
next(iter(made))
print(time.time())
"""


def figures(plan: Plan) -> Iterator[Figure]:
  """Python, imports, the model, the inputs, compiling, one frame."""
  environment = {
    name: value
    for name, value in os.environ.items()
    if name != "JAX_COMPILATION_CACHE_DIR"
  }
  for size in plan.sizes:
    begin = time.time()
    done = subprocess.run(
      [sys.executable, "-c", _CODE, str(size)],
      check=True,
      env=environment,
      stdout=subprocess.PIPE,
      text=True,
    )
    end = float(done.stdout.split()[-1])
    note = "no compiled programs kept"
    yield Figure(f"first frame, {size} px", "s", (end - begin,), note)
