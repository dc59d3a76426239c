"""Where metadata lies: a SQLite file, or `mysql://user:password@host:port/database` for MySQL and
MariaDB.

A password is better given in the environment, as MYSQL_PWD: command lines are seen by everyone on
the machine. Standard library alone, so that a wrong URL is told at once.
"""

import os
import re
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from trainer_module.errors import InputError

SQLITE_FILE = "metadata.sqlite"  # in a pipeline root
PREFIX = "mysql://"
FORM = "mysql://user:password@host:port/database"
PORT = 3306
POSTGRES = "; ML Metadata writes SQL that PostgreSQL refuses, from the first execution on"
PASSWORD_VARIABLE = "MYSQL_PWD"
# Of ours it may hold @ and / as they are; of other URLs, whose paths may, it ends before a slash.
PASSWORD = re.compile(rf"({PREFIX}[^:]*):.*@|(://[^/:@]*):[^/]*@", re.DOTALL)


@dataclass(frozen=True)
class Server:
    """A database on a MySQL server.

    `socket` is a file on this machine, used instead of host and port where given.
    """

    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)
    socket: str = ""


def is_mysql(metadata: str) -> bool:
    """Tells whether metadata lies on a MySQL server, not in a SQLite file.

    Raises:
      InputError: if it is a URL of another kind.
    """
    if "://" in metadata and not metadata.startswith(PREFIX):
        scheme, _, rest = metadata.partition("://")
        place = rest.rpartition("@")[2]  # what stands before it may be a secret
        why = POSTGRES if scheme.startswith("postgres") else ""
        raise InputError(f"`--metadata` must be {FORM}{why}. Received: {scheme}://...{place}")
    return metadata.startswith(PREFIX)


def parse_mysql(url: str) -> Server:
    """Takes a URL apart; `%40` and the like stand for reserved characters, `?socket=FILE` is for a
    server on this machine.

    Raises:
      InputError: naming the part that is missing or wrong.
    """
    is_mysql(url)
    try:
        parts = urlsplit(url)
        port = parts.port or PORT
    except ValueError as error:
        raise InputError(
            f"`--metadata` must be {FORM}; the port is no number from 1 to "
            f"65535, or the host none. Received: {without_password(url)}"
        ) from error
    database = unquote(parts.path.strip("/"))
    missing = [
        name
        for name, value in (
            ("user", parts.username),
            ("host", parts.hostname),
            ("database", database),
        )
        if not value
    ]
    if missing or "/" in database:
        reason = (
            f"{' and '.join(missing)} missing" if missing else "the database's name has a slash"
        )
        raise InputError(
            f"`--metadata` must be {FORM}; {reason}. Received: {without_password(url)}"
        )
    password = (
        os.environ.get(PASSWORD_VARIABLE, "") if parts.password is None else unquote(parts.password)
    )
    socket = parse_qs(parts.query).get("socket", [""])[0]
    return Server(parts.hostname, port, database, unquote(parts.username), password, socket)


def without_password(text: str) -> str:
    """Returns a place, or a flag that names one, fit for logs and records."""
    return PASSWORD.sub(r"\1\2@", text)


def password_of(metadata: str) -> str:
    """Returns the password that a log must not show, '' if there is none."""
    return parse_mysql(metadata).password if is_mysql(metadata) else ""
