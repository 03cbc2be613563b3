"""The service reaches out to the public internet, and to nothing within."""

import ipaddress
import ssl
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from app.outbound.addresses import Address, is_global, read_listed
from app.outbound.sending import Limits, NotAnswered, Sender
from app.outbound.urls import normal, why_never
from tests.self_signed import write_certificate
from tests.webhooks.receiver import Receiver, status

pytestmark = pytest.mark.anyio

INNER = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "192.0.0.8",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "192.88.99.1",
    "168.63.129.16",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "2002:7f00:1::1",
    "2001:0:1::1",
    "2001:db8::1",
    "3fff::1",
    "fe80::1",
    "fec0::1",
    "fd00:ec2::254",
    "ff02::1",
    "5f00::1",
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("address", INNER)
def test_what_is_not_global_is_refused(address: str) -> None:
    assert not is_global(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.215.14", "2606:4700::1111", "2a00:1450:4001::8a"])
def test_what_is_global_is_not(address: str) -> None:
    assert is_global(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "https://0x7f.1/",
        "https://2130706433/",
        "https://017700000001/",
        "https://[::ffff:7f00:1]/",
        "https://[::1]:8443/",
        "https://169.254.169.254/latest/meta-data",
        "http://example.com/",
    ],
)
def test_an_inner_address_is_refused_however_it_is_written(url: str) -> None:
    assert why_never(normal(url), ())


@pytest.mark.parametrize(
    "url",
    ["ftp://example.com/", "https://user:secret@example.com/", "https://example.com/#x", "example.com", ""],
)
def test_what_is_no_receiver_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        normal(url)


def test_the_operators_list_reads_networks_and_ports() -> None:
    listed = read_listed("10.1.0.0/16, 127.0.0.1:9000,[fd00::1]:443, fd01::/64")
    assert why_never("https://10.1.2.3/", listed) is None
    assert why_never("http://127.0.0.1:9000/", listed) is None
    assert why_never("https://127.0.0.1:9001/", listed)
    assert why_never("https://[fd00::1]/", listed) is None
    assert why_never("https://[fd00::1]:444/", listed)
    with pytest.raises(ValueError, match="neither a network"):
        read_listed("hooks.internal")


class Names:
    """A resolver that gives the next answer at each question, and counts them."""

    def __init__(self, *answers: str) -> None:
        self._answers = iter(answers)
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> Sequence[Address]:
        self.asked.append(host)
        return [ipaddress.ip_address(address) for address in next(self._answers).split()]


async def test_a_name_is_resolved_once_per_attempt_and_checked_each_time() -> None:
    """Rebinding: a name that led where it may, and then leads within."""
    with Receiver() as receiver:
        names = Names("127.0.0.1", "127.0.0.2", "127.0.0.1 10.0.0.1")
        sender = Sender(read_listed(f"127.0.0.1:{receiver.port}"), look_up=names)
        url = f"http://rebinding.example:{receiver.port}/"
        assert (await sender.post(url, {}, b"1", Limits())).status == 204
        for body in (b"2", b"3"):
            with pytest.raises(NotAnswered, match="not_allowed"):
                await sender.post(url, {}, body, Limits())
        assert names.asked == ["rebinding.example"] * 3
        [received] = receiver.received
        assert received.headers["host"] == f"rebinding.example:{receiver.port}"


async def test_without_tls_only_what_is_listed_is_spoken_to() -> None:
    sender = Sender((), look_up=Names("8.8.8.8"))
    with pytest.raises(NotAnswered, match="not_allowed"):
        await sender.post("http://plain.example/", {}, b"", Limits())


@pytest.fixture
def authority(tmp_path: Path) -> tuple[Path, Path]:
    """A key and its certificate for hooks.example."""
    return write_certificate(tmp_path, "hooks.example", ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture
def secure(authority: tuple[Path, Path]) -> Iterator[Receiver]:
    key, certificate = authority
    receiver = Receiver()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    receiver.server.socket = context.wrap_socket(receiver.server.socket, server_side=True)
    with receiver:
        yield receiver


async def test_tls_is_spoken_in_the_names_own_name_over_the_checked_address(
    secure: Receiver, authority: tuple[Path, Path]
) -> None:
    trusting = ssl.create_default_context(cafile=str(authority[1]))
    sender = Sender(read_listed("127.0.0.1"), look_up=Names("127.0.0.1", "127.0.0.1"), context=trusting)
    answer = await sender.post(f"https://hooks.example:{secure.port}/", {}, b"x", Limits())
    assert answer.status == 204
    with pytest.raises(NotAnswered, match="tls_failed"):
        await sender.post(f"https://another.example:{secure.port}/", {}, b"x", Limits())


async def test_a_certificate_of_nobody_we_trust_is_refused(secure: Receiver) -> None:
    sender = Sender(read_listed("127.0.0.1"), look_up=Names("127.0.0.1"))
    with pytest.raises(NotAnswered, match="tls_failed"):
        await sender.post(f"https://hooks.example:{secure.port}/", {}, b"x", Limits())
    assert secure.received == []


async def test_no_more_of_an_answer_is_read_than_the_limit_allows() -> None:
    hung_up = threading.Event()

    def pour(handler: object, nth: int) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000000\r\n\r\n")  # type: ignore[attr-defined]
        try:
            while True:
                handler.wfile.write(b"x" * 65_536)  # type: ignore[attr-defined]
        except OSError:
            hung_up.set()

    with Receiver(pour) as receiver:
        sender = Sender(read_listed("127.0.0.1"))
        answer = await sender.post(receiver.url, {}, b"", Limits(most_bytes=1000))
        assert (answer.status, len(answer.body), answer.whole) == (200, 1000, False)
        assert hung_up.wait(60)


async def test_a_body_that_comes_drop_by_drop_ends_with_the_time() -> None:
    """Each wait is short; together they would take minutes."""
    enough = threading.Event()

    def drip(handler: object, nth: int) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10000\r\n\r\n")  # type: ignore[attr-defined]
        while not enough.wait(0.05):
            handler.wfile.write(b"x")  # type: ignore[attr-defined]

    with Receiver(drip) as receiver:
        sender = Sender(read_listed("127.0.0.1"))
        try:
            with pytest.raises(NotAnswered, match="timeout"):
                await sender.post(receiver.url, {}, b"", Limits(read=10.0, total=0.5))
        finally:
            enough.set()


@pytest.mark.parametrize(
    "answer", [b"", b"\x00\x01 nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 50_000]
)
async def test_what_is_no_answer_is_a_failure(answer: bytes) -> None:
    def talk(handler: object, nth: int) -> None:
        handler.wfile.write(answer)  # type: ignore[attr-defined]

    with Receiver(talk) as receiver:
        sender = Sender(read_listed("127.0.0.1"))
        with pytest.raises(NotAnswered, match=r"protocol_error|connection_failed"):
            await sender.post(receiver.url, {}, b"", Limits())


async def test_nobody_there_and_no_such_name() -> None:
    with Receiver(status(200)) as receiver:
        url = receiver.url
    sender = Sender(read_listed("127.0.0.1"))
    with pytest.raises(NotAnswered, match="connection_failed"):
        await sender.post(url, {}, b"", Limits())
    with pytest.raises(NotAnswered, match="name_not_found"):
        await sender.post("https://nowhere.invalid/", {}, b"", Limits())
