"""The raters' page: what a link shows, what it takes, and what it keeps to itself."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from comat_core.support.errors import UserError
from flows.pages.answers import LONGEST_BODY
from flows.pages.study.app import NOT_SAVED, make_app
from flows.pages.study.server import StudyServer, checked_address
from flows.pages.study.site import StudySite
from stages.studies.preference.answers import AnswerBook
from stages.studies.preference.folder import KEY, STUDY, read_key, read_study
from stages.studies.preference.raters import raters_up_to
from stages.studies.preference.results import gather
from tests.flows.conftest import ROOT
from tests.stages.studies.preference.made_up_study import HOSTILE, make_study

ADDRESS = "http://127.0.0.1:7870"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_study(tmp_path_factory.mktemp("built"), pairs=6)


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Path:
    """A study of one's own, with three raters."""
    shutil.copytree(built, tmp_path / "study")
    raters_up_to(tmp_path / "study", 3)
    return tmp_path / "study"


def served(folder: Path) -> TestClient:
    """A server that has just been started."""
    study, raters = read_study(folder), raters_up_to(folder, 1)
    site = StudySite(folder, study, raters, AnswerBook(folder, study, list(raters.values())))
    return TestClient(make_app(site, ADDRESS, {"127.0.0.1:7870"}), base_url=ADDRESS)


def tokens(folder: Path) -> list[str]:
    return sorted(raters_up_to(folder, 1), key=raters_up_to(folder, 1).__getitem__)


def choose(client: TestClient, token: str, pair: str, choice: str, question: str = "alignment") -> Any:
    return client.post(f"/{token}/answers", json={"pair": pair, "question": question, "choice": choice})


def answers_in(state: dict[str, Any]) -> dict[tuple[str, str], str]:
    return {(one["pair"], one["question"]): one["choice"] for one in state["answers"]}


def test_answers_go_on_after_a_kill_in_the_middle(folder: Path) -> None:
    token = tokens(folder)[0]
    before = served(folder)
    assert choose(before, token, "0001", "left").json() == {"answered": 1}
    assert choose(before, token, "0002", "tie").json() == {"answered": 2}
    assert choose(before, token, "0001", "right").json() == {"answered": 2}  # changed: counts once
    after = served(folder)  # from the disk alone
    assert answers_in(after.get(f"/{token}/state").json()) == {
        ("0001", "alignment"): "right",
        ("0002", "alignment"): "tie",
    }
    assert choose(after, token, "0003", "left", "quality").json() == {"answered": 3}
    assert gather(folder).answers == 3


def test_each_rater_has_an_order_of_their_own_that_stays(folder: Path) -> None:
    client = served(folder)
    orders = [[pair["pair"] for pair in client.get(f"/{token}/state").json()["pairs"]] for token in tokens(folder)]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])
    assert [pair["pair"] for pair in served(folder).get(f"/{tokens(folder)[0]}/state").json()["pairs"]] == orders[0]


def test_nobody_sees_the_answers_of_others(folder: Path) -> None:
    client, (one, other, _) = served(folder), tokens(folder)
    choose(client, one, "0001", "left")
    assert client.get(f"/{other}/state").json()["answers"] == []
    for path in ("", "page/study.js", "state"):
        assert one not in client.get(f"/{other}/{path}").text


def test_nothing_served_tells_which_model_is_where(folder: Path) -> None:
    client, token = served(folder), tokens(folder)[0]
    choose(client, token, "0001", "left")
    state = client.get(f"/{token}/state")
    for text in (state.text, client.get(f"/{token}/").text, client.get(f"/{token}/page/study.js").text):
        assert "tuned" not in text
        assert "prompt_id" not in text
    assert set(state.json()["pairs"][0]) == {"pair", "prompt", "left", "right"}


def test_the_key_is_never_opened_by_the_server(folder: Path) -> None:
    (folder / KEY).unlink()
    client, token = served(folder), tokens(folder)[0]
    assert choose(client, token, "0001", "left").status_code == 200
    for name in (KEY, STUDY, "raters.json", "answers/rater-001.jsonl"):
        for path in (f"/{name}", f"/{token}/{name}", f"/{token}/images/{name}", f"/{token}/images/..%2f{name}"):
            assert client.get(path).status_code == 404, path


@pytest.mark.parametrize("token", ["nobody", "", "..", "%00", "a" * 3000, "favicon.ico"])
@pytest.mark.parametrize("path", ["", "/", "/state", "/images/0001-left.png", "/page/study.js"])
def test_unknown_links_lead_nowhere(folder: Path, token: str, path: str) -> None:
    found = served(folder).get(f"/{token}{path}", follow_redirects=False)
    assert (found.status_code, found.text) == (404, "there is no such page")


