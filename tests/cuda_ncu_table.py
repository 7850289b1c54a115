"""What the emulator counts beside what Nsight Compute reads on a card, kernel by kernel, as docs/emulator.md shows it.

    python tests/cuda_ncu_table.py           with ncu, nvcc and a card: measured now; else beside what an H200 gave
    python tests/cuda_ncu_table.py --save    with ncu, nvcc and a card: writes tests/cuda_ncu_h200.json anew

Run with PYTHONPATH set to the checkout where gpuprep isn't installed.
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import io
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gpuprep.counters.cuda_emulator import Buffer, Pointer, build

SOURCE = Path(__file__).with_name("cuda_ncu_kernels.cu")
RECORDED = Path(__file__).with_name("cuda_ncu_h200.json")
"""What ncu read on a card, with the card's name and the versions."""
N = 1 << 20
WIDTH = 1024
"""A matrix of N floats."""
GEMM = 256

_GLOBAL = "l1tex__t_{}_pipe_lsu_mem_global_op_{}.sum"
METRICS = {
    "load requests": _GLOBAL.format("requests", "ld"),
    "load sectors": _GLOBAL.format("sectors", "ld"),
    "store requests": _GLOBAL.format("requests", "st"),
    "store sectors": _GLOBAL.format("sectors", "st"),
    "shared loads": "smsp__inst_executed_op_shared_ld.sum",
    "shared stores": "smsp__inst_executed_op_shared_st.sum",
    "shared atomics": "smsp__inst_executed_op_shared_atom.sum",
    "conflicts of loads": "l1tex__data_bank_conflicts_pipe_lsu_mem_shared_op_ld.sum",
    "conflicts of stores": "l1tex__data_bank_conflicts_pipe_lsu_mem_shared_op_st.sum",
    "wavefronts": "l1tex__data_pipe_lsu_wavefronts_mem_shared.sum",
}
"""The last one is recorded and not shown: on the card it counts the data of global stores too."""

SHARED = {"shared_load": "shared loads", "shared_store": "shared stores", "shared_atomic": "shared atomics"}
"""The emulator's kinds of rows, and the figures that they make."""

COLUMNS = (
    "sectors a load",
    "load sectors",
    "sectors a store",
    "store sectors",
    "shared requests",
    "bank conflicts",
)


@dataclass(frozen=True)
class Launch:
    """One row of the table."""

    kernel: str
    grid: tuple[int, int]
    block: tuple[int, int]
    scalar: int
    """The last argument; those before it are buffers of N words, as many as the kernel has pointers."""
    n_buffers: int = 2


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

Figures = Mapping[str, int]


def emulated() -> dict[str, Figures]:
    """What the emulator counts for each kernel."""
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
        rows = {kind: [site for site in counts.sites if site.kind == kind] for kind in SHARED}
        figures[launch.kernel] = {
            "load requests": counts.load_requests,
            "load sectors": counts.sectors_loaded,
            "store requests": counts.store_requests,
            "store sectors": counts.sectors_stored,
            **{name: sum(site.requests for site in rows[kind]) for kind, name in SHARED.items()},
            "conflicts of loads": sum(site.wavefronts - site.least_wavefronts for site in rows["shared_load"]),
            "conflicts of stores": sum(site.wavefronts - site.least_wavefronts for site in rows["shared_store"]),
            "wavefronts": sum(site.wavefronts for kind in SHARED for site in rows[kind]),
        }
    return figures


def _words() -> npt.NDArray[np.uint32]:
    """N words, the same as `fill` makes in the host program."""
    return np.arange(N, dtype=np.uint32) * np.uint32(2654435761) >> np.uint32(9)


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


