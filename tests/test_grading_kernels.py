"""Whose kernels did the work, judged from a trace."""

from __future__ import annotations

import pytest

from gpuprep.grading import kernels
from gpuprep.grading.kernels import KernelTime, judge_trace, library_of, own_share, trace_faults
from gpuprep.model import Outcome

ADD = "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>, std::array<char*, 3ul> >()"
FILL = "void at::native::vectorized_elementwise_kernel<4, at::native::FillFunctor<float>, std::array<char*, 1ul> >()"
NVJET = "nvjet_sm90_hsh_256x128_64x4_1x2_h_bz_coopA_NNT"

SEEN = [
    ("cuBLAS", NVJET),
    (
        "cuBLAS",
        "sm80_xmma_gemm_f32f32_f32f32_f32_nn_n_tilesize256x128x8_stage3_warpsize4x2x1_ffma_execute_kernel__5x_cublas",
    ),
    ("cuBLAS", "void cublasLt::splitKreduce_kernel<32, 16, int, float, __half, float, __half, false>(int)"),
    (
        "cuBLAS",
        "void gemv2T_kernel_val<int, int, float, float, float, float, 128, 16, 4, 4, false, false>()",
    ),
    ("cuBLAS", "void dot_kernel<float, 128, 0, cublasDotParams<cublasGemvTensor<float const>> >(int)"),
    ("cuBLAS", "void gemvNSP_kernel<float, float, float, float, 1, 16, 4, 1024>(int)"),
    ("cuBLAS", "ampere_fp16_s16816gemm_fp16_128x64_ldg8_f2f_stages_32x5_nn"),
    (
        "CUTLASS",
        "void cutlass::Kernel2<cutlass_80_simt_sgemm_64x64_8x5_nn_align1>(int)",
    ),
    ("cuDNN", "cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_64x128x128_4x1x1_cga1x1x1_kernel0_0"),
    (
        "cuDNN",
        "sm90_xmma_fprop_implicit_gemm_f16f16_f16f32_f32_nhwckrsc_nhwc_tilesize128x128x64_execute_kernel__5x_cudnn",
    ),
    ("cuDNN", "void cudnn::engines_precompiled::nchwToNhwcKernel<float, float, float, false, true>(float const*)"),
    ("flash attention", "void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<128, 128, 64, 4> >(int)"),
    (
        "flash attention",
        "fmha_cutlassF_f16_aligned_64x128_rf_sm80(PyTorchMemEffAttention::AttentionKernel<cutlass::half_t>::Params)",
    ),
    ("at::native", ADD),
    (
        "at::native",
        "void (anonymous namespace)::softmax_warp_forward<float, float, float, 10, false, false>(float*, float const*)",
    ),
    ("at::native", "at::native::(anonymous namespace)::fill_reverse_indices_kernel(long*, int)"),
    ("at::native", "void at::cuda::kernelHistogram1D<float, int>(int)"),
    ("inductor", "triton_poi_fused_add_mul_relu_0"),
    ("inductor", "triton_red_fused_pow_sum_view_0"),
    ("inductor", "triton_per_fused__softmax_exp_prepare_softmax_online_sub_view_0"),
    ("inductor", "triton_tem_fused__to_copy_flex_attention_ones_slice_sort_sum_transpose_zeros_2"),
    ("CUB and Thrust", "void at_cuda_detail::cub::detail::scan::DeviceScanKernel<int>(int)"),
    ("CUB and Thrust", "void cub::CUB_300102_SM_900::detail::reduce::DeviceReduceKernel<int>(int)"),
    ("CuPy", "cupy_add__float32_float32_float32"),
    ("cuFFT", "void regular_fft_factor<4096u, 16u>(int)"),
    ("cuSPARSE", "void cusparse::csrmm_alg2_kernel<int>(int)"),
    ("NCCL", "ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)"),
]
"""Names as they were traced on an H200 under torch 2.11, most of them; shortened at the end."""

OWN = [
    "_add_kernel",
    "saxpy",
    "void sgemm_naive<float, 3>(float*, int)",
    "(anonymous namespace)::hidden(float*, int)",
    "flash_fwd_kernel",
    "_flash_attention_kernel",
    "gemv_kernel",
    "dot_kernel(float const*, float*)",
    "hopper_gemm_kernel",
    "triton_mm_kernel",
    "triton_add_fused_kernel",
    "winograd_conv2d",
    "softmax_warp_forward",
    "reduce_kernel",
    "my_kernel(at::Tensor)",
    # CUDA C through CuPy and NVRTC: `extern "C"`, and an instance of a template.
    "transpose_kernel",
    "partial_sums_kernel",
    "sgemm_kernel",
    "wmma_gemm_kernel",
    "void fill<float>(float*, int)",
    "void block_sum<cub::BlockReduce<float, 256> >(float*)",
]


