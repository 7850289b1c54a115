"""Outcomes and causes in words that fit any case: what can be told where the cases are hidden."""

from __future__ import annotations

from collections.abc import Mapping

from gpuprep.model import Outcome

WHAT: Mapping[Outcome, str] = {
    Outcome.COMPILE_FAILED: "A kernel or the file does not compile.",
    Outcome.WRONG_SIGNATURE: "The function takes or returns something else than the task says.",
    Outcome.RAISED: "Your code raised an exception.",
    Outcome.CRASHED: "Your code's process died.",
    Outcome.DEADLOCK: "Something waits for what never comes.",
    Outcome.TIMED_OUT: "Your code was still running at the time limit.",
    Outcome.OUT_OF_BOUNDS: "An access lies outside of its tensor.",
    Outcome.MISALIGNED: "A wide access begins at an address that is no multiple of its size.",
    Outcome.BAD_SYNC: "Not all threads reach the same barrier.",
    Outcome.RACE: "The result depends on the order in which programs or threads run.",
    Outcome.WRONG_SHAPE: "An output has another shape than the task says.",
    Outcome.WRONG_DTYPE: "An output has another dtype, or is on another device, than the task says.",
    Outcome.WRONG_STRIDES: "An output has other strides than the task says.",
    Outcome.ALIASED_INPUT: "An output shares its memory with an input.",
    Outcome.MUTATED_INPUT: "An input was changed.",
    Outcome.BANNED_CALL: "Something other than the code that the task asks for did the work.",
    Outcome.WRONG_VALUES: "An output has wrong values.",
    Outcome.NOT_STARTED: "A part that the task asks for is still to be written.",
    Outcome.TOO_MUCH_WORK: "More work is done than fits the budget.",
    Outcome.TOO_SLOW: "It is slower than the target.",
}
"""What happened."""

CAUSES: Mapping[str, str] = {
    "assert": "an assertion or a trap in the kernel",
    "bad_sync": "a barrier inside an `if` or a loop that only some threads enter",
    "bank_conflicts": "lanes of a warp that hit different words of one bank of shared memory",
    "banned": "a library call that does what a kernel should do",
    "constant": "a result that does not depend on the inputs",
    "deadlock": "threads that wait for something that nobody will do any more",
    "division_by_zero": "an integer that is divided by zero",
    "dropped_term": "terms of a sum that never enter it: where a loop ends, or a mask",
    "endless_loop": "a loop whose condition stays true",
    "extra_communication": "more that is communicated than necessary",
    "extra_flops": "products that nobody needs",
    "extra_messages": "more messages than necessary",
    "extra_work": "data that is moved more than once",
    "identity": "an input that comes back unchanged",
    "low_occupancy": "blocks with much shared memory and few threads",
    "misaligned": "a wide access to a view that begins at any element",
    "narrow_accesses": "loads and stores of 4 bytes a lane where 16 would fit",
    "never_written": "elements that nothing writes",
    "offset": "a term that is missing, or added once too often",
    "out_of_bounds": "no mask on the last block, or a wrong stride",
    "overflow": "an exponential or a product that overflows",
    "own_part": "what the other ranks have was never added",
    "precision": "something computed or accumulated in too low a precision",
    "race": "writes to the same element that nothing orders",
    "rounding": "a value that is cut off instead of rounded",
    "scaled": "a factor that is missing, or one too many",
    "shared_traffic": "values that go through shared memory where shuffles would do",
    "shifted": "values that sit beside their place",
    "sign": "an opposite sign",
    "spread_nan": "NaN that comes in through something that should have been left out",
    "stack_overflow": "recursion, or arrays too large for a thread's stack",
    "stride": "a wrong stride",
    "tail": "the last, partly filled block and its mask",
    "tile_edge": "the edges of tiles",
    "too_many_launches": "more launches than necessary",
    "too_much_memory": "more memory than necessary",
    "transposed": "rows and columns, or two strides, that are swapped",
    "uncoalesced": "lanes of a warp that access elements far apart",
    "uninitialised": "shared memory that is read before it is written",
    "wrong_axis": "the other axis",
}
"""By the id of a diagnosis. One without any values, `wrong_values`, says nothing beyond the outcome."""
