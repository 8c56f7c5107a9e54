"""Folders of images in T2I-CompBench's layout, or with a list: which file shows which prompt."""

import json
import unicodedata
from pathlib import Path

import pytest

from comat_core.support.errors import UserError
from stages.images.image_folders import file_name, read_folder
from stages.images.image_manifests import read_manifest, write_manifest

STAR, SQUARE = "a green star", "a blue square"
LONG = "a cat " * 60 + "on a mat"
SLASH = "a cat and/or a dog"


def put(folder: Path, *names: str) -> None:
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def found(folder: Path, *prompts: str) -> list[str]:
    files = read_folder(folder, [{"text": prompt} for prompt in prompts])
    return [str(file.relative_to(folder)) for file in files]


def refusal(folder: Path, *prompts: str) -> str:
    with pytest.raises(UserError) as caught:
        found(folder, *prompts)
    return str(caught.value)


def test_only_samples_count_where_there_is_such_a_folder(tmp_path: Path) -> None:
    """The benchmark's scripts write depth maps and boxes under the names of the images."""
    names = [f"{STAR}_000000.png", f"{SQUARE}_000001.png"]
    put(tmp_path, *(f"samples/{name}" for name in names), *(f"labels/depth/{name}" for name in names), *names)
    assert found(tmp_path, STAR, SQUARE) == [f"samples/{name}" for name in names]
    put(tmp_path, f"depth/{STAR}_000002.png")
    assert "image 2 of the prompt 'a green star' is missing" in refusal(tmp_path, STAR, STAR)


def test_samples_of_each_skill_are_found_too(tmp_path: Path) -> None:
    put(tmp_path, f"color/samples/{STAR}_000000.png", f"color/labels/{STAR}_000001.png", "shape/samples/x_000000.png")
    assert found(tmp_path, STAR) == [f"color/samples/{STAR}_000000.png"]
    assert "is missing" in refusal(tmp_path, STAR, STAR)


def test_hidden_folders_do_not_count(tmp_path: Path) -> None:
    put(tmp_path, f"{STAR}_000000.png", f".ipynb_checkpoints/{STAR}_000000.png", f"._{STAR}_000001.png")
    assert found(tmp_path, STAR) == [f"{STAR}_000000.png"]
    assert "image 2" in refusal(tmp_path, STAR, STAR)


def test_two_files_of_one_prompt_and_number_are_refused(tmp_path: Path) -> None:
    put(tmp_path, f"sd/{STAR}_000000.png", f"sdxl/{STAR}_000000.png", f"sdxl/{SQUARE}_000001.png")
    line = refusal(tmp_path, STAR)
    assert f"two files stand for one image, sd/{STAR}_000000.png and sdxl/{STAR}_000000.png ({tmp_path})" in line
    assert "name a folder with the images of one generator alone" in line
    assert found(tmp_path, SQUARE) == [f"sdxl/{SQUARE}_000001.png"], "other prompts' files do not matter"
    put(tmp_path, "a  green star_000003.png", "sd/a green\u00a0star_000003.png")
    assert "two files stand for one image" in refusal(tmp_path, STAR)


def test_names_in_decomposed_unicode_are_found(tmp_path: Path) -> None:
    prompt = "a caf\u00e9 by the sea\u0301"
    put(
        tmp_path,
        unicodedata.normalize("NFD", f"{prompt}_000000.png"),
        unicodedata.normalize("NFC", f"{prompt}_000001.png"),
    )
    for text in (prompt, unicodedata.normalize("NFC", prompt)):
        assert len(found(tmp_path, text, text)) == 2


def test_numbers_have_six_digits(tmp_path: Path) -> None:
    put(tmp_path, f"{STAR}_00000.png", f"{STAR}_\u0660\u0660\u0660\u0660\u0660\u0660.png", f"{STAR}.png")
    line = refusal(tmp_path, STAR)
    assert "image 1 of the prompt 'a green star' is missing" in line
    assert "put it there as <prompt>_<6 digits>.png, or list all images in a manifest.csv there" in line


@pytest.mark.parametrize("prompt", [LONG, SLASH, "\u00e9" * 130])
def test_no_file_is_asked_for_that_cannot_exist(tmp_path: Path, prompt: str) -> None:
    line = refusal(tmp_path, prompt)
    assert "no file can be called so: list all images in a manifest.csv there, with the columns prompt and file" in line
    assert "digits" not in line


