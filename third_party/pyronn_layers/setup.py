"""Packaging of pyronn-layers: compiles the operators against the TensorFlow that is installed.

The variable PYRONN_LAYERS_CUDA decides about the GPU kernels: 0 leaves them out, 1 fails where they cannot be built.
Without it they are built where nvcc is found; where they do not compile, a warning says so and they are left out.
"""

from __future__ import annotations

import concurrent.futures
import importlib.metadata
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import warnings

from setuptools import Extension, find_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

ROOT = pathlib.Path(__file__).parent.resolve()
CUDA_LIBRARY = "libpyronn_cone_cuda.so"
WARNINGS = ["-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-psabi", "-Wno-maybe-uninitialized"]
# Each instruction set has a file, chosen at run time; all else is compiled for any processor of the platform.
X86 = platform.machine() in ("x86_64", "AMD64")
INSTRUCTION_SETS = {"kernels_avx2.cc": ["-mavx2", "-mfma"], "kernels_avx512.cc": ["-mavx512f", "-mavx512dq", "-mfma"]}
CORE = ["cone_geometry.cc", "cone_beam.cc", "planar_geometry.cc", "planar_beam.cc", "kernels.cc"]
CORE += ["kernels_portable.cc", *(INSTRUCTION_SETS if X86 else {})]
TENSORFLOW = ["tf_inputs.cc", "tf_workers.cc", "tf_arguments.cc", "tf_ops.cc", "tf_planar_arguments.cc"]
TENSORFLOW += ["tf_planar_ops.cc"]
TENSORFLOW_GPU = ["tf_gpu.cc", "tf_planar_gpu.cc"]
CUDA = ["cuda/cone_cuda.cu", "cuda/planar_cuda.cu"]
# What the CUDA library holds beside the core and the kernels.
CUDA_HOST = ["cuda/device_geometry.cc", "cuda/emulate.cc", "cuda/planar_device_geometry.cc", "cuda/planar_emulate.cc"]
FLAGS = ["-std=c++17", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"]
FLAGS += ["-fvisibility=hidden", "-DNDEBUG"]
FLAGS += ["-DPYRONN_LAYERS_X86"] if X86 else []


def tensorflow_flags() -> tuple[list[str], list[str]]:
    """Return the compiler and linker flags of the TensorFlow that is installed.

    Another process is asked: importing TensorFlow writes to the terminal and takes a gigabyte.
    """
    asked = "[tf.sysconfig.get_compile_flags(), tf.sysconfig.get_link_flags()]"
    code = f"import json, tensorflow as tf; print(json.dumps({asked}))"
    found = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True).stdout
    compile_flags, link_flags = json.loads(found.strip().splitlines()[-1])
    return [f"-isystem{f[2:]}" if f.startswith("-I") else f for f in compile_flags], link_flags


def find_nvcc() -> str | None:
    """Return the path of nvcc, in CUDA_HOME, on the PATH or in the usual place; None where GPU kernels are unwanted."""
    if os.environ.get("PYRONN_LAYERS_CUDA") == "0":
        return None
    places = [os.path.join(os.environ.get("CUDA_HOME", ""), "bin"), os.environ.get("PATH", ""), "/usr/local/cuda/bin"]
    return shutil.which("nvcc", path=os.pathsep.join(places))


