"""Whole runs, from data to report; `experiments` gives them flags."""
