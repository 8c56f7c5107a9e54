import base64
import hashlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest

import stages.report as report
from comat_core.support.errors import UserError
from stages.attention.recording import SIDE, Recording
from stages.attention.tables import write_recordings
from stages.attention.words import ChosenPrompt, Word
from stages.report.pictures import attention
from stages.report.pictures.pictures import shown_picture
from stages.store.store import Store
from tests.stages.fake_run import (
    fidelity_summary,
    flat_png,
    images_table,
    make_artifact,
    metrics_table,
    prompts_table,
    summary,
)

HOSTILE = "<script>alert(\"x\")</script> & 'red' <img src=http://evil.example/x.png onerror=alert(1)>"
PROMPTS = [
    ("a", "a red circle and a blue square", "colour", "test"),
    ("b", HOSTILE, "<b>skill</b>", "test"),
    ("c", "a green star", "colour", "test"),
    ("f", "a circle", "fidelity", "fidelity"),
]
BINDING = {"base": {"a": 0.25, "b": 0.5, "c": 0.5}, "tuned": {"a": 0.75, "b": 0.25, "c": 0.5}}
IMAGES_CONFIG = {
    "seed": 3,
    "resolution": 32,
    "base": {"path": "org/<base>", "revision": None},
    "sampling": {"scheduler": "ddpm", "num_inference_steps": 3, "guidance_scale": 2.0},
}


class Page(HTMLParser):
    """Collects what a browser would make of the page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def items_table(samples=2):
    return pa.Table.from_pylist(
        [
            {
                "model": model,
                "prompt_id": prompt_id,
                "sample": sample,
                "questions": ["a <i>circle</i>?"],
                "answers": [score],
                "attribute_binding": score,
            }
            for model, scores in BINDING.items()
            for prompt_id, score in scores.items()
            for sample in range(samples)
        ]
    )


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "store"))


@pytest.fixture
def inputs(store):
    entity = {
        "prompt_id": "a",
        "noun": "circle",
        "attributes": ["red"],
        "noun_tokens": [3],
        "attribute_tokens": [2],
        "kept": True,
    }
    images = {
        model: make_artifact(
            store,
            "images",
            key=model,
            tables={
                "images/00000.parquet": images_table(
                    [
                        (prompt_id, split, sample, flat_png((shade, 10 * sample, ord(prompt_id)), side=32))
                        for prompt_id, _, _, split in PROMPTS
                        for sample in range(2)
                    ]
                )
            },
            config=IMAGES_CONFIG,
        )
        for model, shade in (("base", 10), ("tuned", 200))
    }
    return {
        "prompts": make_artifact(store, "prompts", tables={"prompts.parquet": prompts_table(PROMPTS)}),
        "entities": make_artifact(store, "entities", tables={"entities.parquet": pa.Table.from_pylist([entity])}),
        "train": make_artifact(store, "train", tables={"metrics.parquet": metrics_table()}, config={"note": HOSTILE}),
        **images,
        "evaluate.attributes": make_artifact(
            store,
            "evaluate.attributes",
            tables={"items.parquet": items_table()},
            documents={
                "summary.json": summary("attributes", {"attribute_binding": 0.417}, {"attribute_binding": 0.5}, 3)
            },
        ),
    }


def with_maps(store, inputs):
    """The inputs with both models' maps of one prompt, whose two words look at a corner each."""
    words = [Word("red", "attribute", [2]), Word("circle", "noun", [3])]
    prompts = [ChosenPrompt("a", PROMPTS[0][1], words)]
    made = {}
    for model, shade, attribute, noun in (("base", 10, 0.1, 0.2), ("tuned", 200, 0.05, 0.8)):
        maps = [np.zeros((SIDE, SIDE), dtype=np.float32) for _ in words]
        maps[0][-1, -1], maps[1][0, 0] = attribute, noun
        writer = store.writer("attention", model, {"version": 1, "config": IMAGES_CONFIG}, {})
        write_recordings(writer, 0, prompts, [Recording(flat_png((shade, 0, 0)), maps, [0.25] * 4)])
        made[f"attention.{model}"] = writer.finish()
    return inputs | made


def make_page(store, inputs, **settings):
    config = report.ReportConfig(resolution=32, seed=3, **settings)
    return report.run(config, inputs, store).read_bytes("report.html").decode()


def test_page_shows_scores_examples_curves_and_facts(store, inputs):
    text = make_page(store, inputs, title="My run")
    page = Page(text)
    words = " ".join(" ".join(page.text).split())
    assert "My run" in words
    assert "0.417" in words
    assert "+0.083" in words
    assert "[0.450, 0.550]" in words
    # The prompt that gained most stands among the gains, the one that lost most among the losses.
    gains, losses = words.index("Largest gains"), words.index("Largest losses")
    assert gains < words.index("a red circle and a blue square", gains) < losses
    assert losses < words.index(HOSTILE.split(" & ")[0], losses) < words.index("Random sample", losses)
    assert "concentration positive" in words
    assert "images.base" in words
    assert "torch" in words


