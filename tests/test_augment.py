"""Augmentation: one affine and one colour map per image, the same geometry for image, mask and parts."""

import math

import pytest
import torch
import torchvision.transforms.v2.functional as v2
from torchvision.transforms import InterpolationMode

from mstl.data.augment import Augment, Draw, luma, sampling_grid, to_float, transform
from mstl.system.errors import InputError

GEOMETRY = Augment(brightness=0, contrast=0, saturation=0, tint=0)
COLOUR = Augment(flip=0, scale=0, shift=0, rotate=0)
STRONG = Augment(scale=0.5, shift=0.3, rotate=90, brightness=0.9, contrast=0.9, saturation=0.9, tint=0.9)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pixels(n=6, height=32, width=48, seed=0):
    """Smooth colour images with one object of three parts each."""
    g = generator(seed)
    coarse = torch.rand(n, 3, 5, 7, generator=g)
    images = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)
    parts = torch.zeros(n, 1, height, width, dtype=torch.uint8)
    for i in range(n):
        top, left = (int(torch.randint(0, size // 2, (1,), generator=g)) for size in (height, width))
        for k in range(3):
            parts[i, :, top : top + height // 3, left + 5 * k : left + 5 * k + 5] = k + 1
    return (images.clamp(0, 1) * 255).to(torch.uint8), (parts > 0).to(torch.uint8), parts


def still(n, **changes):
    """A draw that changes nothing but what is named."""
    one, zero = torch.ones(n), torch.zeros(n)
    draw = Draw(zero.bool(), one, torch.zeros(n, 2), zero, torch.ones(n, 3), one, one)
    return draw._replace(**changes)


def test_to_float_maps_the_grey_scale_to_minus_two_and_two():
    values = to_float(torch.tensor([0, 51, 255], dtype=torch.uint8))
    torch.testing.assert_close(values, torch.tensor([-2.0, -1.2, 2.0]))
    assert values.dtype == torch.float32


def test_to_float_takes_bytes_only_and_leaves_them_alone():
    images = torch.full((2, 3, 4, 4), 7, dtype=torch.uint8)
    to_float(images)
    assert (images == 7).all()
    with pytest.raises(InputError, match="uint8"):
        to_float(torch.zeros(3))


def test_no_augmentation_is_exactly_to_float():
    images, masks, parts = pixels()
    result = transform(images, Augment.none().draw(len(images), generator()), masks, parts)
    assert torch.equal(result.images, to_float(images))
    assert torch.equal(result.plain, to_float(images))
    assert torch.equal(result.masks, masks.float())
    assert torch.equal(result.parts, parts)


def test_a_flip_is_exact_and_its_own_inverse():
    images, masks, parts = pixels()
    only = Augment(**{**vars(Augment.none()), "flip": 1.0})
    once = transform(images, only.draw(len(images), generator()), masks, parts)
    assert torch.equal(once.images, to_float(v2.horizontal_flip(images)))
    twice = transform(images.flip(-1), only.draw(len(images), generator(1)), masks.flip(-1), parts.flip(-1))
    assert torch.equal(twice.images, to_float(images))
    assert torch.equal(twice.masks, masks.float())
    assert torch.equal(twice.parts, parts)


@pytest.mark.parametrize("size", [(32, 48), (48, 32), (16, 16)])
def test_geometry_agrees_with_torchvision_image_by_image(size):
    height, width = size
    images, masks, _ = pixels(5, height, width)
    draw = Augment(flip=0.5, scale=0.3, shift=0.1, rotate=30).draw(5, generator(3))
    result = transform(images, draw, masks)
    inside = (sampling_grid(draw, height, width).abs() < 1 - 2 / min(size)).all(-1)
    assert inside.float().mean() > 0.3
    for i in range(5):
        x, m = (t[i].flip(-1) if draw.flip[i] else t[i] for t in (images, masks))
        shift = (draw.shift[i] * torch.tensor([width, height])).tolist()
        affine = (float(draw.angle[i]), shift, float(draw.scale[i]), [0.0, 0.0])
        expected = v2.affine(to_float(x), *affine, interpolation=InterpolationMode.BILINEAR)
        torch.testing.assert_close(result.plain[i][:, inside[i]], expected[:, inside[i]], atol=2e-4, rtol=0)
        nearest = v2.affine(m.float(), *affine, interpolation=InterpolationMode.NEAREST)
        agree = (result.masks[i] == nearest)[:, inside[i]].float().mean()
        assert agree > 0.99  # ties between two pixels may fall either way


def test_a_shift_by_whole_pixels_copies_pixels():
    images, masks, _ = pixels(1, 32, 48)
    result = transform(images, still(1, shift=torch.tensor([[6 / 48, -4 / 32]])), masks)
    torch.testing.assert_close(result.plain[..., :-4, 6:], to_float(images)[..., 4:, :-6], atol=1e-4, rtol=0)
    assert torch.equal(result.masks[..., :-4, 6:], masks[..., 4:, :-6].float())


def test_an_object_cut_by_the_edge_continues_in_image_and_mask():
    images = torch.full((8, 3, 32, 48), 200, dtype=torch.uint8)
    masks = torch.ones(8, 1, 32, 48, dtype=torch.uint8)
    result = transform(images, STRONG.draw(8, generator()), masks)
    assert (result.masks == 1).all()
    torch.testing.assert_close(result.plain, to_float(images), atol=1e-4, rtol=0)


def test_brightness_is_torchvisions_bit_for_bit():
    images = to_float(pixels()[0])
    assert torch.equal(luma(images), v2.rgb_to_grayscale(images))


@pytest.mark.parametrize("seed", range(4))
def test_mask_and_parts_stay_consistent(seed):
    images, masks, parts = pixels(seed=seed)
    result = transform(images, STRONG.draw(len(images), generator(seed)), masks, parts)
    assert torch.equal(result.masks, (result.parts > 0).float())
    assert set(result.parts.unique().tolist()) <= {0, 1, 2, 3}
    assert not torch.equal(result.masks, masks.float())


def test_mask_follows_the_image():
    _, masks, _ = pixels()
    images = (masks * 255).expand(-1, 3, -1, -1)
    result = transform(images, GEOMETRY.draw(len(images), generator()), masks)
    grey = result.plain[:, :1]
    assert (result.masks[grey > 1.99] == 1).all()
    assert (result.masks[grey < -1.99] == 0).all()


def test_masks_of_the_first_images_only():
    images, masks, _ = pixels()
    draw = Augment().draw(len(images), generator())
    some, full = transform(images, draw, masks[:2]), transform(images, draw, masks)
    assert torch.equal(some.images, full.images)
    assert torch.equal(some.masks, full.masks[:2])
    assert transform(images, draw, masks[:0]).masks.shape == (0, 1, 32, 48)


def test_plain_has_the_geometry_and_no_colour_change():
    images, _, _ = pixels()
    colour = COLOUR.draw(len(images), generator())
    result = transform(images, colour)
    assert torch.equal(result.plain, to_float(images))
    assert not torch.equal(result.images, result.plain)
    both = Augment().draw(len(images), generator())
    still_coloured = still(len(images), **{k: getattr(both, k) for k in ("flip", "scale", "shift", "angle")})
    assert torch.equal(transform(images, both).plain, transform(images, still_coloured).images)


def test_colour_is_the_formula_image_by_image():
    images = pixels()[0] // 4 + 96  # far from black and white: nothing is clipped
    draw = Augment(0, 0, 0, 0, 0.1, 0.2, 0.3, 0.1).draw(len(images), generator())
    result = transform(images, draw).images
    for i, x in enumerate(images.float() / 255):
        lit = x * draw.gain[i, :, None, None]
        vivid = v2.adjust_saturation(lit, float(draw.saturation[i]))
        expected = float(draw.contrast[i]) * (vivid - 0.5) + 0.5
        torch.testing.assert_close(result[i], 4 * (expected - 0.5), atol=2e-3, rtol=0)


def test_images_stay_in_range():
    images, _, _ = pixels()
    result = transform(images, STRONG.draw(len(images), generator())).images
    assert result.abs().max() <= 2


def test_draws_keep_to_their_ranges_and_differ_between_images():
    strength = Augment(0.3, 0.25, 0.1, 5, 0.2, 0.3, 0.4, 0.1)
    draw = strength.draw(4000, generator())
    assert abs(float(draw.flip.float().mean()) - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 4000)
    for values, low, high in (
        (draw.scale, 1 / 1.25, 1.25),
        (draw.shift, -0.1, 0.1),
        (draw.angle, -5, 5),
        (draw.contrast, 0.7, 1.3),
        (draw.saturation, 0.6, 1.4),
        (draw.gain, 0.8 * 0.9, 1.2 * 1.1),
    ):
        assert low <= values.min() < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < values.max() <= high
        assert len(values.unique()) > 3000


def test_an_image_does_not_depend_on_its_companions():
    images, masks, _ = pixels()
    assert all(
        torch.equal(a, b[:2])
        for a, b in zip(Augment().draw(2, generator()), Augment().draw(6, generator()), strict=True)
    )
    draw = Augment().draw(len(images), generator())
    alone = transform(images[2:3], Draw(*(value[2:3] for value in draw)), masks[2:3])
    together = transform(images, draw, masks)
    torch.testing.assert_close(alone.images[0], together.images[2], atol=1e-5, rtol=0)
    assert torch.equal(alone.masks[0], together.masks[2])


def test_the_input_and_the_global_generator_are_left_alone():
    images, masks, parts = pixels()
    before = [x.clone() for x in (images, masks, parts)]
    state = torch.get_rng_state()
    transform(images, Augment().draw(len(images), generator()), masks, parts)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(before, (images, masks, parts), strict=True))


def test_autocast_does_not_move_a_pixel():
    images, masks, _ = pixels()
    draw = Augment().draw(len(images), generator())
    plain = transform(images, draw, masks)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = transform(images, draw, masks)
    assert all(torch.equal(plain[k], cast[k]) for k in range(3))


def test_concatenated_draws_are_the_draws_in_order():
    parts = [Augment().draw(n, generator(n)) for n in (1, 3)]
    whole = Draw.cat(parts)
    assert torch.equal(whole.scale, torch.cat([parts[0].scale, parts[1].scale]))
    assert len(whole.flip) == 4


@pytest.mark.parametrize(
    "wrong",
    [{"flip": 1.5}, {"scale": -0.1}, {"shift": 0.6}, {"rotate": float("nan")}, {"tint": "much"}],
)
def test_a_strength_out_of_range_is_named(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Augment(**wrong)


def test_one_draw_per_image_is_required():
    with pytest.raises(InputError, match="2 draws for 6 images"):
        transform(pixels()[0], Augment().draw(2, generator()))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_gives_the_same_pictures():
    images, masks, parts = pixels()
    draw = Augment().draw(len(images), generator())
    cpu = transform(images, draw, masks, parts)
    gpu = transform(images.cuda(), draw, masks.cuda(), parts.cuda())
    torch.testing.assert_close(gpu.images.cpu(), cpu.images, atol=1e-3, rtol=0)
    assert (gpu.masks.cpu() != cpu.masks).float().mean() < 1e-3
    assert torch.equal(gpu.masks, (gpu.parts > 0).float())
