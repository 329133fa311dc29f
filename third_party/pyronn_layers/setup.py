"""Packaging of pyronn-layers."""

import pathlib

from setuptools import find_packages, setup

setup(
    name="pyronn-layers",
    version="0.2.0",
    description="Cone-beam projection and back-projection for PYRO-NN on today's TensorFlow, with exact gradients",
    long_description=(pathlib.Path(__file__).parent / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["pyronn_layers"]),
    install_requires=["numpy>=1.24", "tensorflow>=2.15"],
)
