"""The engine that carries tasks and answers between machines by NVIDIA FLARE; only this package imports nvflare."""
