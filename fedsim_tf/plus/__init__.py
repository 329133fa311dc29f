"""Ours-Plus, which goes beyond the paper: wider shapes, and an enhancement network that sees whole volumes."""
