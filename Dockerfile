# Three images from one file: `api` serves HTTP, `worker-cpu` translates on a CPU, both without torch; `worker` has torch,
# which trains, and translates on GPUs. See docs/containers.md.
#
# pip's configuration for the build (a mirror, a proxy, a certificate) is a secret, so none of it stays in an image:
#   docker build --secret id=pip.conf,src=pip.conf --target api -t doppel-api .

# Any image with Debian's useradd, and Python 3.11 or newer that is called `python` and has its venv module.
ARG BASE_IMAGE=python:3.13-slim

FROM ${BASE_IMAGE} AS base
# A fixed uid, since files in the shared volume /data belong to it. A new volume takes its owner from this folder.
RUN useradd --no-log-init --uid 10001 --no-create-home --shell /usr/sbin/nologin doppel \
    && install --directory --owner=doppel --group=doppel /data \
    && python -m venv /opt/doppel
ENV PATH=/opt/doppel/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DOPPEL_HOST=0.0.0.0 \
    DOPPEL_PORT=8000 \
    DOPPEL_DATA_DIR=/data \
    DOPPEL_WEIGHTS_DIR=/srv/doppel/weights
WORKDIR /srv/doppel

# What all images need from the checkout. Nothing of this stage but its results reaches an image.
FROM base AS package
COPY pyproject.toml README.md LICENSE ./
# The requirements as files of their own: large layers depend on them alone, not on every change of pyproject.toml.
RUN python -c "import pathlib, tomllib; \
        project = tomllib.loads(pathlib.Path('pyproject.toml').read_text())['project']; \
        extras = project['optional-dependencies']; \
        pathlib.Path('api.txt').write_text('\n'.join([*project['dependencies'], *extras['tracing']])); \
        pathlib.Path('light.txt').write_text('\n'.join(extras['light'])); \
        pathlib.Path('worker.txt').write_text('\n'.join(extras['worker']))"
COPY app app
COPY doppel doppel
COPY worker worker
COPY models models
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    pip wheel --no-cache-dir --no-deps --wheel-dir /dist .
COPY weights weights
# Readable by the service's user whatever the checkout's modes are, and writable by nobody.
RUN chmod -R a=rX weights

FROM base AS dependencies
COPY constraints.txt /opt/doppel/
COPY --from=package /srv/doppel/api.txt /opt/doppel/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    pip install --no-cache-dir --constraint /opt/doppel/constraints.txt --requirement /opt/doppel/api.txt

FROM dependencies AS api
# The container listens on all addresses, but is published on the machine's loopback address: check `Host` as there.
ENV DOPPEL_ALLOWED_HOSTS=localhost
RUN --mount=type=bind,from=package,source=/dist,target=/dist \
    pip install --no-cache-dir --no-index --no-deps /dist/*.whl && pip check
COPY --from=package /srv/doppel/weights weights
USER 10001:10001
EXPOSE 8000
# Bypasses a proxy that the container's environment may name.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import os; from urllib.request import ProxyHandler, build_opener; \
        url = 'http://127.0.0.1:' + os.environ['DOPPEL_PORT'] + '/healthz'; \
        build_opener(ProxyHandler({})).open(url, timeout=4)"]
CMD ["doppel", "api"]

FROM dependencies AS worker-cpu
COPY --from=package /srv/doppel/light.txt /opt/doppel/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    pip install --no-cache-dir --constraint /opt/doppel/constraints.txt --requirement /opt/doppel/light.txt
RUN --mount=type=bind,from=package,source=/dist,target=/dist \
    pip install --no-cache-dir --no-index --no-deps /dist/*.whl && pip check
COPY --from=package /srv/doppel/weights weights
USER 10001:10001
HEALTHCHECK --interval=10s --timeout=10s --start-period=60s CMD ["python", "-m", "worker.health", "worker"]
CMD ["doppel", "worker"]

FROM dependencies AS worker
# Where a training looks for the networks that measure quality, in hub/checkpoints; see docs/training.md.
ENV TORCH_HOME=/data/torch
# Where Triton keeps the layers that it has built for a GPU.
ENV TRITON_CACHE_DIR=/data/triton
# The compiler that Triton needs for that. Without it a GPU works at a third of the speed, so a build that can't reach Debian
# goes on.
# hadolint ignore=DL3008
RUN (apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*) \
    || echo "No C compiler could be installed: on a GPU, torch's own layers will compute."
COPY --from=package /srv/doppel/worker.txt /opt/doppel/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    pip install --no-cache-dir --constraint /opt/doppel/constraints.txt --requirement /opt/doppel/worker.txt
RUN --mount=type=bind,from=package,source=/dist,target=/dist \
    pip install --no-cache-dir --no-index --no-deps /dist/*.whl && pip check
COPY --from=package /srv/doppel/weights weights
USER 10001:10001
HEALTHCHECK --interval=10s --timeout=10s --start-period=60s CMD ["python", "-m", "worker.health", "worker"]
CMD ["doppel", "worker"]
