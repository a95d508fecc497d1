"""Copies of a PostgreSQL server: a base backup, a server restored from one, a standby that can be promoted."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from tests.support.stack import postgres
from tests.support.stack.native import Place
from tests.support.stack.postgres import Postgres

# Files of a running server that a copy must not have.
LEFT_OUT = shutil.ignore_patterns("pg_wal", "pg_replslot", "postmaster.pid", "postmaster.opts")
STANDBY_SLOT = "standby"
WITHIN_S = 60.0
EVERY_S = 0.05


def base_backup(place: Place, source: Postgres, label: str) -> Path:
    """Copy the data directory of a running server, with the log that makes it whole; it has no replication slots.

    The binaries that the tests have come without ``pg_basebackup``.
    """
    copy = place.directory(label, place.account) / "backup"
    with source.connect() as connection:
        ((data,),) = connection.execute("SHOW data_directory").fetchall()
        connection.execute("SELECT pg_backup_start('copy', fast => true)")
        shutil.copytree(data, copy, ignore=LEFT_OUT)
        ((backup_label,),) = connection.execute("SELECT labelfile FROM pg_backup_stop(false)").fetchall()
    (copy / "backup_label").write_text(backup_label)
    shutil.copytree(Path(data) / "pg_wal", copy / "pg_wal")
    (copy / "pg_replslot").mkdir()
    if place.account:
        for path in (copy, *copy.rglob("*")):
            os.chown(path, place.account.uid, place.account.gid)
    copy.chmod(0o700)
    return copy


def restored(place: Place, backup: Path, source: Postgres, label: str) -> Postgres:
    """A server that goes on from a backup of ``source``, not started yet: its log repeats the places after it."""
    return postgres.native(place, label=label, backup=backup, logins=source.logins)


class WithStandby:
    """A primary and a physical standby, which keeps logical slots for failover if the connector makes such."""

    def __init__(self, place: Place, label: str) -> None:
        """``label`` begins the names of folders and logs."""
        self._place = place
        self._label = label
        # Nothing is sent to a logical slot that the standby does not have yet.
        self.primary = postgres.native(place, {"synchronized_standby_slots": STANDBY_SLOT}, label=f"{label}-first")
        self.standby: Postgres

    def start(self) -> None:
        self.primary.start()
        with self.primary.connect() as connection:
            connection.execute("SELECT pg_create_physical_replication_slot(%s, true)", (STANDBY_SLOT,))
        backup = base_backup(self._place, self.primary, f"{self._label}-second")
        admin = self.primary.logins.admin
        source = f"host={self.primary.host} port={self.primary.port} user={admin.user} password={admin.password}"
        settings = {
            "primary_conninfo": f"'{source} dbname={self.primary.database}'",
            "primary_slot_name": STANDBY_SLOT,
            "hot_standby_feedback": "on",
            "wal_receiver_status_interval": "1s",
        }
        lines = "".join(f"{name} = {value}\n" for name, value in settings.items())
        with (backup / "postgresql.auto.conf").open("a") as file:
            file.write(lines)
        (backup / "standby.signal").touch()
        self.standby = restored(self._place, backup, self.primary, f"{self._label}-second")
        self.standby.start()

    def close(self) -> None:
        for server in (self.primary, self.standby):
            server.kill()

    def wait_for_slot(self, name: str) -> None:
        """Return once the standby could go on with this logical slot after a promotion."""
        query = "SELECT 1 FROM pg_replication_slots WHERE slot_name = %s AND synced AND NOT temporary"
        deadline = time.monotonic() + WITHIN_S
        with self.primary.connect() as primary, self.standby.connect() as standby:
            while not standby.execute(query, (name,)).fetchall():
                assert time.monotonic() < deadline, f"the standby does not get the slot {name}"
                # It is kept once the primary's slot needs nothing from before the copy; only such a record moves it.
                primary.execute("SELECT pg_log_standby_snapshot()")
                time.sleep(EVERY_S)

    def sync_slots(self, *, is_on: bool) -> None:
        """Let the standby keep up with the primary's logical slots, or leave them where they are.

        A worker does it, which looks twice a second at first, and every 30 seconds after it had nothing to do for long.
        """
        with self.standby.connect() as connection:
            connection.execute(f"ALTER SYSTEM SET sync_replication_slots = {'on' if is_on else 'off'}")
            connection.execute("SELECT pg_reload_conf()")

    def catch_up(self) -> None:
        """Return once the standby has all that the primary has written."""
        with self.primary.connect() as connection:
            ((written,),) = connection.execute("SELECT pg_current_wal_lsn()::text").fetchall()
        deadline = time.monotonic() + WITHIN_S
        with self.standby.connect() as connection:
            while not connection.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", (written,)).fetchall()[0][0]:
                assert time.monotonic() < deadline, "the standby does not catch up"
                time.sleep(EVERY_S)

    def fail_over(self) -> Postgres:
        """Kill the primary and promote the standby, which has all that was committed; the answer is the new primary."""
        self.catch_up()
        self.primary.kill()
        with self.standby.connect() as connection:
            ((is_promoted,),) = connection.execute("SELECT pg_promote(true)").fetchall()
        assert is_promoted
        return self.standby
