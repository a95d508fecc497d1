"""Runs one command and ends it when the process that asked for it is gone, however it went.

A ``kill -9`` of the stack runs no cleanup, so the cleanup has to live in another process: this one.
It holds the read end of a pipe whose write end only the stack has; the kernel closes that end with
the stack. PR_SET_PDEATHSIG alone would not do for the servers, because it fires when the *thread*
that forked ends, and servers are started from short-lived threads. Here it covers the other side:
the command dies if this guard is killed.

Run as a plain file in isolated mode and with the standard library only, so that it starts in
milliseconds and nothing beside it can shadow a module.

    guard.py [--account UID:GID] [--remove DIRECTORY] -- COMMAND...

stdin: the pipe; stdout: one line, the command's pid; stderr: the log of the command.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import pathlib
import select
import shutil
import signal
import subprocess
import sys

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PARENT_CHECK_S = 1.0  # the pipe tells at once; this is for a write end that a fork kept open


def main() -> int:
    arguments = _arguments()
    parent = os.getppid()
    uid, gid = (int(part) for part in arguments.account.split(":")) if arguments.account else (None, None)
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)  # what the command leaves behind becomes a child of the guard
    child = subprocess.Popen(
        arguments.command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        stderr=sys.stderr.fileno(),
        start_new_session=True,
        user=uid,
        group=gid,
        extra_groups=[] if uid is not None else None,
        # After the change of user, which would clear it. No threads here, so a preexec_fn is safe.
        preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),  # noqa: PLW1509
    )
    print(child.pid, flush=True)
    sys.stdout.close()
    orphaned = _wait(child, parent)
    _sweep(child)
    if orphaned and arguments.remove:
        shutil.rmtree(arguments.remove, ignore_errors=True)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--account", default="")
    parser.add_argument("--remove", default="")
    parser.add_argument("command", nargs="+")
    return parser.parse_args()


def _wait(child: subprocess.Popen[bytes], parent: int) -> bool:
    """Block until the command ended (False) or the stack is gone (True)."""
    ended = os.pidfd_open(child.pid)
    while True:
        ready, _, _ = select.select([0, ended], [], [], PARENT_CHECK_S)
        if ended in ready:
            return False
        if 0 in ready or os.getppid() != parent:
            return True


def _sweep(child: subprocess.Popen[bytes]) -> None:
    """End the command and whatever it left (PostgreSQL's processes have groups of their own), and reap it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    children = pathlib.Path(f"/proc/self/task/{os.getpid()}/children")
    while orphans := children.read_text().split():
        for orphan in orphans:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(int(orphan), signal.SIGKILL)
                os.waitpid(int(orphan), 0)


if __name__ == "__main__":
    sys.exit(main())
