# syntax=docker/dockerfile:1
#
# Three images from one file. None holds a password, a key or a model.
#
#   docker build --target api    --tag lethe-api .       API, relay, migrations and administration; no torch
#   docker build --target backup --tag lethe-backup .    the same with pg_dump and pg_restore, for backups only
#   docker build --target worker --tag lethe-worker .    the engine, with CUDA; needs only the driver on the host
#
# A worker for machines without a GPU is some gigabytes smaller with PyTorch's CPU build. Say where pip finds it:
#
#   docker build --target worker --build-arg TORCH_PIP_OPTIONS="--index-url <index with CPU builds>" .

FROM python:3.12-slim AS base

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPATH=/srv/lethe \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PIP_CACHE_DIR=/var/cache/pip \
    HOME=/tmp \
    LETHE_CACHE_FOLDER=/var/lib/lethe/cache

# A fixed number, so that volumes shared by both images belong to the same user in each. A new volume takes over
# the owner of the folder that it is mounted on.
RUN groupadd --gid 10001 lethe \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin lethe \
 && install --directory --owner=lethe --group=lethe --mode=0750 \
        /var/lib/lethe /var/lib/lethe/storage /var/lib/lethe/cache /var/lib/lethe/keys

WORKDIR /srv/lethe

# Dependencies before the source: this layer changes only when one of these two files does. What is installed here
# besides them is an empty distribution; the program itself runs from the folder.
COPY pyproject.toml constraints.txt ./
RUN touch README.md LICENSE


FROM base AS api

RUN --mount=type=cache,target=/var/cache/pip \
    python -m pip install --constraint constraints.txt '.[api]'

COPY models models
COPY migrations migrations
COPY app app

USER 10001:10001
EXPOSE 8000
# The relay and the migrations run from this image too, and have no port: docker-compose.yml switches this off there.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["uvicorn", "app.main:create_app", "--factory", "--host", "0.0.0.0", "--port", "8000", "--timeout-graceful-shutdown", "20", "--no-access-log"]


FROM api AS backup

USER root
RUN --mount=type=cache,target=/var/cache/pip \
    python -m pip install --constraint constraints.txt '.[backup]'
USER 10001:10001
HEALTHCHECK NONE
ENTRYPOINT ["python", "-m", "app.backup"]
CMD ["--help"]


FROM base AS worker

# torch first: it is most of the image, and changes less often than the rest. Its ordinary Linux wheels bring CUDA.
ARG TORCH_PIP_OPTIONS=""
RUN --mount=type=cache,target=/var/cache/pip \
    python -m pip install --constraint constraints.txt $TORCH_PIP_OPTIONS torch
RUN --mount=type=cache,target=/var/cache/pip \
    python -m pip install --constraint constraints.txt '.[worker]'

COPY models models
COPY app/__init__.py app/__init__.py
COPY app/core app/core
COPY worker worker

# Temporary files may be as large as a checkpoint. The two NVIDIA_ variables are for the container toolkit.
ENV TMPDIR=/var/lib/lethe/cache \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

USER 10001:10001
# A worker that ends is started again; what can be asked from outside is whether it can reach what it needs.
HEALTHCHECK --interval=60s --timeout=20s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, psycopg, redis; redis.Redis.from_url(os.environ['LETHE_BROKER_URL']).ping(); psycopg.connect(os.environ['LETHE_WORKER_DATABASE_URL'].replace('+psycopg', ''), connect_timeout=5).close()"]
CMD ["celery", "-A", "worker.main", "worker", "--concurrency", "1", "--loglevel", "INFO", "--hostname", "worker@%h"]
