"""cdc-consumer: makes Redis follow a relational database by way of Debezium and Kafka.

The map of the package is in ``docs/architecture.md``.
"""

from importlib.metadata import version

__version__ = version("cdc-consumer")
