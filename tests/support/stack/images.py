"""The container images, pinned, in one place: docker-compose.yml is checked against it."""

from __future__ import annotations

IMAGES = {
    "mysql": "mysql:8.0.40",
    "kafka": "apache/kafka:4.3.0",
    "connect": "apache/kafka:4.3.0",  # with Debezium's plugin mounted from the cache
    "redis": "redis:7.2.5",
}
