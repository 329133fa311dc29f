"""Patients' CTs: reading and checking files, cohorts, five-fold splits and preparation for the networks."""
