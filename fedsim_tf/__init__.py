"""Federated simulation of labelled cardiac CT, after Li, Kar, Ravikumar, Frangi and Fidler, MICCAI 2020."""

__version__ = "0.1.0"
