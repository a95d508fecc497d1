"""What a number was measured on: no names and no places, only what makes it comparable."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import redis

from tests.support.stack import kafka

_PACKAGES = ("cdc-consumer", "kafka-python", "confluent-kafka", "redis", "hiredis", "msgspec")


def facts(client: redis.Redis) -> dict[str, str]:
    """The machine, and the versions of everything that takes part. The load is that of the minute before."""
    found = {
        "cores": str(psutil.cpu_count()),
        "processor": _processor(),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GB",
        "load before": f"{os.getloadavg()[0]:.1f}",
        "Linux": platform.release().partition("-")[0],
        "Python": platform.python_version(),
        "Kafka": kafka.VERSION,
        "Redis": str(client.info("server")["redis_version"]),
    }
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
