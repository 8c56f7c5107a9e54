import pytest

from comat_core.scorers.sentence_similarity import SentenceSimilarity
from comat_core.support.errors import UserError
from tests.tiny_segmenters import save_tiny_bert


def test_a_sentence_is_nearest_to_itself_and_padding_does_not_count(tmp_path):
    similarity = SentenceSimilarity.load(save_tiny_bert(tmp_path / "bert"))
    alone = similarity("a red circle", ["a red circle", "a dog"])
    assert alone[0] == pytest.approx(1.0, abs=1e-5)
    assert alone[1] < alone[0]
    padded = similarity("a red circle", ["a red circle", "a dog", "how many striped white squares is the dog above"])
    assert padded[:2] == pytest.approx(alone, abs=1e-5)


def test_a_folder_without_an_encoder_is_told(tmp_path):
    with pytest.raises(UserError, match="cannot load the sentence encoder"):
        SentenceSimilarity.load(str(tmp_path))
