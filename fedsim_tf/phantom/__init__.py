"""The embedded cohort: phantom hearts in phantom chests, scanned at three phantom sites."""
