# The environment of `python -m craft_ray.tune` on one machine.
#
#   docker build -t craft-ray:0.1.0 .
#   mkdir -p runs
#   docker run --rm --shm-size=2g -v "$PWD/runs:/craft-ray/runs" craft-ray:0.1.0
#   docker run --rm --shm-size=2g -v "$PWD/runs:/craft-ray/runs" --gpus all craft-ray:0.1.0 \
#     tune_spaces/quickstart.yaml trials=16
#
# --shm-size holds Ray's object store (`ray.object_store_mb`); Docker's default of 64 MB does not.
# The container's user has uid 1000 and must be able to write to the mounted `runs/`.
#
# A plain Python base: torch's wheels bring CUDA, and the driver comes from the host.
FROM python:3.11-slim-bookworm

LABEL org.opencontainers.image.title="craft-ray" \
      org.opencontainers.image.description="Distributed collaborative fine-tuning of black-box vision-language models" \
      org.opencontainers.image.licenses="Apache-2.0"

ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    RAY_USAGE_STATS_ENABLED=0

RUN useradd --create-home --uid 1000 craft \
    && install -d -o craft -g craft /craft-ray/runs
WORKDIR /craft-ray

# The dependencies are a layer of their own (about 6 GB): an edit of the code leaves it alone.
# Ray is the version of the clusters/, so that the image can join one.
COPY pyproject.toml README.md ./
COPY craft_ray/__init__.py craft_ray/
RUN pip install --editable . 'ray[default,tune,train]==2.60.0'

COPY craft_ray/ craft_ray/
COPY tune_spaces/ tune_spaces/

USER craft
ENTRYPOINT ["python", "-m", "craft_ray.tune"]
