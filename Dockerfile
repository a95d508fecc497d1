# The consumer's image; `make image` builds and runs it. It has no health check of its own, because some commands serve
# no /healthz: docker-compose.yml and deploy/kubernetes have the check for those that do.
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
ENTRYPOINT ["cdc-consumer"]
CMD ["run"]
