"""Torch operations that a grader may allow host code, by overload packet: `aten.empty`, `c10d.send`."""

HOST_OPS = frozenset(
    f"aten.{name}"
    for name in (
        # allocation
        "empty empty_like empty_strided new_empty new_empty_strided zeros zeros_like new_zeros full full_like new_full "
        # views
        "view _unsafe_view reshape as_strided expand t transpose permute slice select unsqueeze squeeze detach alias "
        "unbind split split_with_sizes diagonal narrow unflatten movedim swapaxes broadcast_to view_as lift_fresh "
        # .contiguous() of a non-contiguous tensor, and reading a scalar on the host
        "clone contiguous _local_scalar_dense item is_same_size sym_size sym_stride sym_numel"
    ).split()
)
"""Torch operations that host code around a kernel may use on tensors of any size, by overload packet."""

_ELEMENTWISE = (
    "add sub rsub mul div neg abs sign reciprocal exp exp2 log log2 sqrt rsqrt pow square tanh erf sigmoid round floor "
    "ceil clamp clamp_min clamp_max maximum minimum where masked_fill eq ne lt le gt ge bitwise_and bitwise_or "
    "bitwise_xor bitwise_not bitwise_left_shift bitwise_right_shift __and__ __or__ __xor__ __lshift__ __rshift__ "
    "logical_and logical_or logical_not isfinite isnan isinf nan_to_num remainder floor_divide fmod trunc frac"
).split()

ARITHMETIC = frozenset(f"aten.{name}{in_place}" for name in _ELEMENTWISE for in_place in ("", "_")) | frozenset(
    f"aten.{name}"
    for name in (
        "__iand__ __ior__ __ixor__ __ilshift__ __irshift__ "
        # reductions and scans
        "sum mean amax amin max min any all cumsum prod "
        # products of matrices
        "mm bmm matmul addmm addmm_ baddbmm baddbmm_ mv dot "
        # made, filled, copied, put together, picked out
        "arange ones ones_like scalar_tensor eye tril triu tril_ triu_ copy_ fill_ zero_ _to_copy to cat stack "
        "index index_put index_put_ index_select gather scatter scatter_ repeat repeat_interleave flip roll "
        "constant_pad_nd unfold sort argsort kthvalue topk quantile "
        # what autograd calls for these and for views, beside what stands here already
        "slice_backward select_backward unfold_backward index_add index_add_ scatter_add cumprod sgn tanh_backward "
        "sigmoid_backward"
    ).split()
)
"""Operations on whole tensors that an exercise may allow whose work is not a kernel: `HOST_OPS | ARITHMETIC`. What does
a whole exercise in one call, such as attention, softmax or quantization, is not among them."""

MESSAGES = frozenset({"c10d.send", "c10d.recv_", "c10d.recv_any_source_", "c10d.barrier"})
"""From rank to rank: what a collective is made of."""
COLLECTIVES = frozenset(
    f"c10d.{name}"
    for name in (
        "allreduce_ _allgather_base_ allgather_ _reduce_scatter_base_ reduce_scatter_ broadcast_ reduce_"
    ).split()
) | frozenset(
    f"_c10d_functional.{name}"
    for name in "all_reduce all_reduce_ all_gather_into_tensor reduce_scatter_tensor broadcast wait_tensor "
    "_wrap_tensor_autograd".split()
)
"""Among all ranks at once, however they are called."""
