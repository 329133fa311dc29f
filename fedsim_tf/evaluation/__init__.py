"""Scores, tables, pictures and the report of a run."""
