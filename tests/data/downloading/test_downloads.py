"""Downloads from publishers that are cut short, slow, endless or wrong."""

import hashlib
import socket
import threading
import time
from pathlib import Path

import pytest

from comat_core.support.errors import UserError
from data.downloading import downloads, resumed_download
from data.downloading.downloads import fetch
from data.downloading.resumed_download import Expected, download
from data.downloading.timed_reading import Patience, TimedReader
from data.registry import PromptSet, Source
from tests.data.misbehaving_server import Behaviour, Publisher, publishing, whole
from tests.small_disk import fill, small_disk

CONTENT = bytes(range(256)) * 4000
CHECKSUM = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
EXPECTED = Expected(CHECKSUM, len(CONTENT))
HURRIED = Patience(silence=0.5, period=0.3, slowest=100_000)
REMEDY = "ask the publisher"
OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "train.txt"


def partial_of(target: Path) -> Path:
    return target.with_name("train.txt.partial")


def fails(publisher: Publisher, target: Path, expected: Expected = EXPECTED) -> str:
    """Download what cannot be had, and return the line."""
    with pytest.raises(UserError) as told:
        download(publisher.url, target, expected, REMEDY)
    assert publisher.url in str(told.value)
    assert not target.exists()
    return str(told.value)


class TestResuming:
    @pytest.mark.parametrize("expected", [EXPECTED, Expected(CHECKSUM)])
    def test_what_was_cut_short_goes_on_from_there(self, target: Path, expected: Expected) -> None:
        with publishing(whole(CONTENT, sent=300_000)) as publisher:
            line = fails(publisher, target, expected)
            assert f"the answer ended after 300,000 of {len(CONTENT):,} bytes" in line
            assert "the same command goes on after the 300,000 bytes that are there; or ask the publisher" in line
            publisher.behaviour = whole(CONTENT)
            download(publisher.url, target, expected, REMEDY)
        assert publisher.requests == [0, 300_000]
        assert target.read_bytes() == CONTENT
        assert list(target.parent.iterdir()) == [target]

    def test_a_server_without_ranges_sends_it_all_again(self, target: Path) -> None:
        with publishing(whole(CONTENT, sent=300_000)) as publisher:
            fails(publisher, target)
            publisher.behaviour = whole(CONTENT, ranges=False)
            download(publisher.url, target, EXPECTED, REMEDY)
        assert target.read_bytes() == CONTENT

    @pytest.mark.parametrize("rest", [b"of another file", b"x" * len(CONTENT), b"x" * 2 * len(CONTENT)])
    def test_a_part_of_something_else_is_thrown_away(self, target: Path, rest: bytes) -> None:
        target.parent.mkdir()
        partial_of(target).write_bytes(rest)
        with publishing(whole(CONTENT)) as publisher:
            download(publisher.url, target, EXPECTED, REMEDY)
        assert publisher.requests[-1] == 0
        assert target.read_bytes() == CONTENT

    def test_a_part_that_is_longer_than_the_published_file_is_thrown_away(self, target: Path) -> None:
        target.parent.mkdir()
        partial_of(target).write_bytes(b"x" * (len(CONTENT) + 1))
        with publishing(whole(CONTENT)) as publisher:
            download(publisher.url, target, Expected(CHECKSUM), REMEDY)
        assert publisher.requests == [len(CONTENT) + 1, 0]
        assert target.read_bytes() == CONTENT

    def test_a_part_that_is_whole_is_not_asked_for(self, target: Path) -> None:
        target.parent.mkdir()
        partial_of(target).write_bytes(CONTENT)
        with publishing(whole(CONTENT)) as publisher:
            download(publisher.url, target, EXPECTED, REMEDY)
        assert publisher.requests == []
        assert target.read_bytes() == CONTENT

    def test_another_part_than_the_one_asked_for_is_refused(self, target: Path) -> None:
        def elsewhere(connection: socket.socket, start: int) -> None:
            head = f"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {start + 5}-9999999/*\r\n\r\n"
            connection.sendall(head.encode() + b"x" * 100)

        target.parent.mkdir()
        partial_of(target).write_bytes(CONTENT[:1000])
        with publishing(elsewhere) as publisher:
            assert "another part of the file" in fails(publisher, target)
        assert partial_of(target).read_bytes() == CONTENT[:1000]

    def test_nobody_resumes_what_no_checksum_can_confirm(self, target: Path) -> None:
        with publishing(whole(CONTENT, sent=1000)) as publisher:
            fails(publisher, target, Expected())
            assert list(target.parent.iterdir()) == []
            publisher.behaviour = whole(CONTENT)
            download(publisher.url, target, Expected(), REMEDY)
        assert publisher.requests == [0, 0]

    def test_two_at_once_download_it_once(self, target: Path) -> None:
        def slowly(connection: socket.socket, start: int) -> None:
            time.sleep(0.5)
            whole(CONTENT)(connection, start)

        with publishing(slowly) as publisher:
            both = [threading.Thread(target=download, args=(publisher.url, target, EXPECTED, REMEDY)) for _ in range(2)]
            for thread in both:
                thread.start()
            for thread in both:
                thread.join(timeout=60)
        assert publisher.requests == [0]
        assert target.read_bytes() == CONTENT
        assert list(target.parent.iterdir()) == [target]


