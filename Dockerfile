# The consumer's image; `make image` builds and runs it. It has no health check of its own, because some commands serve
# no /healthz: docker-compose.yml and deploy/kubernetes have the check for those that do.
FROM python:3.12.11-slim-bookworm AS build
WORKDIR /src
# The same files for the same commit (docs/release.md): no times in them, and one order of sets in compiled code.
ENV SOURCE_DATE_EPOCH=1577836800 PYTHONHASHSEED=0
RUN python -m venv /opt/venv
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY consumer consumer
COPY connect connect
# The wheel, not the source tree, is what is installed: so the image runs what a user of the package runs.
# Compiled code holds the time of its source, unless it is told to hold a hash; nobody changes a source in an image.
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
 && /opt/venv/bin/pip install --no-cache-dir --no-compile --constraint constraints.txt "$(ls /wheels/*.whl)[api,codecs,confluent,mysql,otel,postgres]" \
 && find /opt/venv -name __pycache__ -prune -exec rm -r {} + \
 && python -m compileall -q --invalidation-mode unchecked-hash /opt/venv

FROM python:3.12.11-slim-bookworm
LABEL org.opencontainers.image.title="cdc-consumer" org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
COPY --from=build /opt/venv /opt/venv
RUN SOURCE_DATE_EPOCH=1577836800 useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin cdc
USER 10001
EXPOSE 9108
ENTRYPOINT ["cdc-consumer"]
CMD ["run"]
