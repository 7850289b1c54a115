# expect: WRONG_STRIDES
# Swaps the strides and moves nothing: the fastest transpose there is, and not the one that was asked for.


def transpose(x):
    return x.t()
