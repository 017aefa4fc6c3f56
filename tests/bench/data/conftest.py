"""Small data sets written to disk, each with a card of its own, and a web server to download them from."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import pytest
import yaml

from bench.data.card import Reading, load_card
from bench.data.content import Content
from bench.data.readers.base import Ask, Rows
from bench.data.readers.table import read_interactions, read_items
from bench.data.sources import Located, locate
from bench.errors import DataError

ATOMIC = {"interactions": "a.inter", "items": "a.item"}
SEQUENCE = {"interactions": "s.txt", "items": "s.jsonl"}


@pytest.fixture(autouse=True)
def _no_ambient_folders(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every test sees an empty cache, and the shared data only when it asks for it."""
    if "shared_data" not in request.fixturenames:
        monkeypatch.delenv("BENCH_DATA_DIR", raising=False)
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def data_folder() -> Path | None:
    # tests/conftest.py has set it where the data lies beside the checkout.
    folder = Path(os.environ.get("BENCH_DATA_DIR", ""))
    return folder if "BENCH_DATA_DIR" in os.environ and folder.is_dir() else None


@pytest.fixture
def shared_data(data_folder: Path | None, monkeypatch: pytest.MonkeyPatch) -> Path:
    if data_folder is None:
        pytest.skip("no prepared data: neither BENCH_DATA_DIR nor ../shared/data beside the checkout")
    monkeypatch.setenv("BENCH_DATA_DIR", str(data_folder))
    return data_folder


@pytest.fixture(scope="session")
def card_of() -> Callable[..., Path]:
    """Write source files and a card for them into a folder; returns the card's path."""

    def write(folder: Path, reader: str, files: dict[str, str | bytes], /, *, zipped: bool = False, **changes) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        names = ATOMIC if reader == "recbole-atomic" else SEQUENCE
        entries: dict[str, dict[str, object]] = {}
        for role, content in files.items():
            raw = content.encode() if isinstance(content, str) else content
            (folder / names[role]).write_bytes(gzip.compress(raw) if zipped else raw)
            entries[role] = {"path": names[role]}
        if reader == "recbole-atomic" and "items" in entries:
            columns = {"item": "item_id", "title": "movie_title", "categories": "class", "year": "release_year"}
            entries["items"]["columns"] = columns
        card = {
            "name": "small",
            "title": "Small",
            "description": "made by a test",
            "licence": "none",
            "citation": "none",
            "reader": reader,
            "order": "time" if reader == "recbole-atomic" else "sequence",
            "files": entries,
            **changes,
        }
        path = folder / "small.yaml"
        path.write_text(yaml.safe_dump(card), encoding="utf-8")
        return path

    return write


# Downloads

Answer = Callable[[BaseHTTPRequestHandler], object]


@dataclass
class Server:
    """A web server of this machine; ``answer`` writes the whole response, ``answers`` those of certain paths."""

    url: str
    answer: Answer
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def send(self, content: bytes, *, path: str | None = None, **options: Any) -> None:
        """Answer with a content from now on, at one path or at all others; ``options`` are those of ``sending``."""
        if path is None:
            self.answer = sending(content, **options)
        else:
            self.answers[path] = sending(content, **options)


def sending(
    content: bytes,
    *,
    promised: int | None = None,
    status: int = 200,
    then: Callable[[], object] | None = None,
    rest: bytes = b"",
) -> Answer:
    """Send a content, whatever length was promised; ``then`` is called before the rest of it follows."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(promised or len(content)))
        handler.end_headers()
        handler.wfile.write(content)
        handler.wfile.flush()
        if then is not None:
            then()
        handler.wfile.write(rest)

    return answer


@pytest.fixture
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that sends the CONTENT of the test's module until told otherwise."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            state.answers.get(self.path, state.answer)(self)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        state = Server(f"http://127.0.0.1:{http.server_port}", sending(request.module.CONTENT))
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield state
        http.shutdown()
        thread.join()


@pytest.fixture
def find(tmp_path: Path, card_of: Callable[..., Path]) -> Callable[..., Located | None]:
    """Locate a file of a card of the user's own; keywords are those of the source."""

    def run(role: str = "interactions", /, *, download: bool = True, **source: Any) -> Located | None:
        card = load_card(card_of(tmp_path / "card", "s3rec", {}, files={"interactions": source}))
        return locate(card, role, card.files.interactions[0], download=download)

    return run


@pytest.fixture
def cached_files(tmp_path: Path) -> Callable[..., list[str]]:
    """Names of the files in the cache, or below a folder of it; those of locks stay and do not count."""

    def names(below: str = ".") -> list[str]:
        files = (tmp_path / "cache" / below).rglob("*")
        return sorted(path.name for path in files if path.is_file() and path.suffix != ".lock")

    return names


