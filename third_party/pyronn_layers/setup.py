"""Packaging of pyronn-layers: compiles the operators against the TensorFlow that is installed.

Environment: PYRONN_LAYERS_CUDA=0 leaves the GPU kernels out, =1 fails where they cannot be built; without it they are
built where nvcc is found, and left out, with a warning, where they do not compile.
"""

from __future__ import annotations

import concurrent.futures
import importlib.metadata
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import warnings

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

ROOT = pathlib.Path(__file__).parent.resolve()
CUDA_LIBRARY = "libpyronn_cone_cuda.so"
WARNINGS = ["-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-psabi", "-Wno-maybe-uninitialized"]
# One file for each instruction set, chosen from at run time; nothing else is compiled for more than the platform's least.
X86 = platform.machine() in ("x86_64", "AMD64")
INSTRUCTION_SETS = {"kernels_avx2.cc": ["-mavx2", "-mfma"], "kernels_avx512.cc": ["-mavx512f", "-mavx512dq", "-mfma"]}
CORE = ["cone_geometry.cc", "cone_beam.cc", "kernels.cc", "kernels_portable.cc", *(INSTRUCTION_SETS if X86 else {})]
FLAGS = ["-std=c++17", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fvisibility=hidden", "-DNDEBUG"]
FLAGS += ["-DPYRONN_LAYERS_X86"] if X86 else []


def tensorflow_flags() -> tuple[list[str], list[str]]:
    """Compiler and linker flags of the TensorFlow that is installed; asked for in a process that may be noisy."""
    code = "import tensorflow as tf; print(*tf.sysconfig.get_compile_flags(), '|', *tf.sysconfig.get_link_flags())"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    compile_flags, link_flags = found.strip().splitlines()[-1].split("|")
    return [f"-isystem{f[2:]}" if f.startswith("-I") else f for f in compile_flags.split()], link_flags.split()


def find_nvcc() -> str | None:
    """nvcc of CUDA_HOME, of the PATH, or of the usual place; None where GPU kernels are not wanted."""
    if os.environ.get("PYRONN_LAYERS_CUDA") == "0":
        return None
    places = [os.path.join(os.environ.get("CUDA_HOME", ""), "bin"), os.environ.get("PATH", ""), "/usr/local/cuda/bin"]
    return shutil.which("nvcc", path=os.pathsep.join(places))


class Build(build_ext):
    """Each source with its own flags, and the CUDA kernels beside them where there is nvcc."""

    def get_ext_filename(self, ext_name: str) -> str:
        return os.path.join(*ext_name.split(".")) + ".so"  # loaded by TensorFlow, not imported

    def build_extension(self, ext: Extension) -> None:
        tf_compile, tf_link = tensorflow_flags()
        target = pathlib.Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        cuda = self._build_cuda(target.parent / CUDA_LIBRARY)
        flags = {name: [*FLAGS, *WARNINGS, *INSTRUCTION_SETS.get(name, [])] for name in CORE}
        for name in ("tf_arguments.cc", "tf_ops.cc"):
            flags[name] = [*FLAGS, *WARNINGS, *tf_compile]
        link = [*tf_link, "-Wl,-rpath,$ORIGIN"]
        if cuda is not None:
            toolkit = cuda.parent.parent
            defines = ["-DGOOGLE_CUDA=1", "-DEIGEN_USE_GPU=1", f"-isystem{toolkit / 'include'}"]
            flags["tf_gpu.cc"] = [*FLAGS, *WARNINGS, *tf_compile, *defines]
            link += [str(target.parent / CUDA_LIBRARY)]
        self.compiler.link_shared_object(self._compile(flags), str(target), extra_postargs=link, target_lang="c++")

    def _compile(self, flags: dict[str, list[str]]) -> list[str]:
        depends = [str(path) for path in ROOT.glob("src/**/*") if path.suffix in (".h", ".inc", ".cuh")]

        def one(name: str) -> list[str]:
            source = os.path.relpath(ROOT / "src" / name)
            return self.compiler.compile(
                [source], output_dir=self.build_temp, extra_postargs=flags[name], depends=depends
            )

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            return [objects[0] for objects in pool.map(one, flags)]

    def _build_cuda(self, library: pathlib.Path) -> pathlib.Path | None:
        """The CUDA library, free of TensorFlow and with the CUDA runtime inside; nvcc's path if there is one."""
        library.unlink(missing_ok=True)
        nvcc = find_nvcc()
        required = os.environ.get("PYRONN_LAYERS_CUDA") == "1"
        if nvcc is None:
            if required:
                raise RuntimeError("PYRONN_LAYERS_CUDA=1: found no nvcc; expected it on the PATH or under CUDA_HOME")
            return None
        command = [nvcc, "-std=c++17", "-O3", "-arch=all-major", "-Xcompiler", "-fPIC,-fvisibility=hidden", "--shared"]
        host = [f"-I{ROOT / 'src'}", str(ROOT / "src/cuda/cone_cuda.cu"), "-o", str(library)]
        built = subprocess.run([*command, *host], capture_output=True, text=True)
        if built.returncode == 0:
            return pathlib.Path(nvcc)
        if required:
            raise RuntimeError(f"PYRONN_LAYERS_CUDA=1: nvcc failed:\n{built.stdout}{built.stderr}")
        warnings.warn(f"nvcc failed; built without GPU kernels:\n{built.stdout}{built.stderr}", stacklevel=1)
        return None


def tensorflow_series() -> str:
    """The requirement that the compiled operators have: the minor version that they are built against."""
    major, minor = importlib.metadata.version("tensorflow").split(".")[:2]
    return f"tensorflow=={major}.{minor}.*"


setup(
    name="pyronn-layers",
    version="0.3.0",
    description="Cone-beam projection and back-projection for PYRO-NN on today's TensorFlow, with exact gradients",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.9",
    packages=find_packages(include=["pyronn_layers"]),
    package_data={"pyronn_layers": [CUDA_LIBRARY]},
    install_requires=["numpy>=1.24", tensorflow_series()],
    ext_modules=[Extension("pyronn_layers._cone_beam", [f"src/{name}" for name in CORE])],
    cmdclass={"build_ext": Build},
    zip_safe=False,
)
