"""What the program does after a failure: retry, refuse one record or plan, or halt; and what an operator can do.

One table lists every exception of the Kafka client, of redis-py and of the registry's HTTP client, Redis' error
replies, and this program's own errors. Rows contain names, so the libraries are not imported. ``kafka.Cancelled`` is a
class of that name anywhere in the package ``kafka``. ``redis:OOM`` is a reply that begins with that word. A name
without a package is one of Python's own. A class without a row uses the row of its nearest parent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from consumer.errors import Refused, ServerError, ServerUnavailable, UnknownReply
from consumer.settings.extras import advice


class Action(StrEnum):
    """What the program does about a failure."""

    RETRY = "retry"
    RETRY_SOME = "retry, then dead letter"
    DEAD_LETTER = "dead letter"
    HALT = "halt"


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table.

    ``is_setting``: at the start, before the server has accepted this client, the failure is a wrong setting and ends
    the program with exit code 2. Later it is a change at the server; the program waits if ``action`` is a retry.
    ``is_package``: a package is not installed. No start mends that: exit code 2 at any time.
    """

    action: Action
    advice: str
    names: tuple[str, ...]
    is_setting: bool = False
    is_package: bool = False


def _retry(advice: str, names: str, *, is_setting: bool = False) -> Rule:
    return Rule(Action.RETRY, advice, tuple(names.split()), is_setting)


def _dead_letter(advice: str, names: str) -> Rule:
    return Rule(Action.DEAD_LETTER, advice, tuple(names.split()))


def _halt(advice: str, names: str, *, is_setting: bool = False, is_package: bool = False) -> Rule:
    return Rule(Action.HALT, advice, tuple(names.split()), is_setting, is_package)