def test_names_of_files_that_the_layout_cannot_hold() -> None:
    assert file_name("a red cat", 12) == "a red cat_000012.png"
    with pytest.raises(UserError, match=r"'/' in a prompt cannot be part of a file's name.*add --manifest"):
        file_name("a cat and/or a dog", 0)
    with pytest.raises(UserError, match="'_' in a prompt"):
        file_name("a cat_000001", 0)
    assert file_name("x" * 244, 0)
    with pytest.raises(UserError, match="a prompt of 245 bytes is too long for a file's name"):
        file_name("x" * 245, 0)


class TestLists:
    """manifest.csv and manifest.json."""

    def test_a_list_gives_prompts_their_files_in_its_order(self, tmp_path: Path) -> None:
        text = f'prompt,file\n"{LONG}",b.png\n{STAR},deep/1.webp\n"{LONG}",a.png\n{SLASH},deep/0.jpg\n'
        (tmp_path / "manifest.csv").write_text(text)
        put(tmp_path, f"{STAR}_000000.png")
        expected = ["b.png", "a.png", "deep/0.jpg", "deep/1.webp"]
        assert found(tmp_path, LONG, LONG, SLASH, STAR) == expected
        entries = [(LONG, "b.png"), (LONG, "a.png"), (SLASH, "deep/0.jpg"), (STAR, "deep/1.webp")]
        (tmp_path / "manifest.csv").unlink()
        (tmp_path / "manifest.json").write_text(json.dumps([{"prompt": p, "file": f, "seed": 1} for p, f in entries]))
        assert found(tmp_path, LONG, LONG, SLASH, STAR) == expected

    def test_prompts_are_compared_as_the_run_has_them(self, tmp_path: Path) -> None:
        decomposed = unicodedata.normalize("NFD", "a caf\u00e9")
        (tmp_path / "manifest.csv").write_text(f"\ufefffile,prompt\n{decomposed}.png, {decomposed}\u200b  bar\n")
        put(tmp_path, "a caf\u00e9.png")
        assert found(tmp_path, "a caf\u00e9 bar") == ["a caf\u00e9.png"]

    def test_what_is_written_is_read_again(self, tmp_path: Path) -> None:
        entries = [(LONG, "000000.png"), ('a "cat", red', "000001.png"), (SLASH, "000002.png")]
        write_manifest(tmp_path, entries)
        files = read_manifest(tmp_path / "manifest.csv")
        assert [(prompt, [file.name for file in files[prompt.strip()]]) for prompt, _ in entries] == [
            (prompt, [name]) for prompt, name in entries
        ]

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("manifest.csv", "prompt\na cat\n", "no column 'file'"),
            ("manifest.csv", "prompt,file\na cat,b.png,c.png\n", "3 cells under 2 columns.*line 2"),
            ("manifest.csv", 'prompt,file\n"a cat,b.png\n', "malformed CSV.*line 2"),
            ("manifest.csv", "prompt,file\na cat\n", "'' names no file below.*line 2"),
            ("manifest.csv", "prompt,file\na cat,../b.png\n", "names no file below.*line 2"),
            ("manifest.csv", "prompt,file\n ,b.png\n", "an image without a prompt.*line 2"),
            ("manifest.csv", "prompt,file\n", "image 1 of the prompt 'a cat' is missing.*manifest.csv.*add its prompt"),
            ("manifest.json", "{}", "holds no JSON list"),
            ("manifest.json", '[{"prompt": "a cat"}]', "an item without the texts prompt and file.*item 1"),
            ("manifest.json", '[{"prompt": "a cat", "file": 3}]', "an item without the texts prompt and file.*item 1"),
            ("manifest.json", '[{"prompt": "\\ud83d", "file": "b.png"}]', "half a character"),
            ("manifest.json", "[3]", "an item without the texts prompt and file.*item 1"),
            ("manifest.json", "[", "malformed JSON"),
        ],
    )
    def test_odd_lists_are_told_with_the_place(self, tmp_path: Path, name: str, content: str, message: str) -> None:
        (tmp_path / name).write_text(content)
        with pytest.raises(UserError, match=message):
            found(tmp_path, "a cat")

    def test_there_is_one_list(self, tmp_path: Path) -> None:
        put(tmp_path, "manifest.csv", "manifest.json")
        assert "there are two lists of images, manifest.csv and manifest.json" in refusal(tmp_path, STAR)
