"""`comat view`: the page's server, with the shipped miniature models and a LoRA of random weights."""

import base64
import http.client
import io
import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from comat_core.support.errors import UserError
from flows.command_line.cli import main
from flows.pages import answers
from flows.pages import server as server_module
from flows.pages.answers import LONGEST_BODY
from flows.pages.view.rendering import render_page
from flows.pages.view.server import ViewServer
from flows.pages.view.site import LONGEST_PROMPT, Site
from stages.entities import EntitiesConfig
from stages.images.png import encode_png
from stages.plan.pipeline import make_plan
from stages.plan.presets import Preset, load_preset
from stages.store.store import Store
from stages.tuned.comparison import Comparison, ComparisonAbandoned, comparer_of, draw_rows
from stages.tuned.tuned_model import find_tuned_model
from tests.flows.conftest import ROOT
from tests.flows.test_bad_input import fails_with
from tests.random_loras import save_random_lora
from tests.stages.fake_run import flat_png, make_artifact, prompts_table

SETTINGS = ("images.sampling.num_inference_steps=3",)
PROMPT = "a red circle and a blue square"
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def preset() -> Preset:
    return load_preset("miniature", SETTINGS)


@pytest.fixture(scope="module")
def trained(preset: Preset, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with a trained model: the shipped one with a LoRA of random weights."""
    folder = tmp_path_factory.mktemp("trained")
    lora = save_random_lora(ROOT / "data" / "miniature" / "base", folder / "lora", scale=0.3)
    store = Store(str(folder / "store"))
    make_artifact(store, "train", key=key_of(preset, "train"), folder=lora)
    return store


def key_of(preset: Preset, node: str) -> str:
    return make_plan(preset.sections).by_name[node].key


class StandIn:
    """Compares without a model, in steps of 20 ms, and notices when it is called twice at once."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.busy = self.most = self.calls = self.abandoned = 0

    def compare(self, prompt: str, seed: int, is_abandoned: Callable[[], bool]) -> Comparison:
        self.busy += 1
        self.calls += 1
        self.most = max(self.most, self.busy)
        try:
            end = time.monotonic() + self.seconds
            while time.monotonic() < end:
                if is_abandoned():
                    self.abandoned += 1
                    raise ComparisonAbandoned
                time.sleep(0.02)
        finally:
            self.busy -= 1
        if prompt == "a mistake":
            raise UserError("the model is gone", "store", "train it again")
        if prompt == "a failure":
            raise RuntimeError("no memory")
        return Comparison(prompt, seed, 0.5, {"base": flat_png((1, 2, 3)), "tuned": flat_png((4, 5, 6))}, [])


@contextmanager
def serving(site: Site) -> Iterator[ViewServer]:
    with ViewServer(0, site) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(timeout=30)


@pytest.fixture(scope="module")
def server(preset: Preset, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ViewServer]:
    store = Store(str(tmp_path_factory.mktemp("empty") / "store"))
    site: Any = Site(preset, store, StandIn())  # pyright: ignore[reportArgumentType]
    with serving(site) as running:
        yield running


def post(server: ViewServer, body: bytes, **headers: str) -> tuple[int, str]:
    """Send a body to /compare; return status and text."""
    given = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    request = urllib.request.Request(f"{server.address}/compare", data=body, headers=given)
    try:
        with urllib.request.urlopen(request, timeout=300) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def get(server: ViewServer, path: str, **headers: str) -> tuple[int, http.client.HTTPMessage, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    found = response.status, response.headers, response.read().decode()
    connection.close()
    return found


def question(**fields: Any) -> bytes:
    return json.dumps({"prompt": PROMPT, "seed": 3} | fields).encode()


def pixels_of(uri: str) -> np.ndarray:
    kind, _, content = uri.partition(";base64,")
    assert kind == "data:image/png"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))), dtype=np.int64)