def answer(*rows, memcpy_ns=0, memset_ns=0, busy_ns=None, span_ns=None, event_ns=None, host_ns=20_000, n_calls=2):
    """What a worker says of `n_calls` equal calls that ran these kernels, each (name, ns in all)."""
    total_ns = sum(ns for _, ns in rows) + memcpy_ns + memset_ns
    busy_ns = total_ns // n_calls if busy_ns is None else busy_ns
    span_ns = busy_ns if span_ns is None else span_ns
    event_ns = span_ns + 2_500 if event_ns is None else event_ns
    call = {"busy_ns": busy_ns, "span_ns": span_ns, "event_ns": event_ns, "host_ns": host_ns}
    return {
        "status": "traced",
        "kernels": [{"name": name, "ns": ns, "count": n_calls} for name, ns in rows],
        "memcpy_ns": memcpy_ns,
        "memset_ns": memset_ns,
        "calls": [dict(call) for _ in range(n_calls)],
    }


def outcome(traced, claimed_ms=None, **more):
    """The outcome that judging it comes to; None where nothing is wrong. The claim agrees if none is given."""
    claimed_ms = traced["calls"][0]["busy_ns"] / 1e6 if claimed_ms is None else claimed_ms
    fault = judge_trace(traced, claimed_ms, 2, **more)
    return fault and fault.outcome


@pytest.mark.parametrize(("library", "name"), SEEN, ids=lambda value: value[:40])
def test_a_library_is_known_by_its_kernels_names(library, name):
    """Every library that torch or CuPy reaches for."""
    assert library_of(name) == library


@pytest.mark.parametrize("name", OWN)
def test_a_learners_kernel_belongs_to_no_library(name):
    """Even where it is called after what it imitates."""
    assert library_of(name) is None


def test_every_library_was_seen():
    """No pattern is there without a name that it is for."""
    assert {library for library, _ in SEEN} == kernels.LIBRARIES


def test_own_share_counts_copies_against_the_learner_and_leaves_fills_out():
    """60 of 100 µs were the learner's; zeroing a buffer is neither here nor there."""
    runs = [KernelTime("_add_kernel", 60, 1), KernelTime(ADD, 30, 1), KernelTime(FILL, 500, 1)]

    assert own_share(runs, copied_ns=10) == pytest.approx(0.6)


def test_own_share_of_nothing_is_nothing():
    """No kernel ran: nothing was the learner's."""
    assert own_share([]) == 0.0


def test_own_names_leave_no_other_kernel_to_the_learner():
    """A name that no library is known by, and that the file doesn't define either."""
    runs = [KernelTime("void mine<float>(float*)", 3, 1), KernelTime("_liger_kernel", 1, 1)]

    assert own_share(runs, ["mine"]) == pytest.approx(0.75)


def test_own_kernels_pass():
    """All of the time in a kernel that is nobody's but the learner's."""
    assert outcome(answer(("_add_kernel", 400_000))) is None


def test_trifles_pass():
    """A cast of a scalar beside the kernel, and a zeroed output however long that takes."""
    assert outcome(answer(("_add_kernel", 400_000), (ADD, 10_000), (FILL, 300_000), memset_ns=50_000)) is None


@pytest.mark.parametrize("name", [NVJET, "triton_poi_fused_add_0", "void pytorch_flash::flash_fwd_kernel<int>(int)"])
def test_one_library_kernel_is_banned_however_short(name):
    """A decoy can be made to take as long as it likes; what no honest code runs by the way needs no share."""
    assert outcome(answer(("_decoy_kernel", 99_000_000), (name, 100_000))) is Outcome.BANNED_CALL


def test_more_than_trifles_of_torch_are_banned():
    """Six per cent of the time in a torch kernel."""
    assert outcome(answer(("_add_kernel", 94_000), (ADD, 6_000))) is Outcome.BANNED_CALL


def test_copying_is_not_computing():
    """A result that was there before and is copied out."""
    assert outcome(answer(("_touch_kernel", 10_000), memcpy_ns=200_000)) is Outcome.BANNED_CALL


def test_trifles_together_are_too_much():
    """Copies and torch kernels, each under the limit, both over it."""
    assert outcome(answer(("_add_kernel", 92_000), (ADD, 4_000), memcpy_ns=4_000)) is Outcome.BANNED_CALL


def test_a_kernel_from_elsewhere_is_banned_where_the_learners_names_are_known():
    """Another package's Triton kernel looks like a learner's but for its name."""
    traced = answer(("_rms_norm_kernel", 100_000))

    assert outcome(traced, own_names=["_mine"]) is Outcome.BANNED_CALL
    assert outcome(traced, own_names=["_rms_norm_kernel"]) is None


