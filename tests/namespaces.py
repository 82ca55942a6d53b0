"""Hosts of their own on this machine: network namespaces, joined by one switch.

Each host has an address in a network that exists nowhere else, and reaches the others only.  They
take root, Debian's iproute2 and nftables to make, and are gone afterwards.
"""

import contextlib
import ctypes
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")

NETWORK = "10.77.0."
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_NO_INBOUND = """
table inet fleet {
  chain inbound {
    type filter hook input priority 0; policy drop;
    iif lo accept
    ct state established,related accept
    icmp type echo-request accept
  }
}
"""


def missing() -> str:
    """Say why no hosts can be made here; empty if they can."""
    if os.geteuid() != 0:
        return "needs root, to make network namespaces"
    for command, package in (("ip", "iproute2"), ("nft", "nftables")):
        if shutil.which(command) is None:
            return f"needs {command} (Debian package {package})"
    name = f"fleet{os.getpid()}-try"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
    if tried.returncode:
        return f"no network namespace can be made: {tried.stderr.decode().strip()}"
    _ip("netns", "del", name)
    return ""


class Host:
    """One host; ``address`` is where the others find it."""

    def __init__(self, name: str, number: int) -> None:
        self.namespace = f"fleet{os.getpid()}-{name}"
        self.address = f"{NETWORK}{number}"

    def command(self, argv: Sequence[str]) -> tuple[str, ...]:
        """Give the command that runs ``argv`` on this host."""
        return ("ip", "netns", "exec", self.namespace, *argv)

    def run(self, *argv: str, stdin: str = "") -> None:
        """Run a command on this host to its end."""
        subprocess.run(self.command(argv), input=stdin.encode(), check=True, capture_output=True)

    def call(self, work: Callable[[], Result]) -> Result:
        """Call something in a thread of ours whose sockets are this host's."""
        results: list[Result] = []
        errors: list[BaseException] = []

        def within() -> None:
            try:
                descriptor = os.open(Path("/run/netns", self.namespace), os.O_RDONLY)
                try:
                    if _libc.setns(descriptor, _CLONE_NEWNET):
                        raise OSError(ctypes.get_errno(), "setns")
                finally:
                    os.close(descriptor)
                results.append(work())
            except BaseException as error:  # noqa: BLE001 - raised below
                errors.append(error)

        thread = threading.Thread(target=within)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return results[0]

    def take_no_calls(self) -> None:
        """Let nobody connect to this host; it may still connect to others."""
        self.run("nft", "-f", "-", stdin=_NO_INBOUND)


@contextlib.contextmanager
def hosts(*names: str) -> Iterator[list[Host]]:
    """Hosts with these names, joined by a switch that is in the first one."""
    made = [Host(name, number) for number, name in enumerate(names, 1)]
    try:
        for host in made:
            _ip("netns", "add", host.namespace)
            host.run("ip", "link", "set", "lo", "up")
        switch = made[0]
        switch.run("ip", "link", "add", "switch", "type", "bridge")
        switch.run("ip", "address", "add", f"{switch.address}/24", "dev", "switch")
        switch.run("ip", "link", "set", "switch", "up")
        for number, host in enumerate(made[1:]):
            port = f"port{number}"
            switch.run(
                *("ip", "link", "add", port, "type", "veth"),
                *("peer", "name", "eth0", "netns", host.namespace),
            )
            switch.run("ip", "link", "set", port, "master", "switch", "up")
            host.run("ip", "address", "add", f"{host.address}/24", "dev", "eth0")
            host.run("ip", "link", "set", "eth0", "up")
        yield made
    finally:
        for host in made:
            subprocess.run(["ip", "netns", "del", host.namespace], capture_output=True, check=False)


def _ip(*argv: str) -> None:
    subprocess.run(["ip", *argv], check=True, capture_output=True)
