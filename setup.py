"""Packaging of fedsim_tf; `make demo` and `make test` in the README do all of the set-up."""

import pathlib
import re

from setuptools import find_packages, setup

ROOT = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "fedsim_tf/__init__.py").read_text()).group(1)

setup(
    name="fedsim-tf",
    version=VERSION,
    description="Federated simulation of labelled cardiac CT for segmentation (Li et al., MICCAI 2020), in TensorFlow",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    # tensorflow-addons 0.23 is the last release and does not import on TensorFlow 2.16 or later.
    python_requires=">=3.10,<3.12",
    packages=find_packages(include=["fedsim_tf", "fedsim_tf.*", "experiments"]),
    package_data={"fedsim_tf": ["data/*.csv", "evaluation/templates/*"]},
    install_requires=[
        "absl-py>=2.1",
        "h5py>=3.9",
        "Jinja2>=3.1",
        "matplotlib>=3.8",
        "numpy>=1.24,<2",
        "pyronn==0.1.0",
        "pyronn-layers>=0.3",  # third_party/pyronn_layers
        "rich>=13",
        "scikit-learn>=1.3",
        "scipy>=1.11",
        "SimpleITK>=2.3",
        "tensorflow>=2.15.1,<2.16",
        "tensorflow-addons>=0.23,<0.24",
        "tqdm>=4.66",
        "xraydb>=4.5",
    ],
    extras_require={
        "test": [
            "import-linter>=2",
            "mypy>=1.8",
            "pytest>=8",
            "pytest-timeout>=2.3",
            "ruff>=0.6",
            "scikit-image>=0.22",
            "trimesh>=4",
        ],
        "benchmark": ["itk-rtk==2.7.*", "vtk>=9.3", "torch==2.13.0"],
        "federated": ["nvflare==2.9.0"],
    },
    classifiers=[
        "Programming Language :: Python :: 3.11",
        "Intended Audience :: Science/Research",
        "Topic :: Scientific/Engineering :: Medical Science Apps.",
    ],
)
