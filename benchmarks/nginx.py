"""The server that everyone is measured against: nginx on loopback, started and ended here.

It serves a folder over HTTP and, with a certificate made for the run, over HTTPS.  One worker
process: it shall cost the machine as little as possible beside the clients that are measured.
"""

import os
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from benchmarks.ground import tool_path

HOST = "127.0.0.1"
START_SECONDS = 10.0
END_SECONDS = 30.0
CONFIG = """
daemon off;
{user}
worker_processes 1;
pid nginx.pid;
error_log error.log;
events {{ worker_connections 1024; }}
http {{
    sendfile on;
    tcp_nopush on;
    default_type application/octet-stream;
    log_format sent "$arg_run $body_bytes_sent";
    access_log {log};
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        {listen}
        root {root};
        autoindex on;
        {limit}
    }}
}}
"""


class Nginx:
    """A running nginx; use it as a context manager.

    Args:
        folder: its own files go here.
        root: the folder that it serves.
        tls: whether it also serves over HTTPS.
        sndbuf: bytes that a connection may have on their way, 0 for as many as the system likes.
        rate: bytes a second that one connection gets at most, 0 for no limit.
        log: whether to count the body bytes that are sent; see ``sent``.
    """

    def __init__(
        self,
        folder: Path,
        root: Path,
        *,
        tls: bool = False,
        sndbuf: int = 0,
        rate: int = 0,
        log: bool = False,
    ) -> None:
        self._folder = folder
        self._config = {"root": root, "log": "sent.log sent" if log else "off"}
        self._config["limit"] = f"limit_rate {rate};" if rate else ""
        self._sndbuf = f" sndbuf={sndbuf}" if sndbuf else ""
        self._tls = tls
        self.certificate = folder / "certificate.pem"

    def __enter__(self) -> Self:
        """Start it, and wait until it listens.

        Raises:
            RuntimeError: it does not; the message says what it complained of.
        """
        self._folder.mkdir(parents=True)
        self._port, self._tls_port = free_ports(2)
        listen = [f"listen {HOST}:{self._port}{self._sndbuf};"]
        if self._tls:
            _certify(self.certificate, self._folder / "key.pem")
            listen += [f"listen {HOST}:{self._tls_port} ssl{self._sndbuf};"]
            listen += ["ssl_certificate certificate.pem;", "ssl_certificate_key key.pem;"]
        user = "user root;" if os.geteuid() == 0 else ""
        config = CONFIG.format(user=user, listen=" ".join(listen), **self._config)
        (self._folder / "nginx.conf").write_text(config, encoding="utf-8")
        errors = self._folder / "error.log"
        command = [tool_path("nginx") or "nginx", "-p", str(self._folder), "-c", "nginx.conf"]
        self._process = subprocess.Popen(
            [*command, "-e", "error.log"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            self._wait(errors)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def url(self, path: str) -> str:
        """Say where a file of the folder is served."""
        return f"http://{HOST}:{self._port}/{path}"

    def tls_url(self, path: str) -> str:
        """Say where a file of the folder is served over HTTPS."""
        return f"https://{HOST}:{self._tls_port}/{path}"

    def sent(self) -> Counter[str]:
        """End the server when it has told of every request; count body bytes by query ``run``."""
        self._process.send_signal(3)  # SIGQUIT: finish what is under way
        self._process.wait(END_SECONDS)
        counted: Counter[str] = Counter()
        for line in (self._folder / "sent.log").read_text(encoding="ascii").splitlines():
            run, count = line.split()
            counted[run] += int(count)
        return counted

    def _wait(self, errors: Path) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection((HOST, self._port), timeout=1.0).close()
            except OSError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    said = errors.read_text(encoding="utf-8").strip() if errors.exists() else ""
                    raise RuntimeError(f"nginx did not start: {said}") from error
                time.sleep(0.02)
            else:
                return

    def _end(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def free_ports(count: int) -> Sequence[int]:
    """Find ports that nobody listens on."""
    held = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in held]
    for server in held:
        server.close()
    return ports


def _certify(certificate: Path, key: Path) -> None:
    """Make a certificate that is its own authority and good for this run."""
    subject = ["-subj", "/CN=localhost", "-addext", f"subjectAltName=IP:{HOST},DNS:localhost"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command = [tool_path("openssl") or "openssl", "req", "-x509", *kind, *subject]
    subprocess.run(
        [*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True
    )
