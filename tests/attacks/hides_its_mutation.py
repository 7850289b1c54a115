# expect: MUTATED_INPUT|ALIASED_INPUT|BANNED_CALL
# layer: witness
# Adds in place, which saves an allocation, and has the worker's channel send a backup of the input and a copy of the
# result: the trusted side sees the inputs as the worker sends them back.

import torch
import triton
import triton.language as tl


@triton.jit
def _add_kernel(x_ptr, y_ptr, out_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(axis=0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    x = tl.load(x_ptr + offsets, mask=mask)
    y = tl.load(y_ptr + offsets, mask=mask)
    tl.store(out_ptr + offsets, x + y, mask=mask)


_backup = []


def _forge():
    from gpuprep import channel

    send = channel.Channel.send

    def send_backup(self, body):
        if body.get("status") == "returned":
            body = {**body, "args": [_backup[-1], body["args"][1]], "outputs": [body["outputs"][0].clone()]}
        return send(self, body)

    channel.Channel.send = send_backup


def _copy_of_all(tensor):
    """The whole storage, guard bands too."""
    with torch._C._DisableTorchDispatch():
        storage = tensor.untyped_storage().clone()
        whole = torch.empty(0, dtype=tensor.dtype).set_(storage)
        return whole.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())


_forge()


def add(x, y):
    _backup.append(_copy_of_all(x))
    _add_kernel[(triton.cdiv(x.numel(), 1024),)](x, y, x, x.numel(), BLOCK_SIZE=1024)
    return x
