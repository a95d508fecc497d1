"""What follows from a failure: try again, refuse one record or plan, or stop; and what an operator can do.

One table for every exception of the Kafka client, of redis-py and of the registry's client, for Redis' error replies,
and for this program's own errors. Rows are names, so nothing of those libraries is imported: ``kafka.Cancelled`` is a
class of that name anywhere in the package ``kafka``, ``redis:OOM`` a reply that begins with that word, and a name alone
is one of Python's own. A class without a row has that of its nearest parent.
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

    ``is_setting``: at the start, when the server has never accepted us, it is a wrong setting and ends the program with
    exit code 2; later it is a change at the server, and waited out if ``action`` says so.
    """

    action: Action
    advice: str
    names: tuple[str, ...]
    is_setting: bool = False


def _retry(advice: str, names: str, *, is_setting: bool = False) -> Rule:
    return Rule(Action.RETRY, advice, tuple(names.split()), is_setting)


def _dead_letter(advice: str, names: str) -> Rule:
    return Rule(Action.DEAD_LETTER, advice, tuple(names.split()))


def _halt(advice: str, names: str, *, is_setting: bool = False) -> Rule:
    return Rule(Action.HALT, advice, tuple(names.split()), is_setting)


_REPORT = "a mistake in this program or in a library of it: start it again, and report the line"
_KAFKA = (
    _retry(
        "start the brokers, or look at the network between; CDC_KAFKA__BOOTSTRAP_SERVERS if it never worked",
        """kafka.NoBrokersAvailable kafka.KafkaConnectionError kafka.KafkaTimeoutError kafka.NodeNotReadyError
        kafka.Cancelled kafka.MetadataEmptyBrokerList kafka.StaleMetadata kafka.TooManyInFlightRequests
        kafka.KafkaProtocolError kafka.CorrelationIdError kafka.InvalidReceiveError kafka.NetworkExceptionError
        kafka.RequestTimedOutError kafka.BrokerNotAvailableError""",
    ),
    _retry(
        "the cluster is changing leaders or loading; if it lasts, look at the brokers",
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
    _retry("look at the brokers' logs", "kafka.UnknownError"),
    _retry("raise the quota of this client, or wait", "kafka.ThrottlingQuotaExceededError kafka.QuotaViolationError"),
    _retry("the topic was deleted, or is being made: let the connector make it", "kafka.UnknownTopicOrPartitionError"),
    _retry(
        "the record failed its checksum: look at the disks of the brokers and at the network; if it never passes, set "
        "the group's offset past it",
        "kafka.CorruptRecordError",
    ),
    _retry(
        "the group moved on without this member, which joins again; if it repeats, raise "
        "CDC_KAFKA__SESSION_TIMEOUT_MS, and look for long pauses of the machine",
        """kafka.CommitFailedError kafka.RebalanceInProgressError kafka.IllegalGenerationError
        kafka.UnknownMemberIdError kafka.MemberIdRequiredError kafka.FencedMemberEpochError
        kafka.StaleMemberEpochError kafka.UnjoinedGroupException""",
    ),
    _retry("a group's first time on a partition: it begins at the oldest record", "kafka.NoOffsetForPartitionError"),
    _retry(
        "allow this account READ on the group and on the topics, and WRITE and CREATE on the dead letter topic",
        """kafka.AuthorizationError kafka.TopicAuthorizationFailedError kafka.GroupAuthorizationFailedError
        kafka.ClusterAuthorizationFailedError kafka.TransactionalIdAuthorizationFailedError
        kafka.DelegationTokenAuthorizationFailedError""",
        is_setting=True,
    ),
    _retry(
        "the protocol, credentials and certificates that the listener asks for: CDC_KAFKA__SECURITY__…",
        """kafka.SaslAuthenticationFailedError kafka.UnsupportedSaslMechanismError kafka.IllegalSaslStateError
        kafka.SecurityDisabledError kafka.UnacceptableCredentialError kafka.IncompatibleBrokerVersion
        kafka.DelegationTokenAuthDisabledError kafka.DelegationTokenNotFoundError
        kafka.DelegationTokenOwnerMismatchError kafka.DelegationTokenRequestNotAllowedError
        kafka.DelegationTokenExpiredError kafka.InvalidPrincipalTypeError
        kafka.PrincipalDeserializationFailureError ssl.SSLError""",
        is_setting=True,
    ),
    _halt(
        "records were deleted before they were read, or the topic was made anew: rebuild Redis, then reset the group's "
        "offsets; or set CDC_KAFKA__OUT_OF_RANGE=earliest",
        "kafka.OffsetOutOfRangeError kafka.PositionOutOfRangeError kafka.OffsetMovedToTieredStorageError",
    ),
    _halt(
        "another process runs under this CDC_KAFKA__INSTANCE_ID: end it, or give each its own",
        "kafka.FencedInstanceIdError kafka.UnreleasedInstanceIdError",
    ),
    _halt(
        f"install the packages of compressed topics: {advice('codecs')}",
        "kafka.UnsupportedCodecError kafka.UnsupportedCompressionTypeError",
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
        "a broker of Kafka 2.1 or later is needed",
        "kafka.UnsupportedVersionError kafka.UnrecognizedBrokerVersion kafka.UnsupportedForMessageFormatError",
        is_setting=True,
    ),
    _dead_letter(
        "the topic does not take this record: raise its max.message.bytes, and see that it is not compacted",
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
        "the broker has forgotten this producer, or gave its place away: start the program again",
        """kafka.OutOfOrderSequenceNumberError kafka.DuplicateSequenceNumberError kafka.InvalidProducerEpochError
        kafka.InvalidTxnStateError kafka.InvalidProducerIdMappingError kafka.InvalidTransactionTimeoutError
        kafka.TransactionCoordinatorFencedError kafka.UnknownProducerIdError kafka.ProducerFencedError
        kafka.TransactionalIdNotFoundError kafka.TransactionAbortedError kafka.TransactionAbortableError""",
    ),
    _halt(
        "an answer that brokers give each other, not clients: look at what listens at CDC_KAFKA__BOOTSTRAP_SERVERS",
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
        "start Redis, or look at the network between; CDC_REDIS__URL if it never worked",
        "redis.ConnectionError redis.TimeoutError redis.InvalidResponse redis.MaxConnectionsError",
    ),
    _retry(
        "a host name that this machine can't resolve: correct CDC_REDIS__URL; if a cluster's node calls itself so, let "
        "it tell another one (cluster-announce-hostname, cluster-announce-ip, cluster-preferred-endpoint-type)",
        "socket.gaierror",
    ),
    _retry("Redis reads its data from disk: wait", "redis.BusyLoadingError redis:LOADING"),
    _retry(
        "give the Redis account its password and permissions back, or correct CDC_REDIS__URL",
        """redis.AuthenticationError redis.AuthorizationError redis.NoPermissionError redis.ExternalAuthProviderError
        redis.AuthenticationWrongNumberOfArgsError redis:NOAUTH redis:WRONGPASS redis:NOPERM redis:DENIED""",
        is_setting=True,
    ),
    _retry("give Redis memory, or correct its eviction policy", "redis.OutOfMemoryError redis:OOM"),
    _retry(
        "the address leads to a replica, or a failover is under way: point CDC_REDIS__URL at the master",
        "redis.ReadOnlyError redis.MasterDownError redis:READONLY redis:MASTERDOWN",
    ),
    _retry("a script of somebody else runs for long: SCRIPT KILL, or wait", "redis:BUSY"),
    _retry("Redis cannot write its data to disk: look at its log and at the disk", "redis:MISCONF"),
    _retry("too few replicas are connected: bring them back", "redis:NOREPLICAS"),
    _retry(
        "the cluster is changing or incomplete: look at its nodes",
        """redis.ClusterError redis.ClusterDownError redis.TryAgainError redis.AskError redis.SlotNotCoveredError
        redis:CLUSTERDOWN redis:TRYAGAIN redis:ASK""",
    ),
    _retry("the script is loaded again with each attempt", "redis.NoScriptError redis:NOSCRIPT"),
    _halt(
        "the server is a node of a cluster, and CDC_REDIS__URL is that of a single server: redis+cluster://…",
        "redis.MovedError redis.ClusterCrossSlotError redis:MOVED redis:CROSSSLOT",
    ),
    _dead_letter("another program made a key of that name with another type: remove that key", "redis:WRONGTYPE"),
    _dead_letter(
        "the user's version is unreadable: remove it (HDEL cdc:{…} and the table); a mark beside it stays",
        "redis:GUARD",
    ),
    _retry("a proxy reaches no Redis: look at the servers behind it", "redis:UPSTREAM"),
    Rule(
        Action.RETRY_SOME,
        "look at the reply: a Redis that lacks a command, or something between here and Redis",
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
        "start the registry, or look at the network between; CDC_REGISTRY__URL and CDC_REGISTRY__CA if it never worked",
        """httpx.HTTPError httpx.RequestError httpx.TransportError httpx.TimeoutException httpx.ConnectTimeout
        httpx.ReadTimeout httpx.WriteTimeout httpx.PoolTimeout httpx.NetworkError httpx.ConnectError httpx.ReadError
        httpx.WriteError httpx.CloseError httpx.ProxyError httpx.ProtocolError httpx.RemoteProtocolError
        httpx.DecodingError""",
    ),
    _halt(
        "CDC_REGISTRY__URL should be the base of Confluent's API, http:// or https://",
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
    _retry("bring the server back, or wait", "consumer.ServerUnavailable consumer.UnknownReply"),
    _retry("nothing: the program goes on where the server says it is", "consumer.Reconnected"),
    _retry("rebuild Redis: cdc-consumer replay --rebuild --yes (CDC_REDIS__WHEN_EMPTIED)", "consumer.Emptied"),
    _dead_letter(
        "the error's own advice",
        """consumer.Refused consumer.RecordError consumer.Undecodable consumer.NotAnEnvelope consumer.UnknownTable
        consumer.MissingColumn consumer.InvalidValue consumer.Unsupported""",
    ),
    _halt(
        "the error's own advice",
        "consumer.CdcError consumer.ServerError consumer.AccessDenied consumer.NotInDatabase consumer.Halt",
    ),
    _halt("the setting that the error names", "consumer.ConfigError", is_setting=True),
)
_PYTHON = (
    # What the clients let out: a socket's errors, and their own mistakes and checks.
    _retry("look at the network to the server", "OSError ConnectionError TimeoutError"),
    _halt(_REPORT, "RuntimeError TypeError ValueError AssertionError Exception"),
)
TABLE = (*_KAFKA, *_REDIS, *_REGISTRY, *_OWN, *_PYTHON)
_RULES: Mapping[str, Rule] = {name: rule for rule in TABLE for name in rule.names}


def rule_for(error: Exception, reply: str = "") -> Rule:
    """The row of an exception, or of the reply that begins with the word ``reply``, if there is one."""
    return _RULES[_row_of(error, reply)]


def failure(server: str, error: Exception, problem: str, reply: str = "") -> ServerError:
    """An exception as this program's own, with the table's advice: its class says what follows.

    ``problem`` is what people read after the server's name: neither a secret nor a row value.
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
    """The name of a class in the table."""
    package = _package(kind)
    return kind.__name__ if package == "builtins" else f"{package}.{kind.__name__}"


def _row_of(error: Exception, reply: str) -> str:
    """The name under which the table knows a failure: the reply's, else the class's or that of its nearest parent."""
    if (named := f"{_package(type(error))}:{reply}") in _RULES:
        return named
    return next(name for kind in type(error).__mro__ if (name := name_of(kind)) in _RULES)


def _package(kind: type) -> str:
    return kind.__module__.partition(".")[0]
