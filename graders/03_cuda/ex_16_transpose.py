"""Grades ex_16 coalesced transpose."""

from gpuprep.grader import EDGE_SIZES, HOST_OPS, ITEMSIZE, Budget, Case, ErrorModel, Expected, Grader, Tier, Traffic

GPU = ("cuda",)
SECTOR_BYTES = 32
FLOAT = ITEMSIZE["float32"]


class Transpose(Grader):
    function = "transpose"
    parameters = ("x",)
    baseline = "x.t().contiguous()"
    # x is contiguous and so must out be: whoever needs torch's copy lets torch transpose.
    allowed_ops = HOST_OPS - {"aten.clone", "aten.contiguous"}

    def cases(self, rng):
        def case(m, n, **rest):
            return Case({"M": m, "N": n, "dtype": "float32", **rest})

        larger = 4097 + 2 * rng.randrange(200)
        return [
            # 45 is more than a tile of 32 and no multiple of anything.
            *(case(m, 45) for m in EDGE_SIZES),
            *(case(45, n) for n in EDGE_SIZES),
            *(case(*shape) for shape in ((64, 64), (65, 65), (larger, 3), (5, larger), (129, 255))),
            *(case(*shape, layout="offset") for shape in ((33, 65), (64, 128))),
            Case({"M": 2**20, "N": 5, "dtype": "float32"}, devices=GPU),
            Case({"M": 5, "N": 2**20 - 3, "dtype": "float32"}, devices=GPU),
            Case({"M": 256, "N": 384, "dtype": "float32"}, tier=Tier.WORK),
            # A long table of records. Torch's own copy reads down its columns, and with this many rows the L2 cache has
            # dropped a sector by the time that the sector's next column is due. Of a square matrix it keeps them: there
            # torch gets to a quarter of the copy rate, and nobody can beat that four times.
            *(
                Case({"M": m - 64 * rng.randrange(64), "N": 512, "dtype": "float32"}, tier=Tier.SPEED, devices=GPU)
                for m in (2**19, 2**18)
            ),
        ]

    def inputs(self, case, draw):
        return (draw.like(case, case["M"], case["N"]),)

    def oracle(self, case, x):
        # Where an axis has one element, its stride means nothing, and torch lets it be anything.
        strides = (case["M"], 1) if min(case["M"], case["N"]) > 1 else None
        # Contiguous, since the audited copy of an output is laid out like this.
        return (Expected(x.double().t().contiguous(), "float32", strides=strides),)

    def honest(self, case, x, order=None):
        return (x.t().contiguous(),)

    def error_model(self, case):
        # Nothing is computed, so nothing is lost.
        return ErrorModel(roundings=0)

    def budgets(self, case):
        n_bytes = case["M"] * case["N"] * FLOAT
        sectors = n_bytes // SECTOR_BYTES
        # Both sides are multiples of every usual tile, so no access sticks out and nothing needs room. A request of
        # floats has 4 sectors and one of float4 has 16: what is between is held against the bytes in them.
        return (
            Budget("bytes_loaded", n_bytes, n_bytes, "M·N·4: x once"),
            Budget("bytes_stored", n_bytes, n_bytes, "M·N·4: out once"),
            Budget("launches", 1, 1, "one kernel does it"),
            Budget("sectors_per_load", 0, 16, "4 for floats, 16 for float4"),
            Budget("sectors_per_store", 0, 16, "4 for floats, 16 for float4"),
            Budget("sectors_loaded", sectors, sectors, "M·N·4/32: full sectors"),
            Budget("sectors_stored", sectors, sectors, "M·N·4/32: full sectors"),
            Budget("bank_conflicts", 0, 0, "a padded or swizzled tile has none"),
        )

    def traffic(self, case):
        return Traffic(bytes=2 * case["M"] * case["N"] * FLOAT)


GRADER = Transpose()