def test_answers_under_unknown_links_are_not_taken(folder: Path) -> None:
    client = served(folder)
    assert choose(client, "nobody", "0001", "left").status_code == 404
    with pytest.raises(UserError, match="no answers yet"):
        gather(folder)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "Invalid JSON"),
        (b'{"pair": "0001", "question": "alignment"}', "choice is missing"),
        (
            b'{"pair": "0001", "question": "alignment", "choice": "both"}',
            "choice is not allowed: Input should be 'left'",
        ),
        (b'{"pair": "0001", "question": "beauty", "choice": "tie"}', "question is not allowed: Input should be"),
        (b'{"pair": "../../key", "question": "quality", "choice": "tie"}', "pair is not allowed: String should match"),
        (b'{"pair": "0099", "question": "quality", "choice": "tie"}', "there is no pair 0099"),
        (
            b'{"pair": "0001", "question": "quality", "choice": "tie", "name": "me"}',
            "name is not allowed: Extra inputs",
        ),
        (b" " * (LONGEST_BODY + 1), "no length up to"),
    ],
)
def test_what_is_no_answer_is_refused_in_one_line(folder: Path, body: bytes, message: str) -> None:
    client, token = served(folder), tokens(folder)[0]
    found = client.post(f"/{token}/answers", content=body, headers={"Content-Type": "application/json"})
    assert found.status_code == 400
    assert message in found.text
    assert "\n" not in found.text
    assert client.get(f"/{token}/state").json()["answers"] == []


def test_a_form_of_another_page_gives_no_answer(folder: Path) -> None:
    client, token = served(folder), tokens(folder)[0]
    body = json.dumps({"pair": "0001", "question": "quality", "choice": "tie"})
    plain = client.post(f"/{token}/answers", content=body, headers={"Content-Type": "text/plain"})
    assert (plain.status_code, "no JSON" in plain.text) == (400, True)
    for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}, {"Origin": "null"}):
        assert client.get(f"/{token}/", headers=headers).status_code == 403
    assert client.get(f"/{token}/", headers={"Origin": ADDRESS}).status_code == 200


def test_an_answer_that_the_disk_does_not_take_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    client, token = served(folder), tokens(folder)[0]
    with monkeypatch.context() as patch:
        patch.setattr("stages.studies.preference.answers.os.pwrite", full)
        found = choose(client, token, "0001", "left")
    assert (found.status_code, found.text) == (503, NOT_SAVED)
    assert "No space left" in capsys.readouterr().err
    assert client.get(f"/{token}/state").json()["answers"] == []
    assert choose(client, token, "0001", "left").status_code == 200


def test_the_page_runs_its_own_script_only(folder: Path) -> None:
    client, token = served(folder), tokens(folder)[0]
    found = client.get(f"/{token}/")
    policy = found.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert found.headers["Referrer-Policy"] == "no-referrer"  # the link is the rater's secret
    assert found.headers["Cache-Control"] == "no-store"
    assert HOSTILE not in found.text
    assert client.get(f"/{token}").status_code == 200
    assert client.get(f"/{token}/page/study.js").headers["Content-Type"].startswith("text/javascript")
    image = client.get(f"/{token}/images/0001-left.png")
    assert image.headers["Content-Type"] == "image/png"
    assert image.content.startswith(b"\x89PNG")


def test_whole_answers_give_whole_results(folder: Path) -> None:
    client = served(folder)
    key = read_key(folder, read_study(folder))
    for token in tokens(folder):
        for pair, secret in key.pairs.items():
            choose(client, token, pair, secret.tuned)
    (alignment,) = gather(folder).questions
    assert alignment.counts == {"tuned": 18, "tie": 0, "base": 0}


class TestServer:
    """Addresses and links."""

    def test_links_are_as_many_as_raters_and_stay(self, folder: Path) -> None:
        with StudyServer(folder, 2, 0) as server:
            first = server.links()
            assert len(first) == 3  # there were three
            assert all(link.startswith(f"http://127.0.0.1:{server.port}/") and link.endswith("/") for link in first)
        with StudyServer(folder, 5, 0, address="https://study.example.org/") as server:
            more = server.links()
        assert [link.rsplit("/", 2)[1] for link in more[:3]] == [link.rsplit("/", 2)[1] for link in first]
        assert more[4].startswith("https://study.example.org/")

    def test_all_addresses_of_a_machine_have_no_link(self, folder: Path) -> None:
        with pytest.raises(UserError, match=r"links need an address .*--address URL"):
            StudyServer(folder, 1, 0, host="0.0.0.0")

    @pytest.mark.parametrize(
        "address",
        ["study.example.org", "ftp://a", "http://", "http://a:99999", "http://a/b", "http://u@a", "http://[a"],
    )
    def test_what_is_no_address_is_refused(self, address: str) -> None:
        with pytest.raises(UserError, match="is no address"):
            checked_address(address)


def test_serving_loads_no_model_library() -> None:
    """So that the folder may be served from any small machine."""
    program = (
        "import sys, flows.pages.study.server; print(sorted({'torch', 'diffusers', 'prefect'} & set(sys.modules)))"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert finished.stdout.strip() == "[]"
