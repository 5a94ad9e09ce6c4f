"""Large images cut into tiles: nothing lost, nothing moved, no split through an image."""

import numpy as np
import pytest
from PIL import Image

from mstl.data import load
from mstl.data.tiles import cut_folder, full_size, tiles
from mstl.system.errors import InputError


def save(folder, stem, size=(40, 70), seed=0, **options):
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
    mask = (generator.random(size) > 0.8).astype(np.uint8) * 255
    for kind, picture in (("images", pixels), ("masks", mask)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / kind / f"{stem}.png", **options)
    return pixels, mask


@pytest.mark.parametrize("full", [(40, 70), (16, 24), (17, 47), (100, 25)])
def test_tiles_cover_every_pixel_and_are_the_fewest_that_can(full):
    size, seen = (16, 24), np.zeros(full, dtype=int)
    places = tiles(full, size)
    for _, _, rows, columns in places:
        assert seen[rows, columns].shape == size
        seen[rows, columns] += 1
    assert seen.min() == 1 and len(places) == -(-full[0] // 16) * -(-full[1] // 24)
    assert len({(i, j) for i, j, *_ in places}) == len(places)


def test_a_tile_is_a_piece_of_its_image_and_of_its_mask(tmp_path):
    pixels, mask = save(tmp_path / "large", "eye_1")
    count = cut_folder(tmp_path / "large", tmp_path / "out", (16, 24))
    assert count == 9
    for i, j, rows, columns in tiles((40, 70), (16, 24)):
        for kind, whole in (("images", pixels), ("masks", mask)):
            piece = np.asarray(Image.open(tmp_path / "out" / kind / f"eye_1_r{i}c{j}.png"))
            assert np.array_equal(piece, whole[rows, columns])


def test_the_tiles_of_an_image_are_of_its_group(tmp_path):
    for seed, stem in enumerate(["left_1", "left_2", "alone"]):
        save(tmp_path / "large", stem, size=(48, 80), seed=seed)
    cut_folder(tmp_path / "large", tmp_path / "deep/out", (24, 40))
    domain = load("folder", (24, 40), tmp_path / "deep/out", tmp_path / "cache")
    assert sorted(set(domain.groups.tolist())) == ["alone", "left"] and len(domain) == 12
    # Read at its own size a tile is not stretched: every mask is what was saved.
    whole = np.asarray(Image.open(tmp_path / "large/masks/alone.png")) // 255
    cut = [domain.masks[i, 0].numpy() for i in np.flatnonzero(domain.groups == "alone")]
    assert np.array_equal(np.block([[cut[0], cut[1]], [cut[2], cut[3]]]), whole)


def test_an_image_that_lies_on_its_side_is_cut_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels, _ = save(tmp_path / "large", "a", size=(16, 32), exif=exif)
    assert full_size(tmp_path / "large/images/a.png") == (32, 16)
    Image.fromarray(np.zeros((32, 16), np.uint8)).save(tmp_path / "large/masks/a.png")
    cut_folder(tmp_path / "large", tmp_path / "out", (32, 16))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out/images/a_r0c0.png")), np.rot90(pixels, -1))


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((48, 24), r"a\.png has 40x70 pixels .* too few for a tile of 48x24"),
        ((16, 20), "multiples of 8"),
    ],
)
def test_a_size_that_fits_no_image_is_refused_before_anything_is_written(tmp_path, size, message):
    save(tmp_path / "large", "a")
    with pytest.raises(InputError, match=message):
        cut_folder(tmp_path / "large", tmp_path / "out", size)
    assert not (tmp_path / "out").exists()


def test_what_exists_is_not_overwritten_and_what_fails_leaves_nothing(tmp_path):
    save(tmp_path / "large", "a")
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match=r"out: .*out exists already"):
        cut_folder(tmp_path / "large", tmp_path / "out", (16, 24))
    damaged = tmp_path / "large/masks/a.png"
    damaged.write_bytes(damaged.read_bytes()[:60])
    with pytest.raises(InputError, match=r"masks.a\.png is damaged"):
        cut_folder(tmp_path / "large", tmp_path / "new", (16, 24))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["large", "out"]


def test_masks_that_are_of_no_image_are_named(tmp_path):
    save(tmp_path / "large", "a")
    save(tmp_path / "large", "b")
    (tmp_path / "large/masks/b.png").rename(tmp_path / "large/masks/c.png")
    with pytest.raises(InputError, match="mask without image: c"):
        cut_folder(tmp_path / "large", tmp_path / "out", (16, 24))
