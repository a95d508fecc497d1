# The consumer's image. Never built on the machine it was written on, which has no Docker engine.
FROM python:3.12.11-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/venv
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY consumer consumer
COPY connect connect
# The wheel, not the source tree, is what is installed: so the image runs what a user of the package runs.
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
 && /opt/venv/bin/pip install --no-cache-dir --constraint constraints.txt "$(ls /wheels/*.whl)[api,codecs,confluent,mysql,otel,postgres]"

FROM python:3.12.11-slim-bookworm
LABEL org.opencontainers.image.title="cdc-consumer" org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
COPY --from=build /opt/venv /opt/venv
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin cdc
USER 10001
EXPOSE 9108
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ.get('CDC_METRICS__PORT', '9108') + '/healthz', timeout=2)"]
ENTRYPOINT ["cdc-consumer"]
CMD ["run"]