# Contents of files


def in_zip(raw: bytes, name: str = "folder/a.txt", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        archive.writestr("before", b"0" * 3000)
        archive.writestr(name, raw)
        archive.writestr("after", b"")
    return target.getvalue()


def in_tar(raw: bytes, name: str = "folder/a.txt", **changes: object) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for member, content in {"before": b"0" * 3000, name: raw, "after": b""}.items():
            info = tarfile.TarInfo(member)
            info.size = len(content)
            if member == name:
                for key, value in changes.items():
                    setattr(info, key, value)
            archive.addfile(info, io.BytesIO(content))
    return target.getvalue()


@pytest.fixture(scope="session")
def archived() -> Callable[..., bytes]:
    """Put a content between two others: ``archived("zip" or "tar", raw, name, ...)``, with a method or tar's fields."""
    return lambda kind, *args, **options: {"zip": in_zip, "tar": in_tar}[kind](*args, **options)


@pytest.fixture(scope="session")
def rows_of() -> Callable[..., dict[int, str]]:
    """Row -> line of a content, checking that blocks hold what they promise."""

    def read(content: Content, **options: Any) -> dict[int, str]:
        rows: dict[int, str] = {}
        for block in content.blocks(**options):
            lines = block.lines()
            assert block.data == "\n".join(lines).encode()
            assert lines[-1], "blocks end with a line that is not empty"
            rows.update(enumerate(lines, start=block.first_row))
        return rows

    return read


@pytest.fixture(scope="session")
def refusal(rows_of: Callable[..., dict[int, str]]) -> Callable[..., str]:
    """What is said of a content that is refused: one line, which begins with the file."""

    def read(content: Content, **options: Any) -> str:
        with pytest.raises(DataError) as caught:
            rows_of(content, **options)
        message = str(caught.value)
        assert message.startswith(str(content.path)), message
        assert "\n" not in message
        return message

    return read


# Readers


def read_batches(
    reader: Callable[[Content, Ask, Rows], Iterator[pl.DataFrame]],
    source: Path | Content,
    columns: Mapping[str, str] | None = None,
    *,
    drop: bool = False,
    **reading: Any,
) -> tuple[list[pl.DataFrame], Rows]:
    """Read a file to its end; ``reading`` is that of its card. Every row is kept or counted as dropped."""
    content = source if isinstance(source, Content) else Content(source)
    rows = Rows(content, drop)
    batches = list(reader(content, Ask(dict(columns or {}), Reading(**reading)), rows))
    assert rows.read == sum(batch.height for batch in batches) + rows.dropped.total()
    return batches, rows


@pytest.fixture(scope="session")
def read() -> Callable[..., tuple[pl.DataFrame, Rows]]:
    """Read a file as one table: ``read(reader, path or content, columns, drop=..., **reading)``."""

    def run(*args: Any, **options: Any) -> tuple[pl.DataFrame, Rows]:
        batches, rows = read_batches(*args, **options)
        return pl.concat(batches), rows

    return run


@pytest.fixture(scope="session")
def write_lines() -> Callable[[Path, list[str]], Path]:
    def write(path: Path, lines: list[str]) -> Path:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


@dataclass(frozen=True)
class Tables:
    """Tables of the user's own in a folder, and what their reader makes of them."""

    folder: Path
    names: ClassVar[dict[str, str]] = {"user": "u", "item": "i", "rating": "r", "time": "t"}

    def write(self, text: str) -> Path:
        path = self.folder / "mine.csv"
        path.write_bytes(text.encode())
        return path

    def parquet(self, **columns: Any) -> Path:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.folder / "mine.parquet"
        pq.write_table(pa.table(columns), path)
        return path

    def batches(
        self, path: Path, columns: Mapping[str, str] = names, *, items: bool = False, **options: Any
    ) -> tuple[list[pl.DataFrame], Rows]:
        return read_batches(read_items if items else read_interactions, path, columns, **options)

    def rows(self, path: Path, columns: Mapping[str, str] = names, **options: Any) -> list[tuple[Any, ...]]:
        return pl.concat(self.batches(path, columns, **options)[0]).rows()

    def complaint(self, path: Path, columns: Mapping[str, str] = names, **options: Any) -> str:
        """What is said of a table that is refused: one line, which begins with the file."""
        with pytest.raises(DataError) as caught:
            self.batches(path, columns, **options)
        message = str(caught.value)
        assert message.startswith(str(path))
        assert "\n" not in message
        return message


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    return Tables(tmp_path)
