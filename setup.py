"""Packaging of fedsim_tf; `make demo` and `make test` in the README do all of the set-up.

Compiles the voxelization operators against the TensorFlow that is installed.
"""

import importlib.metadata
import json
import os
import pathlib
import re
import subprocess
import sys

from setuptools import Extension, find_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

ROOT = pathlib.Path(__file__).parent
NATIVE = "fedsim_tf/shape/native"
FLAGS = ["-std=c++17", "-O3", "-fno-math-errno", "-fvisibility=hidden", "-DNDEBUG", "-Wall", "-Wextra"]
FLAGS += ["-Wno-unused-parameter"]  # of TensorFlow's macros
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "fedsim_tf/__init__.py").read_text()).group(1)
# onnx 1.19 asks for an ml-dtypes that TensorFlow 2.15 does not take.
ONNX = ["onnx>=1.16,<1.19", "onnxruntime>=1.18", "tf2onnx>=1.17"]
# The TensorFlow that the operators are compiled against decides which packages go with it.
try:
    SERIES = ".".join(importlib.metadata.version("tensorflow").split(".")[:2])
except importlib.metadata.PackageNotFoundError:
    sys.exit("fedsim_tf is compiled against TensorFlow: pip install tensorflow==2.15.1, or let pip do it, in isolation")
if SERIES == "2.15":
    TENSORFLOW = ["tensorflow>=2.15.1,<2.16", "tensorflow-addons>=0.23,<0.24", "numpy>=1.24,<2"]
else:  # tensorflow-addons ended with 2.15; Keras 2 and TensorBoard have become packages of their own since
    TENSORFLOW = [f"tensorflow=={SERIES}.*", f"tf_keras=={SERIES}.*", "numpy>=1.26", "tensorboard>=2.20"]


class Build(build_ext):
    """Libraries that TensorFlow loads; Python does not import them. Their names say for which TensorFlow they are."""

    def get_ext_filename(self, ext_name: str) -> str:
        return os.path.join(*ext_name.split(".")) + f".tf{SERIES}.so"

    def build_extension(self, ext: Extension) -> None:
        # Asked for in another process: importing TensorFlow greets, and takes a gigabyte.
        asked = "[tf.sysconfig.get_compile_flags(), tf.sysconfig.get_link_flags()]"
        code = f"import json, tensorflow as tf; print(json.dumps({asked}))"
        found = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True).stdout
        compile_flags, link_flags = json.loads(found.strip().splitlines()[-1])
        system = [f"-isystem{flag[2:]}" if flag.startswith("-I") else flag for flag in compile_flags]
        ext.extra_compile_args, ext.extra_link_args = [*FLAGS, *system], link_flags
        super().build_extension(ext)


class Wheel(bdist_wheel):
    """A wheel for every Python: the compiled library belongs to TensorFlow, whatever Python that runs in."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


setup(
    name="fedsim-tf",
    version=VERSION,
    description="Federated simulation of labelled cardiac CT for segmentation (Li et al., MICCAI 2020), in TensorFlow",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10,<3.14",
    packages=find_packages(include=["fedsim_tf", "fedsim_tf.*", "experiments"]),
    package_data={"fedsim_tf": ["py.typed", "data/*.csv", "evaluation/templates/*", "shape/*.npz"]},
    ext_modules=[
        Extension(
            "fedsim_tf.shape._voxels",
            [f"{NATIVE}/{name}.cc" for name in ("scan", "voxels", "volume_ops", "gradient_ops")],
            depends=[f"{NATIVE}/{name}.h" for name in ("scan", "voxels", "kernel")],
            language="c++",
        )
    ],
    cmdclass={"bdist_wheel": Wheel, "build_ext": Build},
    entry_points={"console_scripts": ["fedsim = experiments.fedsim:start_command"]},
    zip_safe=False,
    install_requires=[
        *TENSORFLOW,
        "absl-py>=2.1",
        "h5py>=3.9",
        "highdicom>=0.24",
        "Jinja2>=3.1",
        "matplotlib>=3.8",
        "pillow>=10",
        "pydantic>=2.6",
        "pydicom>=3.0.1",
        "pyronn==0.1.0",
        "pyronn-layers>=0.3",  # third_party/pyronn_layers, which is installed first or in the same command
        "rich>=13",
        "scikit-image>=0.22",
        "scikit-learn>=1.3",
        "scipy>=1.11",
        "SimpleITK>=2.3",
        "surface-distance==0.1",
        "tabulate>=0.9",
        "threadpoolctl>=3.2",
        "tqdm>=4.66",
        "trimesh>=4",
        "xraydb>=4.5",
    ],
    extras_require={
        "test": [
            "dp-accounting>=0.6",
            "import-linter>=2",
            "mypy>=1.8",
            "nbformat>=5.9",
            "nvflare==2.9.0",
            *ONNX,
            "psutil>=5.9",
            "pytest>=8",
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.5",
            "tenseal>=0.3.15",
            "PyYAML>=6",
            "ruff>=0.6",
            "slipcover>=1.1",
            "submitit==1.5.4",
            'tomli>=2; python_version < "3.11"',
            "vtk>=9.3",
        ],
        "docs": ["mkdocs>=1.6", "mkdocs-material>=9.5", "mkdocstrings[python]>=0.26"],
        "cluster": ["submitit==1.5.4"],
        "benchmark": [
            "itk-rtk==2.7.*",
            "monai==1.6.*",
            "nibabel>=5",
            "psutil>=5.9",
            "pycpd>=2",
            "vtk>=9.3",
            "torch==2.13.0",
        ],
        "encryption": ["tenseal>=0.3.15"],
        "federated": ["nvflare==2.9.0", "dp-accounting>=0.6", 'tomli>=2; python_version < "3.11"'],
        "meshes": ["vtk>=9.3"],
        "onnx": ONNX,
    },
    classifiers=[
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Intended Audience :: Science/Research",
        "Topic :: Scientific/Engineering :: Medical Science Apps.",
    ],
)
