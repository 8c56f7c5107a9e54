"""The source registry: complete entries, and files that are verified before anybody reads them."""

import hashlib
from pathlib import Path

import pytest

from comat_core.support.errors import UserError
from data.downloading.checksums import file_digest, verify
from data.downloading.downloads import fetch
from data.prompt_sources import GENERATORS, draw, read_prompt_set
from data.readers import READERS
from data.registry import PromptSet, Source, all_sets, listed_checksums, load_sources, select_sets

PROMPTS = b"a red cat\r\na blue dog\r\n"
DIGEST = hashlib.sha256(PROMPTS).hexdigest()


@pytest.fixture
def source() -> Source:
    """A source of one file."""
    prompt_set = PromptSet(name="train", path="lists/deep/train.txt", checksum=f"sha256:{DIGEST}", skill="color")
    return Source(
        name="example",
        title="",
        homepage="",
        citation="",
        licence=None,
        base_url="https://example.org/",
        sets=(prompt_set,),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "example").mkdir()
    (tmp_path / "example" / "train.txt").write_bytes(PROMPTS)
    return tmp_path


def test_every_set_can_be_found_read_and_verified() -> None:
    for source, prompt_set in all_sets():
        assert prompt_set.reader in READERS or prompt_set.reader in GENERATORS, prompt_set.name
        if prompt_set.reader in READERS:
            assert prompt_set.checksum or listed_checksums(prompt_set), f"{source.name}/{prompt_set.name}"
            assert source.base_url.startswith("https://")
            assert source.revision is None or source.revision in source.base_url


def test_sets_of_the_training_mixture_have_the_known_sizes() -> None:
    sizes = {f"{source.name}/{prompt_set.name}": prompt_set.prompts for source, prompt_set in all_sets()}
    assert sum(sizes[f"t2i_compbench/{name}_train"] or 0 for name in ("color", "shape", "texture")) == 2100
    assert sizes["comat/hrs_collected"] == 10_002
    assert sizes["abc6k/prompts"] == 6434
    assert len([name for name in sizes if name.startswith("hrs_bench/")]) == 12, "11 files, one with two columns"
    assert sizes["dpg_bench/prompts"] == len(listed_checksums(select_sets("dpg_bench/prompts")[0][1])) == 1065


def test_unlicensed_sources_say_so() -> None:
    assert {name for name, source in load_sources().items() if source.licence is None} == {"comat", "hrs_bench"}


def test_patterns_select_sets() -> None:
    names = [prompt_set.name for _, prompt_set in select_sets("t2i_compbench/*_val")]
    assert len(names) == 8
    assert all(name.endswith("_val") for name in names)
    with pytest.raises(UserError, match="no prompt set matches"):
        select_sets("t2i_compbench/colour_val")


def test_local_files_are_found_with_or_without_leading_folders(source: Source, folder: Path, tmp_path: Path) -> None:
    (short,) = fetch(source, source.sets[0], str(folder), tmp_path / "cache")
    assert short.read_bytes() == PROMPTS
    full = folder / "example" / "lists" / "deep" / "train.txt"
    full.parent.mkdir(parents=True)
    full.write_bytes(PROMPTS)
    assert fetch(source, source.sets[0], str(folder), tmp_path / "cache") == [full]


def test_remote_folders_are_copied_to_the_cache(source: Source, folder: Path, tmp_path: Path) -> None:
    (copied,) = fetch(source, source.sets[0], folder.as_uri(), tmp_path / "cache")
    assert copied.read_bytes() == PROMPTS
    assert (tmp_path / "cache") in copied.parents


def test_remote_files_are_copied_once_and_again_when_the_copy_is_damaged(
    source: Source, folder: Path, tmp_path: Path
) -> None:
    remote = folder / "example" / "train.txt"
    (copied,) = fetch(source, source.sets[0], folder.as_uri(), tmp_path / "cache")
    remote.rename(tmp_path / "away.txt")
    assert fetch(source, source.sets[0], folder.as_uri(), tmp_path / "cache") == [copied]
    copied.write_bytes(PROMPTS[:5])
    with pytest.raises(UserError, match="example/train is missing"):
        fetch(source, source.sets[0], folder.as_uri(), tmp_path / "cache")
    (tmp_path / "away.txt").rename(remote)
    assert fetch(source, source.sets[0], folder.as_uri(), tmp_path / "cache") == [copied]
    assert copied.read_bytes() == PROMPTS


def test_remote_folders_that_cannot_be_read_are_told(source: Source, folder: Path, tmp_path: Path) -> None:
    (folder / "example" / "lists" / "deep" / "train.txt").mkdir(parents=True)
    with pytest.raises(UserError, match=r"cannot read the folder of prompt files.*lists/deep/train\.txt"):
        fetch(source, source.sets[0], folder.as_uri(), tmp_path / "cache")
    with pytest.raises(UserError, match="cannot read the folder of prompt files"):
        fetch(source, source.sets[0], "nowhere://prompts", tmp_path / "cache")


def test_downloads_are_verified_and_cached(source: Source, folder: Path, tmp_path: Path) -> None:
    online = source.model_copy(update={"base_url": f"{folder.as_uri()}/"})
    published = folder / "lists" / "deep" / "train.txt"
    published.parent.mkdir(parents=True)
    published.write_bytes(PROMPTS)
    (first,) = fetch(online, online.sets[0], None, tmp_path / "cache")
    published.unlink()
    assert fetch(online, online.sets[0], None, tmp_path / "cache") == [first]
    first.write_bytes(PROMPTS + b"x")
    with pytest.raises(UserError, match="not the one that the registry knows"):
        fetch(online, online.sets[0], None, tmp_path / "cache")


def test_failed_downloads_leave_nothing_behind(source: Source, folder: Path, tmp_path: Path) -> None:
    online = source.model_copy(update={"base_url": f"{folder.as_uri()}/"})
    with pytest.raises(UserError, match="the download failed"):
        fetch(online, online.sets[0], None, tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_one_changed_byte_is_refused(source: Source, folder: Path) -> None:
    (folder / "example" / "train.txt").write_bytes(PROMPTS.replace(b"red", b"rad"))
    with pytest.raises(
        UserError, match=r"not the one that the registry knows.*https://example\.org/lists/deep/train\.txt"
    ):
        list(read_prompt_set(source, source.sets[0], seed=0, local_folder=str(folder)))


def test_missing_file_is_named_with_its_address(source: Source, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"example/train is missing.*https://example\.org/lists/deep/train\.txt"):
        list(read_prompt_set(source, source.sets[0], seed=0, local_folder=str(tmp_path)))


def test_read_prompts_carry_the_skill_of_their_set(source: Source, folder: Path) -> None:
    prompts = list(read_prompt_set(source, source.sets[0], seed=0, local_folder=str(folder)))
    assert prompts == [("a red cat", "color"), ("a blue dog", "color")]


def test_git_blob_checksum_is_what_git_computes(tmp_path: Path) -> None:
    file = tmp_path / "hello"
    file.write_bytes(b"hello\n")
    assert file_digest(file, "git-blob") == "ce013625030ba8dba906f756967f9e9ca394464a"
    verify(file, "git-blob:ce013625030ba8dba906f756967f9e9ca394464a", remedy="")


def test_draws_follow_the_seed_and_keep_the_order() -> None:
    def read_all():
        return iter([(str(number), None) for number in range(100)])

    drawn = [[int(text) for text, _ in draw(read_all, 10, seed, "x")] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0] == sorted(set(drawn[0]))
    with pytest.raises(UserError, match="101 prompts wanted of x, which has 100"):
        list(draw(read_all, 101, 0, "x"))
