"""Grades ex_20 fused residual norms."""

import functools

from gpuprep.grader import EDGE_SIZES, ITEMSIZE, Baseline, Budget, Case, ErrorModel, Expected, Grader, Tier, Traffic

GPU = ("cuda",)
ARGUMENTS = {
    "rms_norm": ("x", "residual", "weight", "eps"),
    "layer_norm": ("x", "residual", "weight", "bias", "eps"),
    "rms_norm_backward": ("dout", "dsummed", "summed", "weight", "eps"),
    "layer_norm_backward": ("dout", "dsummed", "summed", "weight", "eps"),
}
"""Of each operation; the driver takes its name as one more."""
FORWARD = ("rms_norm", "layer_norm")
AFFINE = ("weight", "bias")
N_MOST = 16384
"""The longest row that the task promises."""
ROWS_PER_PARTIAL = 16
"""At most one row of partial sums for so many rows: a sixteenth of what a second [M, N] tensor would be."""
TICKETS = 64
"""Bytes for those who count the programs that are done, so that the last one adds the partial sums up."""
SPREAD = 3.0
"""σ of the residual stream, so that leaving r out shows."""
LARGE_MEAN = 100.0
"""In units of σ. The deviations from the mean lose a hundred roundings then, mean(h²) − mean(h)² loses 10⁴."""
OUTLIER = 300.0
"""A few channels of a trained model are hundreds of times the others. float16 can't hold their squares."""
SMALL = 1e-3
"""Where eps counts as much as the values."""
ROUNDINGS = 24
MEAN_SHARE = 0.25
"""Of these roundings, what a mean may lose: one sum and a division. torch takes up to two."""
CHUNK = 2048
"""Rows that the oracle takes at a time: a dozen whole tensors in float64 would crowd a card."""