def test_comparison_shows_both_models_from_the_same_noise(preset: Preset, trained: Store) -> None:
    tuned = find_tuned_model(preset, trained)
    entities = preset.sections["entities"]
    assert isinstance(entities, EntitiesConfig)
    with comparer_of(tuned, entities) as comparer, serving(Site(preset, trained, comparer)) as running:
        status, text = post(running, question())
        _, again = post(running, question())
    assert status == 200
    answer = json.loads(text)
    base, other = (pixels_of(answer["images"][model]) for model in ("base", "tuned"))
    assert base.shape == other.shape == (64, 64, 3)
    assert np.abs(base - other).max() > 20
    assert [(word["text"], word["role"]) for word in answer["words"]] == [
        ("red", "attribute"),
        ("circle", "noun"),
        ("blue", "attribute"),
        ("square", "noun"),
    ]
    for word in answer["words"]:
        assert set(word["overlays"]) == {"base", "tuned"}
        assert all(overlay.startswith("data:image/jpeg;base64,") for overlay in word["overlays"].values())
    assert json.loads(again)["images"] == answer["images"]
    # The same as `comat sample --compare` draws; attention is recorded beside the fused one, which may round otherwise.
    drawn = np.asarray(Image.open(io.BytesIO(encode_png(draw_rows(tuned, [PROMPT], 3, compare=True)))), dtype=np.int64)
    assert np.abs(drawn - np.concatenate([base, other], axis=1)).max() <= 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "no length"),
        (b"{", "Invalid JSON"),
        (b"\xff\xfe", "Invalid JSON"),
        (b"[]", "Input should be an object"),
        (b'{"prompt": "\\ud800", "seed": 0}', "prompt"),
        (question(prompt="   "), "prompt is not allowed: String should have at least 1 character"),
        (question(prompt="x" * (LONGEST_PROMPT + 1)), "at most 1000 characters"),
        (question(prompt=7), "prompt is not allowed: Input should be a valid string"),
        (question(seed="3"), "seed is not allowed: Input should be a valid integer"),
        (question(seed=True), "seed is not allowed: Input should be a valid integer"),
        (question(seed=1.5), "seed is not allowed: Input should be a valid integer"),
        (question(seed=-1), "seed is not allowed: Input should be greater than or equal to 0"),
        (question(seed=2**63), "seed"),
        (question(steps=1000), "steps is not allowed: Extra inputs are not permitted"),
        (b'{"prompt": "a"}', "seed is missing"),
        (b"[" * 10_000, "JSON"),
        (b" " * (LONGEST_BODY + 1), f"up to {LONGEST_BODY} bytes"),
    ],
)
def test_bad_questions_are_answered_400_with_one_line(server: ViewServer, body: bytes, message: str) -> None:
    status, text = post(server, body)
    assert status == 400
    assert message in text
    assert "\n" not in text
    assert post(server, question())[0] == 200  # and the server goes on


