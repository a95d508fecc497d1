"""The guard's rule in random histories: none makes it lose a change, go back or tell twice."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import GuardMachine, LineageMachine
from tests.model.world import Kind

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "150"))
_HOW = settings(
    max_examples=EXAMPLES,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    database=None,
)


def test_no_history_makes_the_guard_lose_a_change_go_back_or_tell_twice() -> None:
    run_state_machine_as_test(GuardMachine, settings=_HOW)


def test_the_model_finds_what_was_wrong_with_comparing_places_of_servers() -> None:
    quick = settings(_HOW, phases=(Phase.generate,))
    with pytest.raises(AssertionError):
        run_state_machine_as_test(LineageMachine, settings=quick)


def deleted_and_back_in_a_new_topic() -> GuardMachine:
    """User 0 was deleted before the topic was made anew, and is back. After a failover both are sent again."""
    history = GuardMachine()
    history.begin(kind=Kind.MYSQL, is_counted=False, partitions=1)
    for value in (1, None):
        history.commit(writer=0, values=[(0, value)], took_s=0, is_compressed=False)
    history._follow()
    history.make_topic_anew()
    history.commit(writer=0, values=[(0, 1)], took_s=0, is_compressed=False)
    history._follow()
    history.failover(resent=2)
    return history


def test_found_by_the_model_redis_loses_what_came_after() -> None:
    history = deleted_and_back_in_a_new_topic()
    history._follow()
    history.redis_loses_what_came_after()
    history.teardown()


def test_a_restart_behind_the_old_change() -> None:
    history = deleted_and_back_in_a_new_topic()
    history.send(count=1)
    history.poll(partition=0, count=1)
    history.apply()
    history.kill(applied=0)
    history.teardown()


@pytest.mark.parametrize("killed", [False, True], ids=["goes on", "another member"])
def test_a_member_of_group_replication_has_higher_numbers_for_an_older_change(killed: bool) -> None:
    """Found by the model: the old change counted as the newest, so the copy of the delete after it was refused."""
    history = GuardMachine()
    history.begin(kind=Kind.GROUP, is_counted=False, partitions=1)
    history.commit(writer=1, values=[(0, 1)], took_s=0, is_compressed=False)
    history._follow()
    history.make_topic_anew()
    history.commit(writer=0, values=[(0, None)], took_s=0, is_compressed=False)
    history._follow()
    history.failover(resent=0)
    history.send_again(transactions=1)
    if killed:
        history.send(count=1)
        history.poll(partition=0, count=1)
        history.apply()
        history.kill(applied=0)
    history.teardown()


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("is_counted", [False, True], ids=["uncounted", "counted"])
def test_a_partition_is_added_within_a_transaction_and_a_member_restarts_between_two_copies(
    kind: Kind, is_counted: bool
) -> None:
    """The first row lies in the new partition for the first time, behind the second one: it is doubtful."""
    history = GuardMachine()
    history.begin(kind=kind, is_counted=is_counted, partitions=1)
    history.commit(writer=0, values=[(1, 1), (1, 2)], took_s=0, is_compressed=False)
    history.interrupt(sent=1, transactions=0, noted=1)
    history.poll(partition=0, count=9)
    history.apply()
    history.add_partition()
    history._follow()
    history.send_again(transactions=1)
    history.interrupt(sent=1, transactions=0, noted=1)
    history.poll(partition=1, count=9)
    history.apply()
    history.kill(applied=0)
    history.teardown()


@pytest.mark.parametrize("kind", [Kind.MYSQL, Kind.GROUP])
def test_a_transaction_that_brings_a_row_back_is_sent_again_from_a_later_file_of_another_server(kind: Kind) -> None:
    """Found by the model: each copy fits the row's latest image, and its place is higher."""
    history = GuardMachine()
    history.begin(kind=kind, is_counted=True, partitions=1)
    history.rotate_log(files=1, server=1)
    history.commit(writer=0, values=[(0, 1), (0, None)], took_s=0, is_compressed=False)
    history._follow()
    history.failover(resent=1)
    history.teardown()


def test_two_members_of_group_replication_change_a_user_within_the_difference_of_clocks() -> None:
    """Found by the model: an insert, a delete by the other member, and an insert; copies of the last two come first
    into a partition that was added since. The delete has the higher number of the group, and no lower time.
    """
    history = GuardMachine()
    history.begin(kind=Kind.GROUP, is_counted=False, partitions=2)
    history.add_partition()
    history.clocks_are_set(clocks=[0, 1, 0])
    history.make_topic_anew()
    history.commit(writer=0, values=[(2, 1)], took_s=0, is_compressed=False)
    history.commit(writer=1, values=[(2, None)], took_s=0, is_compressed=False)
    history.failover(resent=0)
    history.commit(writer=0, values=[(2, 1)], took_s=0, is_compressed=False)
    history.add_partition()
    history.refresh(user=0)
    history.send_again(transactions=1)
    history.send_again(transactions=1)
    history.teardown()


def insert_and_delete_sent_again_in_part() -> GuardMachine:
    """One transaction inserts and deletes a user. Its first row is sent again, and then all of it from another server.

    The rows have no places of their own and are not counted, so the copy of the insert counts as a further row.
    """
    history = GuardMachine()
    history.begin(kind=Kind.MYSQL, is_counted=False, partitions=1)
    history.rotate_log(files=1, server=0)
    history.commit(writer=0, values=[(0, 1), (0, None)], took_s=0, is_compressed=True)
    history._follow()
    history.send_again(transactions=1)
    history.interrupt(sent=1, transactions=0, noted=1)
    history.failover(resent=0)
    return history


def test_the_copy_of_a_delete_is_applied_after_an_insert_that_may_be_a_copy() -> None:
    insert_and_delete_sent_again_in_part().teardown()


def test_so_does_a_member_that_starts_behind_that_insert() -> None:
    history = insert_and_delete_sent_again_in_part()
    history.poll(partition=0, count=1)
    history.apply()
    history.kill(applied=0)
    history.teardown()
