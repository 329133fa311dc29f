"""Describe what runs leave in JSON files, as dataclasses: each file has a version, one writer and one reader."""