def measured(ncu: str, nvcc: str) -> dict[str, Figures]:
    """What ncu reads for each kernel, on this machine's card."""
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder) / "host.cu", Path(folder) / "host"
        source.write_text(host_program(), encoding="utf-8")
        subprocess.run([nvcc, "-O3", "-arch=native", "-o", program, source], check=True)
        command = [ncu, "--csv", "--clock-control", "none", "--metrics", ",".join(METRICS.values()), str(program)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode != 0 or '"ID"' not in done.stdout:
        raise SystemExit(f"ncu failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return read_csv(done.stdout)


def read_csv(text: str) -> dict[str, Figures]:
    """Kernel → figure → value, from ncu's CSV; what the program itself printed comes before."""
    names = {metric: name for name, metric in METRICS.items()}
    figures: dict[str, dict[str, int]] = {}
    for row in csv.DictReader(io.StringIO(text[text.index('"ID"') :])):
        kernel, name = row["Kernel Name"].split("(")[0], names.get(row["Metric Name"])
        value = row["Metric Value"].replace(",", "")
        if name and value.isdigit() and kernel != "fill":
            figures.setdefault(kernel, {})[name] = int(value)
    return dict(figures)


def save(ncu: str, nvcc: str) -> None:
    """Writes down what this machine's card gives."""
    record = {
        "card and driver": _last_line("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"),
        "ncu": _last_line(ncu, "--version"),
        "nvcc": _last_line(nvcc, "--version"),
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "figures": measured(ncu, nvcc),
    }
    RECORDED.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _last_line(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip().splitlines()[-1]


def recorded() -> dict[str, Figures]:
    """What a card gave when it was last asked."""
    return dict(json.loads(RECORDED.read_text(encoding="utf-8"))["figures"])


def conflicts(figures: Figures) -> int:
    """Wavefronts of shared loads and stores beyond the least."""
    return figures["conflicts of loads"] + figures["conflicts of stores"]


def _ratio(figures: Figures, above: str, below: str) -> float:
    return figures[above] / figures[below] if figures[below] else 0.0


def _cell(ours: float, theirs: float, digits: int = 0) -> str:
    """`ours / theirs (difference)`; one number where they are equal, a dash where there is nothing."""
    if not ours and not theirs:
        return "–"
    if round(ours, digits) == round(theirs, digits):
        return f"{ours:,.{digits}f}"
    difference = f"{100 * (ours - theirs) / theirs:+.1f} %" if theirs else "none on the card"
    return f"{ours:,.{digits}f} / {theirs:,.{digits}f} ({difference})"


def table(ours: Mapping[str, Figures], theirs: Mapping[str, Figures]) -> str:
    """The table as Markdown: a figure that differs is shown as the emulator's / the card's."""
    lines = [f"| kernel | {' | '.join(COLUMNS)} |", "|---" * (1 + len(COLUMNS)) + "|"]
    for launch in LAUNCHES:
        both = (ours[launch.kernel], theirs[launch.kernel])
        cells = [
            _cell(*(_ratio(each, "load sectors", "load requests") for each in both), digits=2),
            _cell(*(each["load sectors"] for each in both)),
            _cell(*(_ratio(each, "store sectors", "store requests") for each in both), digits=2),
            _cell(*(each["store sectors"] for each in both)),
            _cell(*(sum(each[name] for name in SHARED.values()) for each in both)),
            _cell(*(conflicts(each) for each in both)),
        ]
        lines.append(f"| `{launch.kernel}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Prints the table; first writes down what ncu reads, if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--save", action="store_true", help=f"write {RECORDED.name} anew")
    options = parser.parse_args()
    ncu, nvcc = find_tool("ncu"), find_tool("nvcc")
    has_card = bool(ncu and nvcc and shutil.which("nvidia-smi"))
    if options.save and not has_card:
        raise SystemExit("ncu, nvcc and a card are needed")
    if options.save:
        save(ncu, nvcc)
    theirs = measured(ncu, nvcc) if has_card and not options.save else recorded()
    sys.stdout.write(table(emulated(), theirs) + "\n")


if __name__ == "__main__":
    main()