class TestSize:
    def test_an_endless_file_is_left_at_the_size_that_is_known(self, target: Path) -> None:
        sent = 0

        def endless(connection: socket.socket, start: int) -> None:  # noqa: ARG001
            nonlocal sent
            connection.sendall(OK + b"\r\n")
            while True:
                sent += connection.send(bytes(1 << 16))

        with publishing(endless) as publisher:
            assert f"more than {len(CONTENT):,} bytes" in fails(publisher, target)
        assert sent < 40 * len(CONTENT)
        assert list(target.parent.iterdir()) == []

    def test_an_endless_file_of_unknown_size_ends_too(self, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(resumed_download, "LARGEST_UNKNOWN", 1000)
        with publishing(whole(CONTENT)) as publisher:
            assert f"{len(CONTENT):,} bytes instead of 1,000" in fails(publisher, target, Expected(CHECKSUM))

    @pytest.mark.parametrize("content", [CONTENT + b"x", CONTENT[:-1], b""])
    def test_a_file_of_another_size_is_not_taken_at_all(self, target: Path, content: bytes) -> None:
        with publishing(whole(content)) as publisher:
            line = fails(publisher, target)
        assert f"not the one that the registry knows: {len(content):,} bytes instead of {len(CONTENT):,}" in line
        assert "the publisher changed it; report this" in line
        assert list(target.parent.iterdir()) == []

    def test_other_content_of_the_same_size_is_refused_and_does_not_stay(self, target: Path) -> None:
        with publishing(whole(CONTENT[::-1])) as publisher:
            assert "not the one that the registry knows: sha256 " in fails(publisher, target)
        assert list(target.parent.iterdir()) == []

    def test_remote_folders_end_there_too(self, tmp_path: Path) -> None:
        (tmp_path / "example").mkdir()
        (tmp_path / "example" / "train.txt").write_bytes(CONTENT + b"x")
        prompt_set = PromptSet(name="train", path="train.txt", checksum=CHECKSUM, size=len(CONTENT))
        source = Source(name="example", title="", homepage="", citation="", licence=None, sets=(prompt_set,))
        with pytest.raises(UserError, match=f"it has more than the {len(CONTENT):,} bytes that the registry knows"):
            fetch(source, prompt_set, tmp_path.as_uri(), tmp_path / "cache")
        assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]

    def test_a_password_in_the_folders_address_stays_secret(self, tmp_path: Path) -> None:
        prompt_set = PromptSet(name="train", path="train.txt", checksum=CHECKSUM, size=len(CONTENT))
        source = Source(name="example", title="", homepage="", citation="", licence=None, sets=(prompt_set,))
        with pytest.raises(UserError, match=r"cannot read the folder.*nowhere://…@host/prompts") as told:
            fetch(source, prompt_set, "nowhere://me:secret@host/prompts", tmp_path / "cache")
        assert "secret" not in str(told.value)

    def test_the_registry_says_how_large_a_file_is(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        known: list[Expected] = []
        monkeypatch.setattr(downloads, "download", lambda url, target, expected, remedy: known.append(expected))  # noqa: ARG005
        prompt_set = PromptSet(name="train", path="train.txt", checksum=CHECKSUM, size=len(CONTENT))
        source = Source(name="example", title="", homepage="", citation="", licence=None, sets=(prompt_set,))
        fetch(source, prompt_set, None, tmp_path)
        assert known == [EXPECTED]


def dripping(before: bytes, drop: bytes) -> Behaviour:
    """Send `before` at once, then `drop` again and again."""

    def behave(connection: socket.socket, start: int) -> None:  # noqa: ARG001
        connection.sendall(before)
        while True:
            time.sleep(0.05)
            connection.sendall(drop)

    return behave


class TestTime:
    @pytest.mark.parametrize(
        ("behaviour", "reason"),
        [
            (dripping(b"", b"H"), "nothing came for 0.5 s"),
            (dripping(OK, b"a"), "nothing came for 0.5 s"),
            (dripping(OK + b"\r\n", b"x"), "bytes per second came, fewer than 100,000"),
            (dripping(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0"), "nothing came for 0.5 s"),
            (dripping(OK + b"Content-Length: 1024000\r\n\r\n" + CONTENT[:5000], b""), "nothing came for 0.5 s"),
        ],
        ids=["status", "headers", "body", "chunk size", "silence"],
    )
    def test_senders_that_drip_are_left(
        self, target: Path, monkeypatch: pytest.MonkeyPatch, behaviour: Behaviour, reason: str
    ) -> None:
        monkeypatch.setattr(resumed_download, "PATIENCE", HURRIED)
        start = time.monotonic()
        with publishing(behaviour) as publisher:
            assert reason in fails(publisher, target)
        assert time.monotonic() - start < 10

    def test_a_reader_that_dawdles_does_not_make_its_sender_slow(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_bytes(CONTENT * 10)
        with TimedReader(lambda: path.open("rb"), HURRIED) as reader:
            reader.source()
            read = b""
            for block in reader.blocks():
                time.sleep(0.1)
                read += block
        assert read == CONTENT * 10


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"\x00\xff nonsense\r\n\r\n", "nonsense"),
        (b"", "Remote end closed connection"),
        (OK + b"A: b\r\n" * 1000 + b"\r\n", "headers"),
        (OK + b"A: " + b"b" * 100_000 + b"\r\n\r\n", "header line"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", "IncompleteRead"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", "IncompleteRead"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "HTTP Error 404: Not Found"),
        (b"HTTP/1.1 302 Found\r\nLocation: nonsense://x\r\n\r\n", "nonsense"),
    ],
)
def test_garbage_is_told_in_one_line(target: Path, answer: bytes, reason: str) -> None:
    with publishing(lambda connection, start: connection.sendall(answer)) as publisher:  # noqa: ARG005
        line = fails(publisher, target)
    assert "the download failed: " in line
    assert reason in line


def test_full_disk_is_told_and_gone_on_from(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", size=2 << 20) as disk, publishing(whole(CONTENT)) as publisher:
        ballast = fill(disk, leave=20)
        assert "No space left on device" in fails(publisher, disk / "train.txt")
        ballast.unlink()
        download(publisher.url, disk / "train.txt", EXPECTED, REMEDY)
        assert publisher.requests[1] > 0
        assert (disk / "train.txt").read_bytes() == CONTENT


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="the folder for downloads cannot be written: File exists"):
        download("http://127.0.0.1:9/", tmp_path / "file" / "train.txt", EXPECTED, REMEDY)
