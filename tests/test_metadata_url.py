"""Where metadata lies: URLs taken apart, and no password in what is written down."""

import logging

import pytest

from components.metadata.url import is_mysql, parse_mysql, password_of, without_password
from pipeline.terminal import Hiding
from trainer_module.errors import InputError


def test_a_url_names_user_password_host_port_and_database():
    server = parse_mysql("mysql://me:p%40ss%2Fword@db.example:3307/simclr")
    assert (server.user, server.password, server.host, server.port, server.database) == (
        "me",
        "p@ss/word",
        "db.example",
        3307,
        "simclr",
    )
    assert "p@ss/word" not in repr(server)


def test_a_server_on_this_machine_is_reached_by_its_socket():
    assert (
        parse_mysql("mysql://me@localhost/simclr?socket=/run/mysqld.sock").socket
        == "/run/mysqld.sock"
    )


def test_the_password_may_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("MYSQL_PWD", "secret")
    assert password_of("mysql://me@host/simclr") == "secret"
    assert password_of("mysql://me:other@host/simclr") == "other"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("mysql://host/simclr", "user missing"),
        ("mysql://me:secret@host", "database missing"),
        ("mysql://me:secret@host:port/simclr", "the port is no number"),
        ("mysql://me:secret@host/a/b", "the database's name has a slash"),
    ],
)
def test_a_malformed_url_is_told_with_the_form_wanted_and_without_the_password(url, reason):
    with pytest.raises(InputError, match=reason) as caught:
        parse_mysql(url)
    assert "mysql://user:password@host:port/database" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_another_kind_of_url_is_no_file_name():
    with pytest.raises(InputError, match="must be mysql://"):
        is_mysql("redis://host/simclr")


def test_postgresql_is_refused_with_the_reason():
    with pytest.raises(InputError, match=r"must be mysql://.*; .*PostgreSQL refuses.* Received: "):
        is_mysql("postgresql://me:secret@host/simclr")


def test_what_is_written_down_has_no_password():
    assert (
        without_password("mysql://me:a:b@c@host:3307/simclr?socket=x")
        == "mysql://me@host:3307/simclr?socket=x"
    )
    assert without_password("runs/demo/metadata.sqlite") == "runs/demo/metadata.sqlite"


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        ("--metadata=mysql://me:se@c/r:et@host/base", "--metadata=mysql://me@host/base"),
        ("metadata=mysql://:secret@host/base", "metadata=mysql://@host/base"),
        ("--metadata=postgres://me:secret@host/base", "--metadata=postgres://me@host/base"),
        ("--metadata=mysql://me@host:3307/base", "--metadata=mysql://me@host:3307/base"),
        ("--images=s3://bucket/12:00/a@b", "--images=s3://bucket/12:00/a@b"),
        ("--images=photos/12:00/a@b", "--images=photos/12:00/a@b"),
    ],
)
def test_a_flag_that_is_written_down_loses_its_password_and_nothing_else(flag, told):
    assert without_password(flag) == told


@pytest.mark.parametrize("secret", ["secret", 'quo"te', "back\\slash", "zürich"])
def test_a_log_record_loses_the_password_in_protobufs_spelling_too(secret):
    from ml_metadata.proto.metadata_store_pb2 import MySQLDatabaseConfig

    record = logging.LogRecord(
        "absl",
        logging.INFO,
        "file",
        1,
        "Using %s",
        (MySQLDatabaseConfig(password=secret, user="me"),),
        None,
    )
    assert Hiding(secret).filter(record)
    assert record.getMessage().split() == ["Using", "user:", '"me"', "password:", '"***"']


def test_a_record_without_the_password_is_left_alone():
    record = logging.LogRecord(
        "absl", logging.INFO, "file", 1, "Component %s is running.", ("Pusher",), None
    )
    assert Hiding("secret").filter(record) and record.args == ("Pusher",)
    assert Hiding("").filter(record) and record.args == ("Pusher",)


@pytest.mark.parametrize(
    "url", ["postgres://u:secret@h/d", "https://secret@h", "x://a:secret@b@c/d"]
)
def test_a_url_of_another_kind_is_refused_without_its_password(url):
    with pytest.raises(InputError) as told:
        parse_mysql(url)
    assert "secret" not in str(told.value)
