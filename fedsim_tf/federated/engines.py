"""The names of the engines that carry tasks and answers between sites and server."""

IN_PROCESS = "in_process"  # all sites in one process
NVFLARE = "nvflare"  # NVIDIA FLARE: its simulator, or a deployed system
