"""gpuprep: a gym for GPU and inference engineering."""

__version__ = "0.1.0"