_REPORT = "a bug in this program or in one of its libraries: start the program again, and report the log line"
OTHER_DATABASE = (
    "remove that database from the connector's table.include.list; if it is the right one, set CDC_SOURCE__DATABASE"
)
_KAFKA = (
    _retry(
        "start the brokers, or check the network; check CDC_KAFKA__BOOTSTRAP_SERVERS if it never worked",
        """kafka.NoBrokersAvailable kafka.KafkaConnectionError kafka.KafkaTimeoutError kafka.NodeNotReadyError
        kafka.Cancelled kafka.MetadataEmptyBrokerList kafka.StaleMetadata kafka.TooManyInFlightRequests
        kafka.KafkaProtocolError kafka.CorrelationIdError kafka.InvalidReceiveError kafka.NetworkExceptionError
        kafka.RequestTimedOutError kafka.BrokerNotAvailableError""",
    ),
    _retry(
        "the cluster elects leaders or loads data; if it lasts, check the brokers",
        """kafka.LeaderNotAvailableError kafka.NotLeaderForPartitionError kafka.ReplicaNotAvailableError
        kafka.CoordinatorLoadInProgressError kafka.CoordinatorNotAvailableError kafka.NotCoordinatorError
        kafka.NotControllerError kafka.NotEnoughReplicasError kafka.NotEnoughReplicasAfterAppendError
        kafka.InvalidReplicationFactorError kafka.KafkaStorageError kafka.ListenerNotFoundError
        kafka.FencedLeaderEpochError kafka.UnknownLeaderEpochError kafka.OffsetNotAvailableError
        kafka.PreferredLeaderNotAvailableError kafka.EligibleLeadersNotAvailableError kafka.ElectionNotNeededError
        kafka.NewLeaderElectedError kafka.UnstableOffsetCommitError kafka.ReassignmentInProgressError
        kafka.ConcurrentTransactionsError kafka.FetchSessionIdNotFoundError kafka.InvalidFetchSessionEpochError
        kafka.FetchSessionTopicIdError kafka.ShareSessionNotFoundError kafka.InvalidShareSessionEpochError
        kafka.InconsistentTopicIdError kafka.UnknownTopicIdError kafka.TopicAlreadyExistsError""",
    ),
    _retry("check the brokers' logs", "kafka.UnknownError"),
    _retry("raise the quota of this client, or wait", "kafka.ThrottlingQuotaExceededError kafka.QuotaViolationError"),
    _retry("the topic does not exist, or not yet: the connector creates it", "kafka.UnknownTopicOrPartitionError"),
    _retry(
        "the record failed its checksum: check the disks of the brokers and the network; if it always fails, set the "
        "group's offset after this record",
        "kafka.CorruptRecordError",
    ),
    _retry(
        "the group rebalanced without this member, which joins again; if it repeats, raise "
        "CDC_KAFKA__SESSION_TIMEOUT_MS, and check for long pauses of the machine",
        """kafka.CommitFailedError kafka.RebalanceInProgressError kafka.IllegalGenerationError
        kafka.UnknownMemberIdError kafka.MemberIdRequiredError kafka.FencedMemberEpochError
        kafka.StaleMemberEpochError kafka.UnjoinedGroupException""",
    ),
    _retry("a group without an offset of a partition starts at its oldest record", "kafka.NoOffsetForPartitionError"),
    _retry(
        "grant this account READ on the group and on the topics, and WRITE and CREATE on the dead letter topic",
        """kafka.AuthorizationError kafka.TopicAuthorizationFailedError kafka.GroupAuthorizationFailedError
        kafka.ClusterAuthorizationFailedError kafka.TransactionalIdAuthorizationFailedError
        kafka.DelegationTokenAuthorizationFailedError""",
        is_setting=True,
    ),
    _retry(
        "wait until the broker has started; if the error stays, use brokers of Kafka 2.1 or later",
        "kafka.IncompatibleBrokerVersion",
    ),
    _retry(
        "set the protocol, login and certificates that the listener requires: CDC_KAFKA__SECURITY__…",
        """kafka.SaslAuthenticationFailedError kafka.UnsupportedSaslMechanismError kafka.IllegalSaslStateError
        kafka.SecurityDisabledError kafka.UnacceptableCredentialError
        kafka.DelegationTokenAuthDisabledError kafka.DelegationTokenNotFoundError
        kafka.DelegationTokenOwnerMismatchError kafka.DelegationTokenRequestNotAllowedError
        kafka.DelegationTokenExpiredError kafka.InvalidPrincipalTypeError
        kafka.PrincipalDeserializationFailureError ssl.SSLError""",
        is_setting=True,
    ),
    _halt(
        "records were deleted before they were read, or the topic was created again: rebuild Redis, then reset the "
        "group's offsets; or set CDC_KAFKA__OUT_OF_RANGE=earliest",
        "kafka.OffsetOutOfRangeError kafka.PositionOutOfRangeError kafka.OffsetMovedToTieredStorageError",
    ),
    _halt(
        "another process uses this CDC_KAFKA__INSTANCE_ID: stop it, or give each process its own",
        "kafka.FencedInstanceIdError kafka.UnreleasedInstanceIdError",
    ),
    _halt(
        f"install the packages for compressed topics: {advice('codecs')}",
        "kafka.UnsupportedCodecError kafka.UnsupportedCompressionTypeError",
        is_setting=True,
        is_package=True,
    ),
    _halt(
        "correct the settings under CDC_KAFKA; the members of a group need the same program and settings",
        """kafka.KafkaConfigurationError kafka.InvalidTopicError kafka.InvalidGroupIdError
        kafka.InconsistentGroupProtocolError kafka.InvalidSessionTimeoutError kafka.GroupMaxSizeReachedError
        kafka.UnsupportedAssignorError kafka.InvalidConfigurationError kafka.InvalidPartitionsError
        kafka.InvalidReplicationAssignmentError kafka.PolicyViolationError""",
        is_setting=True,
    ),
    _halt(
        "use brokers of Kafka 2.1 or later",
        "kafka.UnsupportedVersionError kafka.UnrecognizedBrokerVersion kafka.UnsupportedForMessageFormatError",
        is_setting=True,
    ),
    _dead_letter(
        "the topic refuses this record: raise its max.message.bytes, and check that the topic is not compacted",
        """kafka.MessageSizeTooLargeError kafka.RecordListTooLargeError kafka.RecordTooLargeError
        kafka.InvalidRecordError kafka.InvalidTimestampError""",
    ),
    _halt(
        _REPORT,
        """kafka.KafkaError kafka.BrokerResponseError kafka.NoError kafka.IllegalArgumentError kafka.IllegalStateError
        kafka.InvalidFetchRequestError kafka.InvalidRequestError kafka.InvalidRequiredAcksError
        kafka.OffsetMetadataTooLargeError kafka.InvalidCommitOffsetSizeError kafka.OperationNotAttemptedError
        kafka.NonEmptyGroupError kafka.GroupIdNotFoundError kafka.GroupSubscribedToTopicError
        kafka.TopicDeletionDisabledError kafka.NoReassignmentInProgressError kafka.ResourceNotFoundError
        kafka.DuplicateResourceError kafka.UnknownSubscriptionIdError kafka.TelemetryTooLargeError
        kafka.InvalidRecordStateError""",
    ),
    _halt(
        "the broker no longer knows this producer, or another producer replaced it: start the program again",
        """kafka.OutOfOrderSequenceNumberError kafka.DuplicateSequenceNumberError kafka.InvalidProducerEpochError
        kafka.InvalidTxnStateError kafka.InvalidProducerIdMappingError kafka.InvalidTransactionTimeoutError
        kafka.TransactionCoordinatorFencedError kafka.UnknownProducerIdError kafka.ProducerFencedError
        kafka.TransactionalIdNotFoundError kafka.TransactionAbortedError kafka.TransactionAbortableError""",
    ),
    _halt(
        "a reply that only brokers send each other: check which server listens at CDC_KAFKA__BOOTSTRAP_SERVERS",
        """kafka.StaleControllerEpochError kafka.StaleBrokerEpochError kafka.LogDirNotFoundError
        kafka.InconsistentVoterSetError kafka.InvalidUpdateVersionError kafka.FeatureUpdateFailedError
        kafka.SnapshotNotFoundError kafka.DuplicateBrokerRegistrationError kafka.BrokerIdNotRegisteredError
        kafka.InconsistentClusterIdError kafka.IneligibleReplicaError kafka.MismatchedEndpointTypeError
        kafka.UnsupportedEndpointTypeError kafka.UnknownControllerIdError kafka.InvalidRegistrationError
        kafka.FencedStateEpochError kafka.InvalidVoterKeyError kafka.DuplicateVoterError kafka.VoterNotFoundError""",
    ),
)
_REDIS = (
    _retry(
        "start Redis, or check the network; check CDC_REDIS__URL if it never worked",
        "redis.ConnectionError redis.TimeoutError redis.InvalidResponse redis.MaxConnectionsError",
    ),
    _retry(
        "this machine can't resolve a host name: correct CDC_REDIS__URL; if a cluster node announces the name, "
        "configure another one (cluster-announce-hostname, cluster-announce-ip, cluster-preferred-endpoint-type)",
        "socket.gaierror",
    ),
    _retry("Redis loads its data from disk: wait", "redis.BusyLoadingError redis:LOADING"),
    _retry(
        "restore the password and permissions of the Redis account, or correct CDC_REDIS__URL",
        """redis.AuthenticationError redis.AuthorizationError redis.NoPermissionError redis.ExternalAuthProviderError
        redis.AuthenticationWrongNumberOfArgsError redis:NOAUTH redis:WRONGPASS redis:NOPERM redis:DENIED""",
        is_setting=True,
    ),
    _retry("raise Redis' maxmemory, or correct its maxmemory-policy", "redis.OutOfMemoryError redis:OOM"),
    _retry(
        "the address leads to a replica, or a failover is in progress: set CDC_REDIS__URL to the master",
        "redis.ReadOnlyError redis.MasterDownError redis:READONLY redis:MASTERDOWN",
    ),
    _retry("another client's script runs for a long time: SCRIPT KILL, or wait", "redis:BUSY"),
    _retry("Redis cannot write its data to disk: check its log and the disk", "redis:MISCONF"),
    _retry("too few replicas are connected: start them again", "redis:NOREPLICAS"),
    _retry(
        "the cluster changes or is incomplete: check its nodes",
        """redis.ClusterError redis.ClusterDownError redis.TryAgainError redis.AskError redis.SlotNotCoveredError
        redis:CLUSTERDOWN redis:TRYAGAIN redis:ASK""",
    ),
    _retry("nothing: each attempt loads the script again", "redis.NoScriptError redis:NOSCRIPT"),
    _halt(
        "the server is a cluster node, but CDC_REDIS__URL is for a single server: use redis+cluster://…",
        "redis.MovedError redis.ClusterCrossSlotError redis:MOVED redis:CROSSSLOT",
    ),
    _dead_letter("another program created a key of that name with another type: delete that key", "redis:WRONGTYPE"),
    _dead_letter(
        "the user's stored version can't be read: delete it (HDEL cdc:{…} and the table); a mark of the user stays",
        "redis:GUARD",
    ),
    _retry("a proxy can't reach Redis: check the servers behind the proxy", "redis:UPSTREAM"),
    Rule(
        Action.RETRY_SOME,
        "check the reply: this Redis lacks a command, or a proxy between the program and Redis sent it",
        ("redis.ResponseError", "redis:ERR"),
    ),
    _halt(
        _REPORT,
        """redis.RedisError redis.DataError redis.PubSubError redis.WatchError redis.ExecAbortError redis.ModuleError
        redis.NoSuchFieldsetError redis.LockError redis.LockNotOwnedError redis.ChildDeadlockedError
        redis.RedisClusterException redis.CrossSlotTransactionError redis.InvalidPipelineStack
        redis.IncorrectPolicyType redis:EXECABORT redis:UNKILLABLE redis:NOTBUSY redis:NOPROTO""",
    ),
)
_REGISTRY = (
    _retry(
        "start the registry, or check the network; check CDC_REGISTRY__URL and CDC_REGISTRY__CA if it never worked",
        """httpx.HTTPError httpx.RequestError httpx.TransportError httpx.TimeoutException httpx.ConnectTimeout
        httpx.ReadTimeout httpx.WriteTimeout httpx.PoolTimeout httpx.NetworkError httpx.ConnectError httpx.ReadError
        httpx.WriteError httpx.CloseError httpx.ProxyError httpx.ProtocolError httpx.RemoteProtocolError
        httpx.DecodingError""",
    ),
    _halt(
        "set CDC_REGISTRY__URL to the base URL of Confluent's API, http:// or https://",
        "httpx.InvalidURL httpx.UnsupportedProtocol httpx.TooManyRedirects httpx.HTTPStatusError",
        is_setting=True,
    ),
    _halt(
        _REPORT,
        """httpx.LocalProtocolError httpx.CookieConflict httpx.StreamError httpx.RequestNotRead httpx.ResponseNotRead
        httpx.StreamClosed httpx.StreamConsumed""",
    ),
)
_OWN = (
    _retry("start the server again, or wait", "consumer.ServerUnavailable consumer.UnknownReply"),
    _retry("nothing: the program resumes at the position that the server has", "consumer.Reconnected"),
    _retry("rebuild Redis: cdc-consumer replay --rebuild --yes (CDC_REDIS__WHEN_EMPTIED)", "consumer.Emptied"),
    _dead_letter(
        "see the error's advice",
        """consumer.Refused consumer.RecordError consumer.Undecodable consumer.NotAnEnvelope consumer.UnknownTable
        consumer.MissingColumn consumer.InvalidValue consumer.Unsupported""",
    ),
    _halt(
        "see the error's advice",
        """consumer.CdcError consumer.ServerError consumer.AccessDenied consumer.NotInDatabase consumer.Halt
        consumer.UnreadableStream consumer.RecordsGone""",
    ),
    _halt("correct the setting that the error names", "consumer.ConfigError", is_setting=True),
)
_PYTHON = (
    # Exceptions that the client libraries do not translate: socket errors, failed checks, bugs.
    _retry("check the network to the server", "OSError ConnectionError TimeoutError"),
    _halt(_REPORT, "RuntimeError TypeError ValueError AssertionError Exception"),
)
TABLE = (*_KAFKA, *_REDIS, *_REGISTRY, *_OWN, *_PYTHON)
_RULES: Mapping[str, Rule] = {name: rule for rule in TABLE for name in rule.names}


