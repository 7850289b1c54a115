"""What the emulator counts beside what Nsight Compute reads on a card, kernel by kernel, as docs/emulator.md shows it.

    python tests/cuda_ncu_table.py                    both, where ncu, nvcc and a card are there; else the emulator alone
    python tests/cuda_ncu_table.py --save-ncu FILE    on a machine with a card: what ncu printed, as CSV
    python tests/cuda_ncu_table.py --ncu FILE         the table, with what another machine's ncu printed

Run with PYTHONPATH set to the checkout where gpuprep isn't installed.
"""

from __future__ import annotations

import argparse
import csv
import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("cuda_ncu_kernels.cu")
N = 1 << 20
WIDTH = 1024
"""A matrix of N floats."""
GEMM = 256

GLOBAL = "l1tex__t_{}_pipe_lsu_mem_global_op_{}.sum"
SASS_WAVEFRONTS = "smsp__sass_l1tex_data_pipe_lsu_wavefronts_mem_shared.sum"
SASS_IDEAL = "smsp__sass_l1tex_data_pipe_lsu_wavefronts_mem_shared_ideal.sum"
METRICS = {
    "load requests": GLOBAL.format("requests", "ld"),
    "load sectors": GLOBAL.format("sectors", "ld"),
    "store requests": GLOBAL.format("requests", "st"),
    "store sectors": GLOBAL.format("sectors", "st"),
    "shared loads": "smsp__inst_executed_op_shared_ld.sum",
    "shared stores": "smsp__inst_executed_op_shared_st.sum",
    "shared atomics": "smsp__inst_executed_op_shared_atom.sum",
    "wavefronts": SASS_WAVEFRONTS,
    "least wavefronts": SASS_IDEAL,
    "wavefronts (l1tex)": "l1tex__data_pipe_lsu_wavefronts_mem_shared.sum",
    "conflicts ld (l1tex)": "l1tex__data_bank_conflicts_pipe_lsu_mem_shared_op_ld.sum",
    "conflicts st (l1tex)": "l1tex__data_bank_conflicts_pipe_lsu_mem_shared_op_st.sum",
}


@dataclass(frozen=True)
class Launch:
    """One row of the table."""

    kernel: str
    grid: tuple[int, int]
    block: tuple[int, int]
    scalar: int
    """The last argument; those before it are buffers of N words, as many as the kernel has pointers."""
    n_buffers: int = 2
    why: str = ""
    """Why the two may differ."""