class Build(build_ext):
    """A build in which each source has flags of its own, and which adds the CUDA kernels where there is nvcc."""

    def get_ext_filename(self, ext_name: str) -> str:
        """Return the name of a library, which TensorFlow loads and Python does not import; it names the TensorFlow."""
        return os.path.join(*ext_name.split(".")) + f".tf{tensorflow_series()}.so"

    def copy_extensions_to_source(self) -> None:
        super().copy_extensions_to_source()  # type: ignore[misc]
        # Without nvcc an older one stays: the library of another environment's TensorFlow may need it.
        built = pathlib.Path(self.build_lib) / "pyronn_layers" / CUDA_LIBRARY
        if built.exists():
            placed = ROOT / "pyronn_layers" / built.name
            partial = placed.with_suffix(".partial")
            shutil.copy2(built, partial)
            os.replace(partial, placed)  # written over, it would end processes that have it loaded

    def build_extension(self, ext: Extension) -> None:
        tf_compile, tf_link = tensorflow_flags()
        target = pathlib.Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        nvcc = find_nvcc()
        flags = {name: [*FLAGS, *WARNINGS, *INSTRUCTION_SETS.get(name, [])] for name in CORE}
        flags |= {name: [*FLAGS, *WARNINGS, *tf_compile] for name in TENSORFLOW}
        if nvcc is not None:
            flags |= {name: [*FLAGS, *WARNINGS, f"-I{ROOT / 'src'}"] for name in CUDA_HOST}
        objects = self._compile(flags)
        used = [*CORE, *TENSORFLOW]
        link = [*tf_link, "-Wl,-rpath,$ORIGIN"]
        library = target.parent / CUDA_LIBRARY
        if self._build_cuda(nvcc, library, [objects[name] for name in (*CORE, *CUDA_HOST) if name in objects]):
            objects |= self._compile({name: [*FLAGS, *WARNINGS, *tf_compile] for name in TENSORFLOW_GPU})
            used += TENSORFLOW_GPU
            link.append(str(library))
        linked = [objects[name] for name in used]
        self.compiler.link_shared_object(linked, str(target), extra_postargs=link, target_lang="c++")

    def _compile(self, flags: dict[str, list[str]]) -> dict[str, str]:
        depends = [str(path) for path in ROOT.glob("src/**/*") if path.suffix in (".h", ".inc", ".cuh")]

        def one(name: str) -> tuple[str, str]:
            source = os.path.relpath(ROOT / "src" / name)
            built = self.compiler.compile(
                [source], output_dir=self.build_temp, extra_postargs=flags[name], depends=depends
            )
            return name, built[0]

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            return dict(pool.map(one, flags))

    def _build_cuda(self, nvcc: str | None, library: pathlib.Path, objects: list[str]) -> bool:
        """Build the CUDA library, free of TensorFlow and with the CUDA runtime inside; return whether that worked."""
        library.unlink(missing_ok=True)
        required = os.environ.get("PYRONN_LAYERS_CUDA") == "1"
        if nvcc is None:
            if required:
                raise RuntimeError("PYRONN_LAYERS_CUDA=1: found no nvcc; expected it on the PATH or under CUDA_HOME")
            return False
        source = ["-std=c++17", "-O3", "-arch=all-major", f"-I{ROOT / 'src'}"]
        source += [str(ROOT / "src" / name) for name in CUDA]
        host = ["-Xcompiler", "-fPIC,-fvisibility=hidden,-Wall,-Wextra", "-cudart", "static"]
        # TensorFlow has a CUDA runtime of its own: neither may find the other's functions.
        link = ["--shared", "-Xlinker", f"-soname={CUDA_LIBRARY},--exclude-libs=ALL,-Bsymbolic", "-o", str(library)]
        built = subprocess.run([nvcc, *source, *host, *objects, *link], capture_output=True, text=True)
        if built.returncode == 0:
            return True
        if required:
            raise RuntimeError(f"PYRONN_LAYERS_CUDA=1: nvcc failed:\n{built.stdout}{built.stderr}")
        warnings.warn(f"nvcc failed; built without GPU kernels:\n{built.stdout}{built.stderr}", stacklevel=1)
        return False


class Wheel(bdist_wheel):
    """A wheel for every Python: the compiled library belongs to TensorFlow, whatever Python that runs in."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


def tensorflow_series() -> str:
    """Return the major and minor version of the TensorFlow that the operators are built against."""
    try:
        return ".".join(importlib.metadata.version("tensorflow").split(".")[:2])
    except importlib.metadata.PackageNotFoundError:
        sys.exit("pyronn-layers is compiled against TensorFlow: pip install tensorflow, or let pip do it, in isolation")


setup(
    name="pyronn-layers",
    version="0.4.0",
    description="Parallel-, fan- and cone-beam operators for PYRO-NN on today's TensorFlow, with exact gradients",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10,<3.14",
    packages=find_packages(include=["pyronn_layers"]),
    package_data={"pyronn_layers": [CUDA_LIBRARY]},
    install_requires=["numpy>=1.24", f"tensorflow=={tensorflow_series()}.*"],
    ext_modules=[Extension("pyronn_layers._cone_beam", [f"src/{name}" for name in CORE])],
    cmdclass={"bdist_wheel": Wheel, "build_ext": Build},
    zip_safe=False,
    classifiers=[
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Medical Science Apps.",
    ],
)
