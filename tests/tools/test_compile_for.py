"""Programs for machines that are not here: what is read off them."""

import importlib.util
import json

import jax
import jax.numpy as jnp
import pytest

from speak_jax.tools.compile_for import __main__ as compile_for
from speak_jax.tools.compile_for import chips, hlo, programs, report
from tests.stages import small


def _compiled(run, *shapes):
  return jax.jit(run).lower(*shapes).compile().as_text()


def test_instructions_are_counted_also_within_fusions():
  def run(x, index):
    table = jnp.sin(x) * 2 + 1
    picked = table[index]
    return jax.lax.fori_loop(0, 9, lambda i, y: y @ x + i, picked)

  x = jax.ShapeDtypeStruct((16, 16), jnp.float32)
  index = jax.ShapeDtypeStruct((16,), jnp.int32)
  found = hlo.summary(_compiled(run, x, index))
  assert found.count("while") == 1
  assert found.count("gather") + found.count("dynamic-slice") >= 1
  assert found.count("sine") == 1
  assert found.count("nothing-like-it") == 0
  assert found.collectives == {}


def test_the_largest_values_have_their_size_and_our_line():
  found = hlo.summary(_HLO, values=2)
  first, second = found.largest
  # 4 x 6 float32 in tiles of 8 x 128, 6 padded to 128 and 4 to 8.
  assert (first.bytes, first.padding) == (4 * 8 * 128, 4 * (8 * 128 - 4 * 6))
  assert first.source == "speak_jax/nn/warp.py:71"
  assert second.shape == "bf16[3], s8[8]"
  assert second.bytes == 2 * 3 + 8
  assert found.collectives == {"all-reduce": (2, 4 * 8 * 128 + 4)}
  assert found.custom_calls == {"AllocateBuffer": 1}
  # What only a fusion passes on lies nowhere.
  assert "999" not in first.shape + second.shape


_HLO = """HloModule m, is_scheduled=true

FileNames
1 "/somewhere/jax/_src/numpy.py"
2 "/somewhere/speak_jax/nn/warp.py"

FunctionNames
1 "f"

FileLocations
1 {file_name_id=2 function_name_id=1 line=71 end_line=71 column=2}
2 {file_name_id=1 function_name_id=1 line=9 end_line=9 column=2}

StackFrames
1 {file_location_id=1 parent_frame_id=1}
2 {file_location_id=2 parent_frame_id=1}


%fused (p: f32[4,6]) -> f32[4,6] {
  %p = f32[4,6]{1,0} parameter(0)
  ROOT %big = f32[999,999]{1,0} negate(%p)
}

ENTRY %main (a: f32[4,6]) -> f32[4,6] {
  %a = f32[4,6]{1,0:T(8,128)} parameter(0)
  %x = f32[4,6]{1,0:T(8,128)} fusion(%a), kind=kLoop, calls=%fused, metadata={op_name="y" stack_frame_id=2}
  %y = (bf16[3]{0}, s8[8]{0}) custom-call(), custom_call_target="AllocateBuffer"
  %r = f32[4,6]{1,0:T(8,128)} all-reduce-start(%x), to_apply=%add
  %s = f32[] all-reduce(%a), to_apply=%add
  ROOT %t = (f32[4,6]{1,0}) tuple(%x)
}
"""  # noqa: E501


def test_cycles_of_loops_count_as_often_as_they_turn():
  text = """
%inner (p: f32[4]) -> f32[4] {
  ROOT %n = f32[4]{0} negate(%p), backend_config={"estimated_cycles":"999"}
}

%body (t: (s32[], f32[4])) -> (s32[], f32[4]) {
  %c = s32[] constant(100)
  %x = f32[4]{0} fusion(%t), kind=kLoop, calls=%inner, backend_config={"estimated_cycles":"5"}
  ROOT %r = (s32[], f32[4]{0}) tuple(%c, %x)
}

%cond (t: (s32[], f32[4])) -> pred[] {
  %n = s32[]{:T(128)} constant(7)
  ROOT %lt = pred[]{:T(512)} compare(%t, %n), direction=LT
}

ENTRY %main (a: f32[4]) -> f32[4] {
  %w = (s32[], f32[4]{0}) while(%a), condition=%cond, body=%body
  ROOT %f = f32[4]{0} fusion(%w), kind=kLoop, calls=%inner, backend_config={"estimated_cycles":"11"}
}
"""  # noqa: E501
  assert hlo.cycles(text) == 7 * 5 + 11
  assert hlo.cycles(_HLO) == 0


