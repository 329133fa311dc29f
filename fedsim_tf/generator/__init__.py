"""Generators: what a finished run has learnt to simulate, as a folder that is loaded without its data and sampled."""
