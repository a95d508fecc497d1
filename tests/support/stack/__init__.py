"""The real servers without Docker: MySQL, Kafka, Kafka Connect with Debezium, Redis.

``python -m tests.support.stack up`` for a person, ``Stack.start(...)`` for a test, ``tests.support.stack.fixtures``
for pytest.
"""

from tests.support.stack.errors import MissingTool, StackError, StartFailed
from tests.support.stack.stack import Stack

__all__ = ["MissingTool", "Stack", "StackError", "StartFailed"]
