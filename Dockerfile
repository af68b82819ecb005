# The environment of `python -m craft_ray.tune` and `craft_ray.serve`, on one machine or as a node of
# a cluster.
#
#   docker build -t craft-ray:0.1.0 .
#   mkdir -p runs
#   docker run --rm --shm-size=2g -v "$PWD/runs:/craft-ray/runs" craft-ray:0.1.0
#   docker run --rm --shm-size=2g -v "$PWD/runs:/craft-ray/runs" --gpus all craft-ray:0.1.0 \
#     tune_spaces/quickstart.yaml trials=16
#
# --shm-size holds Ray's object store (`ray.object_store_mb`); Docker's default of 64 MB does not.
# The container's user has uid 1000 and must be able to write to the mounted `runs/`.
# Weights that are downloaded go with the container, unless a volume is at /craft-ray/weights.
# Another command: --entrypoint python craft-ray:0.1.0 -m craft_ray.train ...
# Head, worker and tracking server together, or a service: docker-compose.yaml.
#
# A plain Python base: torch's wheels bring CUDA, and the driver comes from the host. For CUDA 13 it
# must be 580 or newer.
FROM python:3.11.14-slim-bookworm AS base
ENV PATH=/opt/craft/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
RUN useradd --create-home --uid 1000 craft

# The dependencies are a layer of their own (about 6 GB): an edit of the code leaves it alone.
# Ray is the version of the clusters/, so that the image can join one.
FROM base AS build
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /craft-ray
RUN python -m venv /opt/craft
COPY constraints.txt pyproject.toml README.md ./
COPY craft_ray/__init__.py craft_ray/
RUN pip install --constraint constraints.txt --editable '.[serve]' \
    'ray[default,serve,tune,train]==2.60.0'

# The tracking server of docker-compose.yaml: MLflow and a driver for PostgreSQL, no torch.
FROM base AS mlflow-build
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /mlflow
RUN python -m venv /opt/craft
COPY constraints.txt ./
RUN pip install --constraint constraints.txt mlflow psycopg2-binary

FROM base AS mlflow
COPY --from=mlflow-build /opt/craft /opt/craft
RUN install -d -o craft -g craft /mlflow/artifacts
WORKDIR /mlflow
USER 1000:1000
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
  CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:5000/health')"]
ENTRYPOINT ["mlflow", "server"]

FROM base
LABEL org.opencontainers.image.title="craft-ray" \
      org.opencontainers.image.description="Distributed collaborative fine-tuning of black-box vision-language models" \
      org.opencontainers.image.licenses="Apache-2.0"
# For `--gpus all`, and for runtimes that look at the image instead.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    RAY_USAGE_STATS_ENABLED=0 \
    HF_HOME=/craft-ray/weights
COPY --from=build /opt/craft /opt/craft
RUN install -d -o craft -g craft /craft-ray/runs /craft-ray/service /craft-ray/weights
WORKDIR /craft-ray
COPY pyproject.toml README.md LICENSE ./
COPY craft_ray/ craft_ray/
COPY tune_spaces/ tune_spaces/
USER 1000:1000
# Whether the Ray of this container answers, its own or the cluster's.
HEALTHCHECK --interval=60s --timeout=30s --start-period=120s CMD ["ray", "health-check"]
ENTRYPOINT ["python", "-m", "craft_ray.tune"]
