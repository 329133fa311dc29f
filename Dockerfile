# fedsim_tf as an image whose entry point is the command `fedsim`; README, "Install", says how to build and run it.
#
# BASE needs apt and a Python 3.10 to 3.13 as its python3, such as Debian 12 or Ubuntu 22.04. From 3.12 on it is TensorFlow
# 2.21, before 2.15. With an image of CUDA 12.2 and cuDNN 8 (of TensorFlow 2.15) that has nvcc (a "devel" image) the
# operators' GPU kernels are compiled; RUNTIME may then be the same without nvcc.
ARG BASE=debian:bookworm-slim
ARG RUNTIME=${BASE}

FROM ${BASE} AS build
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/fedsim
WORKDIR /src
COPY . .
# The versions that the tests passed with are for Python 3.11. Where there is nvcc, kernels that do not compile are an error.
RUN --mount=type=cache,target=/root/.cache/pip \
    if python3 -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then set -- --constraint requirements.lock; fi \
    && if command -v nvcc; then export PYRONN_LAYERS_CUDA=1; fi \
    && /opt/fedsim/bin/pip install "$@" ./third_party/pyronn_layers .

FROM ${RUNTIME}
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/fedsim /opt/fedsim
# Runs and the cache lie in the folder that is mounted here, and belong to the user whom --user names.
WORKDIR /work
ENV HOME=/work PATH=/opt/fedsim/bin:${PATH}
USER 1000:1000
ENTRYPOINT ["fedsim"]
CMD ["--help"]
