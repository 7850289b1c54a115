"""Calls what a case of ex_15 asks for: add, total, or add through torch's dispatcher."""

import torch


def drive(module, *args):
    """One call.

    Args:
        module: the learner's.
        args: the tensors, then `add`, `total` or `torch_op`.
    """
    *tensors, op = args
    if op == "torch_op":
        return _through_torch(module, *tensors)
    return getattr(module, op)(*tensors)


def _through_torch(module, x, y):
    operator = getattr(torch.ops.gpuprep_ex15, "add", None)
    if operator is None:
        # What add itself lacks is to be told first.
        module.add(x, y)
        raise NotImplementedError("no operator gpuprep_ex15::add is registered, see torch.library")
    schema = operator.default._schema  # noqa: SLF001  it has no public name
    if [str(argument.type) for argument in schema.arguments] != ["Tensor", "Tensor"] or schema.is_mutable:
        raise RuntimeError(f"the schema must be (Tensor x, Tensor y) -> Tensor, it is {schema}")
    # Tensors on the meta device have everything but data: what is called for them is the fake implementation.
    empty = [torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device="meta") for t in (x, y)]
    try:
        fake = operator(*empty)
    except NotImplementedError:
        # That would say that a TODO is still open, in a file that may have none.
        raise RuntimeError("gpuprep_ex15::add has no fake implementation, see torch.library.register_fake") from None
    if not isinstance(fake, torch.Tensor) or (fake.shape, fake.dtype, fake.device.type) != (x.shape, x.dtype, "meta"):
        raise RuntimeError(
            f"the fake implementation must return an empty tensor like x, {x.dtype} {list(x.shape)}; it returned {fake}"
        )
    if any(fake is tensor for tensor in empty):
        raise RuntimeError("the fake implementation returned an input, which the schema says that add never does")
    return operator(x, y)
