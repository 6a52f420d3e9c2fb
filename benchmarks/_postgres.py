"""A Postgres of one's own, in a temporary folder, for as long as it is needed."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["NoPostgres", "Postgres", "private_postgres"]


class NoPostgres(Exception):
    """Postgres is not installed, or cannot be started here."""


class Postgres:
    """A server on a Unix socket; `url` is SQLAlchemy's."""

    def __init__(self, folder: Path, as_user: Callable[[], None] | None) -> None:
        self._folder = folder
        self._as_user = as_user
        self.url = self._url("postgres")
        self._databases = 0

    def make(self) -> None:
        """Makes the database's files."""
        self._run("initdb", "-D", f"{self._folder}/data", "-U", "pi", "-A", "trust", "-E", "UTF8", "--no-sync")
        with Path(f"{self._folder}/data/postgresql.conf").open("a") as settings:
            settings.write(
                f"listen_addresses = ''\nunix_socket_directories = '{self._folder}'\nmax_connections = 200\n"
            )

    def start(self) -> None:
        """Starts the server, and waits until it answers."""
        self._run("pg_ctl", "-D", f"{self._folder}/data", "-l", f"{self._folder}/log", "-w", "-t", "30", "start")

    def stop(self, how: str = "fast") -> None:
        """Stops the server: `fast` ends its sessions, `immediate` is as good as pulling the plug."""
        self._run("pg_ctl", "-D", f"{self._folder}/data", "-w", "-m", how, "stop")

    def new_database(self) -> str:
        """The URL of a new, empty database."""
        self._databases += 1
        name = f"pi{self._databases}"
        self._run("createdb", "-h", str(self._folder), "-U", "pi", name)
        return self._url(name)

    def _url(self, name: str) -> str:
        return f"postgresql://pi@/{name}?host={self._folder}"

    def _run(self, program: str, *arguments: str) -> None:
        found = _program(program)
        done = subprocess.run(
            [found, *arguments],
            preexec_fn=self._as_user,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            raise NoPostgres(f"{program} failed: {done.stderr.strip()[-300:]}")


@contextmanager
def private_postgres() -> Iterator[Postgres]:
    """A running server, gone with its files afterwards.

    Raises:
        NoPostgres: with the reason, where there is none.
    """
    folder = Path(tempfile.mkdtemp(prefix="pi-pg-", dir="/tmp"))
    try:
        server = Postgres(folder, _not_as_root(folder))
        server.make()
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _not_as_root(folder: Path) -> Callable[[], None] | None:
    """Postgres refuses to run as root: it becomes somebody who owns the folder."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        os.chown(folder, user.pw_uid, user.pw_gid)

        def become(user: pwd.struct_passwd = user) -> None:
            os.setgroups([])
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)

        return become
    raise NoPostgres("there is no user but root to run Postgres as")


def _program(name: str) -> str:
    if found := shutil.which(name):
        return found
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    if not installed:
        raise NoPostgres(f"{name} is not installed")
    return str(installed[-1])
