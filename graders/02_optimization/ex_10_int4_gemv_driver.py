"""Calls what a case of ex_10 asks for: `pack` or `gemv`."""


def drive(module, op, *args):
    """One call.

    Args:
        module: the learner's.
        op: `pack` or `gemv`.
        args: of that function.
    """
    if op == "gemv":
        return module.gemv(*args)
    packed = module.pack(*args)
    if not isinstance(packed, tuple) or len(packed) != 2:
        raise TypeError(f"pack() must return (w4, scales), it returned {type(packed).__name__}")
    return packed