class FusedNorms(Grader):
    function = "rms_norm"
    parameters = ARGUMENTS["rms_norm"]

    def argument_names(self, case):
        return (*ARGUMENTS[case.op], "op")

    def cases(self, rng):
        larger = 2049 + 2 * rng.randrange(500)

        def cases_of(op):
            def case(m, n, dtype="float32", **rest):
                return Case({"op": op, "M": m, "N": n, "dtype": dtype, **rest})

            # Every edge for one of four that are built alike; few rows, since most solutions take them one by one.
            sizes = (*EDGE_SIZES[1:], 781, larger) if op == "rms_norm" else (33, 781, larger)
            rows = 16 if op in FORWARD else 2 * ROWS_PER_PARTIAL
            return [
                *(case(2, n) for n in sizes),
                *([case(2, N_MOST)] if op in FORWARD else []),
                *(case(m, n) for m, n in (((1, 33), (2, 1)) if op in FORWARD else ((1, 33),))),
                case(rows + 3, 781, "float16"),
                *(case(3, 781, "float16", distribution=kind) for kind in ("outlier", "small")),
                *(case(3, 781, distribution=kind, eps=1e-5) for kind in ("large_mean", "small")),
                *(case(3, 33, layout=f"padded_{name}") for name in _tensors(op)),
                *(Case({"op": op, "M": m, "N": n, "dtype": "bfloat16"}, devices=GPU)
                  for m, n in ((65, 781), (1025, larger), (33, N_MOST))),
                Case({"op": op, "M": 33, "N": N_MOST, "dtype": "float32"}, devices=GPU),
                Case({"op": op, "M": rows, "N": 256, "dtype": "float32"}, Tier.WORK),
                Case({"op": op, "M": 8192 - rng.randrange(64), "N": 8192, "dtype": "bfloat16"}, Tier.SPEED, GPU),
            ]  # fmt: skip

        return [case for op in ARGUMENTS for case in cases_of(op)]

    def inputs(self, case, draw):
        m, n, kind = case["M"], case["N"], case.get("distribution")
        names = ARGUMENTS[case.op][:-1]
        made = {name: draw.tensor(*([n] if name in AFFINE else [m, n]), dtype=case["dtype"]) for name in names}
        # What norms are there for: a residual stream that grows from layer to layer.
        stream = made["residual" if case.op in FORWARD else "summed"]
        if "dout" in made:
            # As a loss has it, gradients go with weights and values: the means in dx are far from zero.
            made["dout"] += made["weight"] * (1 + stream)
        stream += LARGE_MEAN if kind == "large_mean" else 1
        stream *= SPREAD
        if kind == "outlier":
            stream[:, n // 3] *= OUTLIER
        elif kind == "small":
            for name in {"x", "residual", "summed", "dout"} & set(names):
                made[name] *= SMALL
                if name != "dout":
                    # Padding: a row of which eps alone is left.
                    made[name][m // 2] = 0
        for name in names:
            if case.get("layout") == f"padded_{name}":
                made[name] = draw.place(made[name], "padded")
        return (*made.values(), case.get("eps", 1e-6), case.op)

    def oracle(self, case, *args):
        import torch

        n_tensors = len(_tensors(case.op))
        chunks = zip(*(tensor.split(CHUNK) for tensor in args[:n_tensors]), strict=True)
        exact = _exact_norm if case.op in FORWARD else _exact_gradients
        outputs = zip(*(exact(*chunk, *args[n_tensors:]) for chunk in chunks), strict=True)
        # Rows go one below the other; sums down the columns add up.
        joined = (
            [torch.cat(part) if part[0].dim() > 1 else sum(part) for part in zip(*parts, strict=True)]
            for parts in outputs
        )
        return tuple(Expected(value, case["dtype"], scale) for value, scale in joined)

    def honest(self, case, *args, order=None):
        compute = _norm if case.op in FORWARD else _gradients
        if order is None:
            return compute(*args)
        n_tensors = len(_tensors(case.op))
        if case.op not in FORWARD:
            dx, *sums = compute(*(tensor[order] for tensor in args[:n_tensors]), *args[n_tensors:])
            return dx[order.argsort()], *sums
        *tensors, eps, op = args
        return tuple(
            output[:, order.argsort()] for output in compute(*(tensor[..., order] for tensor in tensors), eps, op)
        )

    def error_model(self, case):
        # Sums of N terms, in a tree or a few hundred in a row, an inverse root and a few products. Or of M terms down a
        # column: n in a row make a random walk of errors, √n/4 roundings long, and a program has some hundred rows.
        return ErrorModel(roundings=ROUNDINGS)

    def reduction_size(self, case):
        return case["N"] if case.op in FORWARD else case["M"]

    def budgets(self, case):
        m, n, itemsize = case["M"], case["N"], ITEMSIZE[case["dtype"]]
        tensor, names = m * n * itemsize, _tensors(case.op)
        once = [Budget("bytes_loaded", tensor, tensor, f"M·N·itemsize: {name} once", of=name) for name in names]
        # A program that takes a single row loads weight and bias for it: on a card, from the L2 cache.
        n_loads, affine = len(ARGUMENTS[case.op]) - 1, "weight and bias" if case.op == "layer_norm" else "weight"
        loads = f"{n_loads}·M·N·itemsize: {', '.join(names)}, and {affine} again for each row"
        if case.op in FORWARD:
            # For those who keep a row's mean and r.
            kept = 2 * m * ITEMSIZE["float32"]
            return (
                *once,
                Budget("bytes_loaded", 2 * tensor, n_loads * tensor, loads),
                Budget("bytes_stored", 2 * tensor, 2 * tensor + kept, "2·M·N·itemsize: out and summed once"),
                Budget("launches", 1, 1, "one kernel does it"),
                Budget("peak_bytes", 0, 2 * tensor + kept, "2·M·N·itemsize: out and summed"),
            )
        n_sums = 2 if case.op == "layer_norm_backward" else 1
        sums, partials = n_sums * n * itemsize, n_sums * n * ITEMSIZE["float32"] * (m // ROWS_PER_PARTIAL)
        few = f"one row of float32 partial sums for {ROWS_PER_PARTIAL} rows"
        return (
            Budget("peak_bytes", 0, tensor + partials + sums + TICKETS, f"M·N·itemsize for dx, and {few}"),
            *once,
            Budget("bytes_loaded", 3 * tensor, n_loads * tensor + partials + TICKETS, f"{loads}; {few}"),
            Budget("bytes_stored", tensor + sums, tensor + partials + sums + TICKETS, f"M·N·itemsize: dx once; {few}"),
            Budget("launches", 1, 2 + n_sums, "one for the rows, the others down the columns"),
        )

    def traffic(self, case):
        # Two tensors in and two out, or three in and one out.
        elements = case["M"] * case["N"]
        return Traffic(bytes=4 * elements * ITEMSIZE[case["dtype"]], flops=8 * elements, dtype=case["dtype"])

    def baselines(self, case):
        def compiled(*args):
            import torch

            call = functools.partial(torch.compile(_norm if case.op in FORWARD else _gradients, dynamic=False), *args)
            call()
            return call

        return Baseline("eager", "torch's own norm", _library), Baseline("compiled", "torch.compile", compiled)


def _tensors(op):
    """Names of the arguments of shape [M, N]."""
    return [name for name in ARGUMENTS[op] if name not in (*AFFINE, "eps")]


def _normalised(h, eps, op):
    """x̂ and r of each row."""
    deviation = h - h.mean(1, keepdim=True) if op.startswith("layer") else h
    r = (deviation.square().mean(1, keepdim=True) + eps).rsqrt()
    return deviation * r, r


def _wide(*tensors):
    import torch

    return [tensor.to(torch.promote_types(tensor.dtype, torch.float32)) for tensor in tensors]


def _norm(x, residual, weight, *rest):
    """What one would write in torch: out and summed."""
    *bias, eps, op = rest
    summed = x + residual
    wide, weight, *bias = _wide(summed, weight, *bias)
    out = _normalised(wide, eps, op)[0] * weight
    return (out + bias[0] if bias else out).to(x.dtype), summed


def _gradients(dout, dsummed, summed, weight, eps, op):
    """dx and dweight, and of LayerNorm dbias."""
    dtype = dout.dtype
    dout, dsummed, summed, weight = _wide(dout, dsummed, summed, weight)
    normalised, r = _normalised(summed, eps, op)
    g = dout * weight
    gradient, sums = g - normalised * (g * normalised).mean(1, keepdim=True), [(dout * normalised).sum(0)]
    if op.startswith("layer"):
        gradient, sums = gradient - g.mean(1, keepdim=True), [*sums, dout.sum(0)]
    return tuple(output.to(dtype) for output in (r * gradient + dsummed, *sums))


def _drift(h, r, op):
    """How far an honest mean, a few roundings off, moves x̂: in units of all roundings that the error model allows."""
    return r * h.abs().mean(1, keepdim=True) * MEAN_SHARE if op.startswith("layer") else 0.0


def _exact_norm(x, residual, weight, *rest):
    """Value and scale of each output for some rows, in float64."""
    *bias, eps, op = rest
    # The task's own rounding. It is the same by way of float32, which has more than twice the digits, and two over.
    h, (weight, *bias) = (x + residual).double(), [tensor.double() for tensor in (weight, *bias)]
    normalised, r = _normalised(h, eps, op)
    scale = (normalised.abs() + _drift(h, r, op)) * weight.abs() + (bias[0].abs() if bias else 0.0)
    exact = x.double() + residual.double()
    return (_norm(h, 0.0, weight, *bias, eps, op)[0], scale), (exact, exact.abs())


def _exact_gradients(dout, dsummed, summed, weight, eps, op):
    """Value and scale of each output for some rows, in float64; of sums down the columns, these rows' share."""
    tensors = dout, dsummed, h, weight = [tensor.double() for tensor in (dout, dsummed, summed, weight)]
    normalised, r = _normalised(h, eps, op)
    size, g, drift = normalised.abs(), dout * weight, _drift(h, r, op)
    scale = g.abs() + size * (g * normalised).abs().mean(1, keepdim=True)
    scales = [(dout.abs() * (size + drift)).sum(0)]
    if op.startswith("layer"):
        mean, correlation = g.mean(1, keepdim=True).abs(), (g * normalised).mean(1, keepdim=True).abs()
        scale += g.abs().mean(1, keepdim=True) + drift * (correlation + size * mean)
        scales.append(dout.abs().sum(0))
    return tuple(zip(_gradients(*tensors, eps, op), (r * scale + dsummed.abs(), *scales), strict=True))


def _library(*args):
    """torch's own norm, or its autograd's backward pass, and the add: what to time."""
    import torch

    *args, eps, op = args
    norm = getattr(torch.nn.functional, op.removesuffix("_backward"))

    def forward(x, residual, *affine):
        summed = x + residual
        return norm(summed, affine[0].shape, *affine, eps), summed

    def backward(dsummed, out, leaves, dout):
        dx, *sums = torch.autograd.grad(out, leaves, dout, retain_graph=True)
        return dx + dsummed, *sums

    if op in FORWARD:
        return functools.partial(forward, *args)
    dout, dsummed, summed, weight = args
    bias = [torch.zeros_like(weight)] if op.startswith("layer") else []
    leaves = [tensor.detach().requires_grad_() for tensor in (summed, weight, *bias)]
    return functools.partial(backward, dsummed, norm(leaves[0], weight.shape, *leaves[1:], eps), leaves, dout)


GRADER = FusedNorms()
