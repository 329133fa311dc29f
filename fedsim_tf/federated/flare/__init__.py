"""NVIDIA FLARE carries tasks and answers between machines; nothing outside this package imports nvflare."""
