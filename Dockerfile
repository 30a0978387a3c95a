# One image for serving and for training, with the shipped model. The second stage takes the finished environment only,
# so pip's leavings stay behind.
FROM python:3.11-slim AS build

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /app/venv
ENV PATH=/app/venv/bin:$PATH
WORKDIR /src

COPY constraints.txt ./
# PyTorch's own index has a CPU build without gigabytes of CUDA. Where that index can't be reached, the installation
# below takes the ordinary build of the same version.
RUN pip install --no-deps --index-url "$TORCH_INDEX" --retries 1 --timeout 20 --constraint constraints.txt torch \
    || echo "PyTorch's CPU index can't be reached: taking the ordinary build"

COPY pyproject.toml README.md LICENSE ./
COPY dialog_cvae dialog_cvae
COPY training training
COPY eval eval
COPY api api
RUN pip install --constraint constraints.txt '.[serve,train]' && pip uninstall --yes pip


FROM python:3.11-slim

RUN useradd --uid 10001 --create-home app && install --directory --owner app /models
COPY --from=build /app/venv /app/venv
COPY models /app/models
ENV PATH=/app/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MPLCONFIGDIR=/tmp/matplotlib \
    DIALOG_CVAE_CHECKPOINT=/app/models/swda
USER app
WORKDIR /home/app
VOLUME /models
EXPOSE 8000
HEALTHCHECK --start-period=30s --interval=10s --timeout=5s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health/ready', timeout=4)"]
CMD ["uvicorn", "api.app:app", "--host", "0.0.0.0", "--port", "8000"]
