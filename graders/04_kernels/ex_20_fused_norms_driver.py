"""Calls the operation of ex_20 that a case asks for."""


def drive(module, *args):
    """One call.

    Args:
        module: the learner's.
        args: the operation's arguments, then its name.
    """
    *args, op = args
    return getattr(module, op)(*args)