def rule_for(error: Exception, reply: str = "") -> Rule:
    """The row for an exception, or for the reply that begins with the word ``reply`` if the table lists it."""
    return _RULES[_row_of(error, reply)]


def failure(server: str, error: Exception, problem: str, reply: str = "") -> ServerError:
    """An exception as one of this program's errors, with the table's advice. The error's class gives the action.

    ``problem``: the text after the server's name; it must contain no secret and no row value.
    """
    rule = rule_for(error, reply)
    kinds = {
        Action.RETRY: ServerUnavailable,
        Action.RETRY_SOME: UnknownReply,
        Action.DEAD_LETTER: Refused,
        Action.HALT: ServerError,
    }
    cause = re.split(r"[.:]", _row_of(error, reply))[-1]
    return kinds[rule.action](server, problem, rule.advice, cause)


def name_of(kind: type) -> str:
    """The name of a class as the table has it."""
    package = _package(kind)
    return kind.__name__ if package == "builtins" else f"{package}.{kind.__name__}"


def _row_of(error: Exception, reply: str) -> str:
    """The table's name for a failure: the reply's, else the class's, else the nearest parent's."""
    if (named := f"{_package(type(error))}:{reply}") in _RULES:
        return named
    return next(name for kind in type(error).__mro__ if (name := name_of(kind)) in _RULES)


def _package(kind: type) -> str:
    return kind.__module__.partition(".")[0]
