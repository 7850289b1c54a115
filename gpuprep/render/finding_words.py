"""Outcomes in words that fit any case: what can be told of one that stays hidden."""

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