def test_what_is_not_banned_is_as_good_as_own():
    """Exercises about torch.compile want inductor's kernels."""
    traced = answer(("triton_poi_fused_add_0", 100_000))

    assert outcome(traced, banned=kernels.LIBRARIES - {"inductor"}) is None
    assert outcome(traced, banned=kernels.LIBRARIES) is Outcome.BANNED_CALL


def test_the_message_names_the_kernel_its_library_and_its_share():
    """What a learner needs to find the call."""
    fault = judge_trace(answer(("_decoy_kernel", 30_000), (NVJET, 70_000)), 0.05, 2)

    assert fault is not None
    assert all(part in fault.message for part in ("cuBLAS", NVJET, "70%"))


def test_a_name_is_shown_without_control_characters_and_not_at_length():
    """Names come from the learner's process and end up in a terminal."""
    fault = judge_trace(answer(("cutlass::\x1b[2J" + "x" * 500, 100_000)), 0.05, 2)

    assert fault is not None
    assert "\x1b" not in fault.message
    assert len(fault.message) < 250


@pytest.mark.parametrize("traced", [answer(), answer((FILL, 100_000)), answer(memset_ns=100_000)])
def test_nothing_computed_is_invalid(traced):
    """Outputs that appear without work."""
    assert outcome(traced) is Outcome.INVALID


@pytest.mark.parametrize(
    ("event_ms", "expected"),
    [(0.05, Outcome.INVALID), (0.088, Outcome.INVALID), (0.092, None), (0.108, None), (0.112, Outcome.INVALID)],
)
def test_the_events_must_agree_with_the_kernels(event_ms, expected):
    """Of one traced call, whose kernel takes 0.1 ms: 5 % and 5 µs either way."""
    traced = answer(("_add_kernel", 200_000), event_ns=round(event_ms * 1e6))

    assert outcome(traced) is expected


@pytest.mark.parametrize(
    ("claimed_ms", "expected"),
    [(0.05, Outcome.INVALID), (0.078, Outcome.INVALID), (0.09, None), (0.115, None), (0.13, Outcome.INVALID)],
)
def test_the_claimed_time_must_agree_with_the_trace(claimed_ms, expected):
    """Less closely: tracing slows some kernels, and clocks move between the two measurements."""
    assert outcome(answer(("_add_kernel", 200_000)), claimed_ms) is expected


def test_gaps_between_kernels_are_part_of_the_time():
    """A hundred small kernels, launched more slowly where they are traced: the events see the gaps, too."""
    assert outcome(answer(("_add_kernel", 200_000), span_ns=720_000), 0.474) is None


def test_a_slow_host_is_part_of_the_time():
    """A millisecond of Python before the launch is not hidden by the spin kernel, and no contradiction."""
    traced = answer(("_add_kernel", 200_000), event_ns=950_000, host_ns=1_050_000)

    assert outcome(traced, 0.95) is None
    assert outcome(answer(("_add_kernel", 200_000), event_ns=950_000), 0.95) is Outcome.INVALID


def test_side_by_side_counts_once():
    """Two streams: each kernel's time counts for whose it was, the card's for how long."""
    assert outcome(answer(("_left_kernel", 200_000), ("_right_kernel", 200_000), busy_ns=110_000), 0.11) is None


def test_all_faults_are_found():
    """A library call outside of the events."""
    found = trace_faults(answer((NVJET, 400_000)), 0.01, 2)

    assert {fault.outcome for fault in found} == {Outcome.BANNED_CALL, Outcome.INVALID}
    assert judge_trace(answer((NVJET, 400_000)), 0.01, 2) in found


@pytest.mark.parametrize(
    "change",
    [
        {"kernels": [{"name": "k", "ns": -5, "count": 1}]},
        {"kernels": [{"name": "k", "ns": 1.5, "count": 1}]},
        {"kernels": [{"name": "k", "ns": True, "count": 1}]},
        {"kernels": [{"ns": 5, "count": 1}]},
        {"kernels": None},
        {"memcpy_ns": "0"},
        {"calls": []},
        {"calls": [{"busy_ns": 5, "span_ns": 5, "event_ns": 5, "host_ns": 5}]},
        {"calls": [{"busy_ns": 5, "span_ns": 5, "event_ns": 5}] * 2},
        {"calls": [{"busy_ns": 9, "span_ns": 5, "event_ns": 9, "host_ns": 5}] * 2},
        {"calls": [{"busy_ns": 10**9, "span_ns": 10**9, "event_ns": 10**9, "host_ns": 5}] * 2},
    ],
)
def test_an_answer_that_no_honest_worker_gives_is_refused(change):
    """Missing, of another type, or at odds with itself."""
    with pytest.raises((ValueError, KeyError, TypeError)):
        judge_trace({**answer(("_add_kernel", 200_000)), **change}, 0.1, 2)