def test_first_screen_warns_in_words_and_the_table_gives_the_scale(store, inputs):
    document = fidelity_summary({"dino": 1.53, "judge": 0.71}, remarks={"judge": "the judge sees little else"})
    inputs["evaluate.fidelity"] = make_artifact(store, "evaluate.fidelity", documents={"summary.json": document})
    text = make_page(store, inputs)
    page = Page(text)
    words = " ".join(" ".join(page.text).split())
    top, scores = words.index("Base and tuned"), words.index("All held-out prompts")
    warning = words.index("Fidelity got worse. The tuned model's images lie further from real ones", top)
    binding, fidelity = (words.index(title, warning) for title in ("Attribute binding, by VQA", "Fidelity, by indep"))
    assert warning < binding < fidelity < words.index("Random sample") < scores
    assert "2.000 → 3.060 × 1.530 [1.430, 1.630] worse" in words
    assert [attributes for attributes in page.all("p") if attributes.get("role") == "alert"]
    # Each network's distance is a row, no skill of anything, on a scale of its own.
    assert not [row for row in page.all("tr") if row.get("class") == "skill"]
    scale = "real images among themselves 0.125 [0.100, 0.150]"
    assert f"Fréchet distance, judge {scale} not independent: the judge sees little else" in words
    assert "on a scale from 0 to 3.2655" in text
    assert "on a scale from 0 to 2.1525" in text


def test_each_pair_of_images_comes_from_the_same_prompt_and_sample(store, inputs):
    page = Page(make_page(store, inputs, examples=1))
    shown = {
        image["alt"]: image["src"] for image in page.all("img") if image["alt"].startswith(("base model", "tuned"))
    }
    for model, shade in (("base", 10), ("tuned", 200)):
        for sample in range(2):
            alt = f"{model} model, image {sample}, of: a red circle and a blue square"
            assert shown[alt] == shown_picture(flat_png((shade, 10 * sample, ord("a")), side=32))


def test_prompts_settings_and_answers_are_escaped(store, inputs):
    text = make_page(store, inputs, title=HOSTILE)
    page = Page(text)
    assert len(page.all("script")) == 1
    assert not page.all("b") or "<b>skill</b>" not in text
    assert "<i>circle" not in text
    assert all(image["src"].startswith("data:image/") for image in page.all("img"))
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert any(row.get("data-text") == HOSTILE for row in page.all("tr"))


def test_page_asks_no_server_and_runs_its_own_script_only(store, inputs):
    text = make_page(store, inputs)
    page = Page(text)
    policy = next(
        meta["content"] for meta in page.all("meta") if "content" in meta and "default-src" in meta["content"]
    )
    script = re.search("<script>(.*?)</script>", text, re.DOTALL)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert policy == f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    assert not page.all("link")
    assert "url(" not in text
    assert "@import" not in text
    for _, attributes in page.tags:
        for name in ("src", "href", "action", "srcset"):
            assert attributes.get(name, "data:").startswith(("data:", "#"))


def test_page_does_without_evaluations(store, inputs):
    del inputs["evaluate.attributes"]
    words = " ".join(Page(make_page(store, inputs)).text)
    assert "Random sample" in words
    assert "Largest gains" not in words


def test_a_run_without_held_out_prompts_is_the_users_mistake(store, inputs):
    inputs["prompts"] = make_artifact(
        store, "prompts", key="other", tables={"prompts.parquet": prompts_table(PROMPTS[3:])}
    )
    with pytest.raises(UserError, match="no held-out prompts to show"):
        make_page(store, inputs)


def test_attention_shows_each_word_for_both_models_on_one_scale(store, inputs, monkeypatch):
    drawn = []

    def draw_overlay(png, heat, top):
        drawn.append((png, round(float(heat.max()), 3), round(top, 3)))
        return "data:image/jpeg;base64,"

    monkeypatch.setattr(attention, "draw_overlay", draw_overlay)
    monkeypatch.setattr(attention, "shown_picture", lambda _png: "data:image/png;base64,")
    words = " ".join(" ".join(Page(make_page(store, with_maps(store, inputs))).text).split())
    assert "Where each word looks" in words
    assert "over 3 steps" in words
    red, circle = drawn[:2], drawn[2:]
    assert [one[0] for one in red] == [flat_png((10, 0, 0)), flat_png((200, 0, 0))]
    assert red[0][2] == red[1][2] == pytest.approx(0.1)
    assert circle[0][2] == circle[1][2] == pytest.approx(0.8)
    assert circle[0][1] == pytest.approx(0.2)


def test_page_without_maps_has_no_attention(store, inputs):
    assert "Where each word looks" not in " ".join(Page(make_page(store, inputs)).text)


def test_the_report_needs_no_model_and_none_of_their_libraries(store, inputs):
    """In a process of its own, in which the libraries that all models are loaded by cannot be imported."""
    program = """
import json, sys
for name in ("diffusers", "transformers", "spacy", "groundingdino", "sentence_transformers", "torchmetrics"):
    sys.modules[name] = None
import stages.report as report
from stages.store.artifacts import Artifact
from stages.store.store import Store
url, given = json.load(sys.stdin)
inputs = {role: Artifact(**reference) for role, reference in given.items()}
page = report.run(report.ReportConfig(resolution=32, seed=3), inputs, Store(url)).read_bytes(report.PAGE).decode()
sys.exit(0 if "Where each word looks" in page else "no maps")
"""
    given = {role: artifact.model_dump() for role, artifact in with_maps(store, inputs).items()}
    finished = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps([store.url, given]),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stderr