@pytest.mark.parametrize(
  "name", ["v5e", "v5e:", "k80:2", "h200:x", "v5e:4x", ""]
)
def test_a_machine_that_is_none_is_named(name):
  with pytest.raises(ValueError, match="as in v5e:4x4 and h200:8") as refused:
    chips.machine(name)
  assert "\n" not in str(refused.value)


@pytest.mark.skipif(
  importlib.util.find_spec("jax_cuda12_plugin") is not None,
  reason="CUDA 12's compiler is here",
)
def test_what_a_v100_needs_is_said():
  with pytest.raises(ValueError, match="v100:8: CUDA 13 makes nothing") as said:
    chips.machine("v100:8")
  assert "jax-cuda12-plugin" in str(said.value)
  assert "\n" not in str(said.value)


def test_a_program_that_does_not_compile_is_named_in_a_line():
  machine = _machine(1 << 40)._replace(options={"xla_no_such_option": True})
  line = "^cpu:1: syncnet, contrast: single does not compile: .*no_such_option"
  with pytest.raises(ValueError, match=line) as refused:
    list(programs.compiled(CONFIG, "syncnet", machine))
  assert "\n" not in str(refused.value)


def test_a_gpu_in_xlas_words():
  chip = chips.CHIPS["h200"]
  text = chips.target_config(chip.title, chip.memory, chip.gpu)
  assert text.count("{") == text.count("}")
  for field in (
    "core_count: 132",
    "cuda_compute_capability { major: 9 minor: 0 }",
    "device_memory_size: 151397597184",
    'platform_name: "CUDA"',
  ):
    assert field in text


def _machine(memory: int) -> chips.Machine:
  """The CPU as a machine with so many bytes."""
  chip = chips.Chip("a CPU", memory, 1.0)
  return chips.Machine("cpu:1", chip, jax.devices("cpu")[:1], {})


CONFIG = small.config(syncnet__batch=2, syncnet__microbatch=2)


def test_a_stage_that_fits_is_said_to():
  machine = _machine(1 << 40)
  found = compile_for.verdict(CONFIG, "syncnet", machine, search=True)
  [program] = found.programs
  assert (program.name, program.microbatch, program.turns) == ("single", 2, 1)
  assert not found.smaller
  assert program.arguments > 0 and program.temporaries > 0
  assert program.gflop > 0
  text = report.lines(machine, [found])
  assert "syncnet fits" in text
  assert "speak_jax/" in text  # lines of ours
  values = json.loads(json.dumps(report.values(machine, [found])))
  stage = values["stages"]["syncnet"]
  assert stage["fits"] and stage["largest_microbatch"] == 2
  assert stage["programs"][0]["peak"] == program.peak


def test_of_a_stage_that_does_not_fit_the_largest_microbatch_is_found():
  config = programs.config_for(CONFIG, _machine(0))
  peaks = {}
  for size in (1, 2):
    smaller = small.config(syncnet__batch=2, syncnet__microbatch=size)
    made = programs.compiled(smaller, "syncnet", _machine(0))
    peaks[size] = max(x.peak for x in made)
  assert peaks[1] < peaks[2]
  machine = _machine(peaks[1])
  found = compile_for.verdict(config, "syncnet", machine, search=True)
  assert {x.microbatch for x in found.smaller} == {1}
  assert {x.name for x in found.smaller} == {"accumulate", "finish"}
  text = report.lines(machine, [found])
  assert "does not fit" in text and "the largest that does is 1" in text
  nothing = compile_for.verdict(config, "syncnet", _machine(0), search=True)
  assert "no smaller one" in report.lines(_machine(0), [nothing])


@pytest.mark.skipif(
  importlib.util.find_spec("libtpu") is None, reason="no libtpu here"
)
def test_a_step_is_compiled_for_tpus_that_are_not_here():
  machine = chips.machine("v5e:2x2")
  assert len(machine.devices) == 4
  found = compile_for.verdict(CONFIG, "syncnet", machine, search=False)
  [program] = found.programs
  assert 0 < program.peak < machine.room
  assert "all-reduce" in program.summary.collectives