@pytest.mark.parametrize("length", ["-5", "1e3", "٣", "9" * 5000, "nonsense"])
def test_lengths_that_are_none_are_refused(server: ViewServer, length: str) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        host = f"127.0.0.1:{server.port}"
        lines = ["POST /compare HTTP/1.0", f"Host: {host}", "Content-Type: application/json"]
        connection.sendall("\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode())
        assert connection.makefile("rb").readline().split()[1] == b"400"


def test_only_json_is_taken_so_that_no_form_of_another_page_asks(server: ViewServer) -> None:
    status, text = post(server, question(), Content_Type="text/plain")
    assert (status, "the request is no JSON" in text) == (400, True)


@pytest.mark.parametrize("path", ["/", "/report", "/timeline", "/view.js"])
@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", ""])
def test_requests_under_another_name_are_refused(server: ViewServer, path: str, host: str) -> None:
    status, _, text = get(server, path, Host=host.format(port=server.port))
    assert status == 403
    assert PROMPT not in text


def test_requests_of_other_sites_pages_are_refused(server: ViewServer) -> None:
    assert post(server, question(), Origin="https://evil.example")[0] == 403
    assert post(server, question(), Origin="null")[0] == 403
    assert post(server, question(), Origin=server.address)[0] == 200
    assert get(server, "/", Host=f"LOCALHOST:{server.port}")[0] == 200


def test_it_listens_on_the_loopback_address_alone(server: ViewServer) -> None:
    assert server.host == "127.0.0.1"


def test_page_runs_its_own_script_only(server: ViewServer) -> None:
    status, headers, text = get(server, "/")
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "script-src 'self'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "http://" not in text
    assert "https://" not in text
    assert get(server, "/view.js")[1]["Content-Type"].startswith("text/javascript")
    assert get(server, "/view.css")[0] == 200


@pytest.mark.parametrize("path", ["/nothing", "/view.html", "/../cli.py", "/view.js/../../cli.py", "//etc/passwd"])
def test_there_is_nothing_else_to_get(server: ViewServer, path: str) -> None:
    assert get(server, path)[0] == 404


def test_prompts_in_the_page_are_escaped(preset: Preset, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    rows = [("a", HOSTILE, "color", "test"), ("b", '" autofocus onfocus="x', "shape", "test")]
    make_artifact(store, "prompts", key=key_of(preset, "prompts"), tables={"prompts.parquet": prompts_table(rows)})
    page = render_page(preset, store, LONGEST_PROMPT)
    assert HOSTILE not in page
    assert "&lt;script&gt;alert(1)" in page
    assert 'onfocus="x' not in page


def test_report_is_served_once_the_store_holds_it(preset: Preset, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with serving(Site(preset, store, StandIn())) as running:  # pyright: ignore[reportArgumentType]
        status, _, text = get(running, "/report")
        assert (status, "comat run" in text) == (404, True)
        writer = store.writer("report", key_of(preset, "report"), {"version": 1, "config": {}}, {})
        writer.write_bytes("report.html", b"<h1>The report</h1>")
        writer.finish()
        assert get(running, "/report")[2] == "<h1>The report</h1>"
        assert "No training has been evaluated yet" in get(running, "/timeline")[2]


def test_models_draw_one_comparison_at_a_time(preset: Preset, tmp_path: Path) -> None:
    stand_in = StandIn(seconds=0.1)
    site: Any = Site(preset, Store(str(tmp_path)), stand_in)  # pyright: ignore[reportArgumentType]
    with serving(site) as running:
        threads = [threading.Thread(target=post, args=(running, question(seed=seed))) for seed in range(4)]
        for thread in threads:
            thread.start()
        assert get(running, "/")[0] == 200  # the page does not wait for them
        for thread in threads:
            thread.join()
    assert (stand_in.calls, stand_in.most) == (4, 1)


def ask_and_leave(server: ViewServer, count: int) -> None:
    """Ask questions, and close the connections as a browser does that is closed."""
    body = question()
    head = f"POST /compare HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: application/json\r\n"
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)


def test_whoever_has_left_does_not_keep_others_waiting(preset: Preset, tmp_path: Path) -> None:
    stand_in = StandIn(seconds=0.5)
    site: Any = Site(preset, Store(str(tmp_path)), stand_in)  # pyright: ignore[reportArgumentType]
    with serving(site) as running:
        ask_and_leave(running, 100)
        start = time.monotonic()
        status, text = post(running, question())
        waited = time.monotonic() - start
    assert (status, json.loads(text)["prompt"]) == (200, PROMPT)
    assert waited < 10, "a hundred abandoned questions would take 50 s"
    assert stand_in.most == 1
    assert stand_in.calls - stand_in.abandoned == 1, "what was abandoned while it was drawn ended there"


def test_a_comparison_stops_within_a_step(preset: Preset, trained: Store) -> None:
    tuned = find_tuned_model(preset, trained)
    entities = preset.sections["entities"]
    assert isinstance(entities, EntitiesConfig)
    asked: list[None] = []

    def left_after_two_steps() -> bool:
        asked.append(None)
        return len(asked) > 2

    with comparer_of(tuned, entities) as comparer:
        with pytest.raises(ComparisonAbandoned):
            comparer.compare(PROMPT, 0, left_after_two_steps)
        assert len(asked) == 3
        comparer.compare(PROMPT, 0)  # and it is fit for the next one


def test_a_request_cut_short_is_nobodys_failure(
    preset: Preset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(Site(preset, Store(str(tmp_path)), StandIn())) as running:  # pyright: ignore[reportArgumentType]
        for body in (b"", b'{"prompt": '):
            with socket.create_connection(("127.0.0.1", running.port), timeout=30) as connection:
                host = f"Host: 127.0.0.1:{running.port}\r\nContent-Type: application/json\r\n"
                connection.sendall(f"POST /compare HTTP/1.1\r\n{host}Content-Length: 50\r\n\r\n".encode() + body)
        assert post(running, question())[0] == 200
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: "])
def test_connections_without_a_request_are_closed(
    preset: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(server_module, "ARRIVAL_SECONDS", 0.3)
    with (
        serving(Site(preset, Store(str(tmp_path)), StandIn())) as running,  # pyright: ignore[reportArgumentType]
        socket.create_connection(("127.0.0.1", running.port), timeout=30) as connection,
    ):
        connection.sendall(sent)
        assert connection.recv(1000) == b""


def test_a_body_that_does_not_come_is_told(preset: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "ARRIVAL_SECONDS", 0.3)
    with (
        serving(Site(preset, Store(str(tmp_path)), StandIn())) as running,  # pyright: ignore[reportArgumentType]
        socket.create_connection(("127.0.0.1", running.port), timeout=30) as connection,
    ):
        host = f"Host: 127.0.0.1:{running.port}\r\nContent-Type: application/json\r\n"
        connection.sendall(f"POST /compare HTTP/1.1\r\n{host}Content-Length: 50\r\n\r\n{{".encode())
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"the request did not arrive within 0 s" in answer


def test_mistakes_and_failures_are_answers_of_one_line(
    server: ViewServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert post(server, question(prompt="a mistake")) == (400, "the model is gone (store): train it again")
    assert capsys.readouterr().err == ""
    status, text = post(server, question(prompt="a failure"))
    (trace,) = (tmp_path / "cache" / "comat" / "failures").iterdir()
    assert status == 500
    assert text.startswith(f"RuntimeError: no memory (trace in {trace}): ")
    assert capsys.readouterr().err == f"comat: {text}\n"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (UserError("damaged", "report", "run it again"), "damaged (report): run it again"),
        (KeyError("x"), "KeyError: 'x'"),
    ],
)
@pytest.mark.parametrize("path", ["/", "/report", "/timeline"])
def test_pages_that_cannot_be_made_say_why(
    server: ViewServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, path: str, error: Exception, told: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def fail(*_: object) -> str:
        raise error

    for name in ("page", "report", "timeline"):
        monkeypatch.setattr(Site, name, fail)
    status, headers, text = get(server, path)
    assert (status, headers["Content-Type"]) == (500, "text/plain; charset=utf-8")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert text.startswith(told)
    assert "\n" not in text


def test_the_end_does_not_wait_for_a_comparison(preset: Preset, tmp_path: Path) -> None:
    class Deaf(StandIn):
        def compare(self, prompt: str, seed: int, is_abandoned: Callable[[], bool]) -> Comparison:  # noqa: ARG002
            return super().compare(prompt, seed, lambda: False)

    stand_in = Deaf(seconds=60.0)
    site: Any = Site(preset, Store(str(tmp_path)), stand_in)  # pyright: ignore[reportArgumentType]
    with ViewServer(0, site) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        ask_and_leave(running, 3)
        asking = socket.create_connection(("127.0.0.1", running.port))
        asking.sendall(b"POST /compare HTTP/1.1\r\n")
        while not stand_in.calls:
            time.sleep(0.02)
        running.shutdown()
        thread.join(timeout=20)
        assert not thread.is_alive()
        asking.close()


def test_a_taken_port_is_told(
    preset: Preset, trained: Store, capsys: pytest.CaptureFixture[str], server: ViewServer
) -> None:
    arguments = ["view", preset.name, "--store", trained.url, "--set", SETTINGS[0]]
    line = fails_with(capsys, *arguments, "--port", str(server.port))
    assert "cannot serve here: " in line
    assert "choose another --port" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["view", "miniature"], "the store holds no finished train artifact of this preset"),
        (["view", "miniature", "--port", "70000"], "70000 is no port: 0 to 65535"),
        (["timeline", "miniature"], "no training of this preset has been evaluated here"),
    ],
)
def test_mistakes_are_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], message: str
) -> None:
    assert message in fails_with(capsys, *arguments, "--store", str(tmp_path / "store"))


@pytest.mark.slow
def test_interrupt_ends_it_at_once_even_amid_a_request(trained: Store) -> None:
    command = [
        sys.executable,
        "-m",
        "flows.command_line.cli",
        "view",
        "miniature",
        "--store",
        trained.url,
        "--set",
        SETTINGS[0],
    ]
    process = subprocess.Popen([*command, "--port", "0"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = process.stdout.readline().split()[0]
    port = int(address.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as half_a_request:
        half_a_request.sendall(b"POST /compare HTTP/1.0\r\n")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert " view " in text
    assert " timeline " in text
