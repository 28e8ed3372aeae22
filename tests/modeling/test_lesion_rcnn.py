import pytest
import torch
from tiny_models import tiny_model

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def normalised(image):
    """By hand, as the author's code: ToTensor, then the ImageNet statistics."""
    unit = (image.float() / 255).double()
    return torch.stack([(unit[i] - MEAN[i]) / STD[i] for i in range(3)])


def test_8_bit_images_are_normalised_exactly_in_float64():
    image = torch.randint(0, 256, (3, 32, 64), dtype=torch.uint8)
    model = tiny_model("lesion").double()  # the statistics are buffers of float32 by now
    images = model.preprocess_image([{"image": image}])
    assert images.tensor.dtype == torch.float64
    torch.testing.assert_close(images.tensor[0], normalised(image), rtol=0, atol=1e-14)


def test_float_pixels_in_0_to_255_are_the_same():
    image = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)
    model = tiny_model("ctmasknet")
    (a,), (b,) = (model.preprocess_image([{"image": x}]).tensor for x in (image, image.double()))
    assert a.dtype == b.dtype == torch.float32
    torch.testing.assert_close(a, normalised(image).float())
    torch.testing.assert_close(a, b)


@pytest.mark.parametrize("kind", ["lesion", "ctmasknet"])
def test_images_of_a_batch_are_padded_with_zeros_to_multiples_of_32(kind):
    images = tiny_model(kind).preprocess_image(
        [{"image": torch.full((3, 40, 30), 255)}, {"image": torch.full((3, 20, 60), 255)}]
    )
    assert images.tensor.shape == (2, 3, 64, 64)
    assert images.image_sizes == [(40, 30), (20, 60)]
    assert (images.tensor[0, :, :40, :30] > 1).all()
    assert images.tensor[0, :, 40:].abs().sum() == 0 and images.tensor[0, :, :, 30:].sum() == 0
