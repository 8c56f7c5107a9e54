"""Images of the store: written and read without loss, and told if they are damaged."""

import numpy as np
import pytest
import torch

from comat_core.support.errors import UserError
from stages.evaluate.scoring.images.generated_images import decode_images
from stages.images.png import decode_png, encode_png
from tests.pictures import natural_picture


def test_an_image_is_read_as_it_was_written() -> None:
    picture = natural_picture(12, 16)
    png = encode_png(picture)
    levels = (picture * 255).round().byte().permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(np.asarray(decode_png(png)), levels)
    torch.testing.assert_close(decode_images([png])[0], picture)


@pytest.mark.parametrize("png", [b"", encode_png(natural_picture(12, 16))[:60], b"no image" * 20])
def test_a_damaged_image_is_told_with_what_to_do(png: bytes) -> None:
    for read in (decode_png, lambda content: decode_images([content])):
        with pytest.raises(UserError, match=r"the image cannot be decoded: .*the store\): find .* with `comat verify`"):
            read(png)