FLAT = ((N // 256, 1), (256, 1), N)
TILES = ((WIDTH // 32, WIDTH // 32), (32, 8), WIDTH)
TILES_16 = ((GEMM // 16, GEMM // 16), (16, 16), GEMM)
QUARTER = ((N // 1024, 1), (256, 1), N)
LAUNCHES = (
    Launch("copy", *FLAT),
    Launch("copy_stride_2", *FLAT),
    Launch("copy_misaligned", *FLAT),
    Launch("copy_float4", *QUARTER),
    Launch("copy_bytes", *FLAT),
    Launch("transpose_naive", *TILES),
    Launch("transpose_tile", *TILES),
    Launch("transpose_padded", *TILES),
    Launch("sgemm_naive", *TILES_16, 3),
    Launch("sgemm_tiled", *TILES_16, 3),
    Launch("sum_by_shuffles", (128, 1), (256, 1), N),
    Launch("histogram", (128, 1), (256, 1), N),
    Launch("shared_stride", (N // 1024, 1), (256, 1), 6),
    Launch("shared_float4", *QUARTER),
    Launch("reads_again", *FLAT),
    Launch("four_in_a_row", *QUARTER),
)

COLUMNS = (
    "sectors a load",
    "load sectors",
    "sectors a store",
    "store sectors",
    "shared requests",
    "shared wavefronts",
    "bank conflicts",
)

Figures = Mapping[str, float]


def emulated() -> dict[str, Figures]:
    """What the emulator counts for each kernel."""
    import numpy as np

    from gpuprep.counters.cuda_emulator import Buffer, Pointer, build

    program = build(SOURCE.read_text(encoding="utf-8"), path=str(SOURCE))
    figures: dict[str, Figures] = {}
    for launch in LAUNCHES:
        memories = [_words() for _ in range(launch.n_buffers)]
        buffers = [Buffer(f"buffer {i}", memory.ctypes.data, memory.nbytes, None) for i, memory in enumerate(memories)]
        arguments: list[bytes | Pointer] = [Pointer(i) for i in range(launch.n_buffers)]
        arguments.append(np.int32(launch.scalar).tobytes())
        launched = program.launch(launch.kernel, (*launch.grid, 1), (*launch.block, 1), arguments, buffers=buffers)
        if launched.findings:
            raise SystemExit(f"{launch.kernel}: {launched.findings[0].message}")
        counts = launched.counts
        requests = dict.fromkeys(("shared_load", "shared_store", "shared_atomic"), 0)
        wavefronts = least = 0
        for site in counts.sites:
            if site.kind in requests:
                requests[site.kind] += site.requests
                wavefronts += site.wavefronts
                least += site.least_wavefronts
        figures[launch.kernel] = {
            "load requests": counts.load_requests,
            "load sectors": counts.sectors_loaded,
            "store requests": counts.store_requests,
            "store sectors": counts.sectors_stored,
            "shared loads": requests["shared_load"],
            "shared stores": requests["shared_store"],
            "shared atomics": requests["shared_atomic"],
            "wavefronts": wavefronts,
            "least wavefronts": least,
        }
    return figures


def _words():
    """N words, the same as `fill` makes in the host program."""
    import numpy as np

    numbers = np.arange(N, dtype=np.uint32)
    return numbers * np.uint32(2654435761) >> np.uint32(9)


def host_program() -> str:
    """A program that launches each kernel once."""
    calls = []
    for launch in LAUNCHES:
        kernel = f"reinterpret_cast<void*>(&{launch.kernel})"
        pointers = ", ".join(f"&buffers[{i}]" for i in range(launch.n_buffers))
        (gx, gy), (bx, by) = launch.grid, launch.block
        calls.append(
            f"  {{ int scalar = {launch.scalar}; void* arguments[] = {{{pointers}, &scalar}};\n"
            f"    cudaLaunchKernel({kernel}, dim3({gx}, {gy}), dim3({bx}, {by}), arguments, 0, 0); }}\n"
        )
    return (
        f'#include "{SOURCE}"\n#include <cstdio>\n'
        "__global__ void fill(unsigned* x, unsigned n) {\n"
        "  unsigned i = blockIdx.x * blockDim.x + threadIdx.x;\n"
        "  if (i < n) x[i] = i * 2654435761u >> 9;\n}\n"
        "int main() {\n  unsigned* buffers[3];\n  for (auto& buffer : buffers) {\n"
        f"    cudaMalloc(&buffer, {4 * N});\n    fill<<<{N // 256}, 256>>>(buffer, {N});\n  }}\n"
        + "".join(calls)
        + '  auto status = cudaDeviceSynchronize();\n  printf("%s\\n", cudaGetErrorString(status));\n'
        "  return status != cudaSuccess;\n}\n"
    )


def find_tool(name: str) -> str:
    """A CUDA tool on the path or in its usual place; empty where there is none."""
    usual = Path("/usr/local/cuda/bin") / name
    return shutil.which(name) or (str(usual) if usual.exists() else "")


def measured(ncu: str, nvcc: str) -> str:
    """What ncu prints for the kernels, as CSV."""
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder) / "host.cu", Path(folder) / "host"
        source.write_text(host_program(), encoding="utf-8")
        subprocess.run([nvcc, "-O3", "-arch=native", "-o", program, source], check=True)
        command = [ncu, "--csv", "--clock-control", "none", "--metrics", ",".join(METRICS.values()), str(program)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode != 0 or '"Kernel Name"' not in done.stdout:
        raise SystemExit(f"ncu failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done.stdout


def read_ncu(text: str) -> dict[str, Figures]:
    """Kernel → figure → value, from ncu's CSV; its own lines come before."""
    rows = csv.DictReader(io.StringIO(text[text.index('"ID"') :]))
    names = {metric: name for name, metric in METRICS.items()}
    figures: dict[str, dict[str, float]] = {}
    for row in rows:
        kernel, name = row["Kernel Name"].split("(")[0], names.get(row["Metric Name"])
        value = row["Metric Value"].replace(",", "")
        if name and value.replace(".", "").isdigit():
            figures.setdefault(kernel, {})[name] = float(value)
    return dict(figures)


def ratio(figures: Figures, above: str, below: str) -> float | None:
    """One figure over another; None where either is missing or nothing was asked."""
    return figures[above] / figures[below] if figures.get(below) and above in figures else None


def conflicts(figures: Figures) -> float | None:
    """Wavefronts of shared memory beyond the least."""
    if "wavefronts" not in figures or "least wavefronts" not in figures:
        return None
    return figures["wavefronts"] - figures["least wavefronts"]


def cell(ours: float | None, theirs: float | None, digits: int = 0) -> str:
    """`ours / theirs (difference)`; one number where they are equal."""
    if not ours and not theirs:
        return "–"
    if theirs is None or ours is None:
        return f"{ours:,.{digits}f}" if ours is not None else f"– / {theirs:,.{digits}f}"
    if round(ours, digits) == round(theirs, digits):
        return f"{ours:,.{digits}f}"
    difference = f"{100 * (ours - theirs) / theirs:+.1f} %" if theirs else "new"
    return f"{ours:,.{digits}f} / {theirs:,.{digits}f} ({difference})"


def table(ours: Mapping[str, Figures], theirs: Mapping[str, Figures]) -> str:
    """The table as Markdown."""
    lines = [
        f"| kernel | {' | '.join(COLUMNS)} |",
        "|---" * (1 + len(COLUMNS)) + "|",
    ]
    for launch in LAUNCHES:
        mine, card = ours[launch.kernel], theirs.get(launch.kernel, {})
        shared = [
            sum(each.get(f"shared {kind}", 0) for kind in ("loads", "stores", "atomics")) if each else None
            for each in (mine, card)
        ]
        cells = [
            cell(*(ratio(each, "load sectors", "load requests") for each in (mine, card)), digits=2),
            cell(mine["load sectors"], card.get("load sectors")),
            cell(*(ratio(each, "store sectors", "store requests") for each in (mine, card)), digits=2),
            cell(mine["store sectors"], card.get("store sectors")),
            cell(*shared),
            cell(mine["wavefronts"], card.get("wavefronts")),
            cell(conflicts(mine), conflicts(card)),
        ]
        lines.append(f"| `{launch.kernel}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Prints the table, or saves what ncu prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--save-ncu", type=Path, metavar="FILE")
    parser.add_argument("--ncu", type=Path, metavar="FILE")
    options = parser.parse_args()
    ncu, nvcc = find_tool("ncu"), find_tool("nvcc")
    if options.save_ncu:
        if not (ncu and nvcc):
            raise SystemExit("ncu and nvcc are needed, and a card")
        options.save_ncu.write_text(measured(ncu, nvcc), encoding="utf-8")
        return
    text = options.ncu.read_text(encoding="utf-8") if options.ncu else measured(ncu, nvcc) if ncu and nvcc else ""
    sys.stdout.write(table(emulated(), read_ncu(text) if text else {}) + "\n")


if __name__ == "__main__":
    main()
