"""Small whole files of every kind, made in memory, from which damaged and hostile ones are made."""

import gzip
import io
import json
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jpeg_ls  # of highdicom
import numpy as np
import pycocotools.mask as mask_util
import pydicom
import SimpleITK as sitk
from PIL import Image
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

SIDE, SLICES = 16, 4


def _same(data: bytes) -> bytes:
    return data


class Seed(NamedTuple):
    """A whole file.

    Args:
        name: of the file.
        content: what is in it, bytes, or dicts and lists.
        dump: content to bytes.
        beside: other files of its folder, by name.
        reads: the file that is read, where the seed lies beside it; "" is the seed.
        values: what may take the place of others in the content.
    """

    name: str
    content: Any
    dump: Callable[[Any], bytes] = _same
    beside: dict[str, bytes] = {}  # never changed
    reads: str = ""
    values: tuple[Any, ...] = ()


def hu() -> np.ndarray:
    """(SLICES, SIDE, SIDE) int16: noise about the lung, so that it packs badly."""
    noise = np.random.default_rng(0).integers(-1000, 100, (SLICES, SIDE, SIDE))
    return noise.astype(np.int16)


def _written(image: "sitk.Image", name: str, packed: bool) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        sitk.WriteImage(image, str(Path(folder, name)), useCompression=packed)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def volumes(*suffixes: str) -> list[Seed]:
    """Files of SimpleITK's formats, packed and not, of several types."""
    seeds = []
    for suffix in suffixes:
        for kind in (np.int16, np.float32, np.int32):
            for packed in (False, True) if suffix not in (".nii", ".nii.gz") else (False,):
                name = f"a{suffix}"
                files = _written(sitk.GetImageFromArray(hu().astype(kind)), name, packed)
                if suffix == ".nii.gz":
                    whole = gzip.decompress(files[name])
                    seeds.append(Seed(name, whole, gzip.compress))
                    continue
                for changed, data in files.items():
                    others = {x: y for x, y in files.items() if x != changed}
                    seeds.append(Seed(changed, data, beside=others, reads=name))
    return seeds


def dicom_file(number: int = 0, syntax: str = ExplicitVRLittleEndian, packed: bytes = b"") -> bytes:
    """Return a CT slice as a scanner writes it; `packed` are its pixels in a compressed syntax."""
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, f"1.2.3.{number + 1}"
    dataset.Modality, dataset.PatientID, dataset.SeriesInstanceUID = "CT", "p7", "1.2.3.4"
    dataset.ImageType, dataset.StudyInstanceUID = ["ORIGINAL", "PRIMARY", "AXIAL"], "1.2.3"
    dataset.SpecificCharacterSet, dataset.PatientName = "ISO_IR 100", "Nobody"
    dataset.AcquisitionNumber, dataset.InstanceNumber = 1, number + 1
    dataset.Rows = dataset.Columns = SIDE
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation, dataset.SamplesPerPixel = 15, 0, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    dataset.PixelSpacing, dataset.SliceThickness = [0.7, 0.7], 1.5
    dataset.ImagePositionPatient = [0, 0, 2 * number]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelData = encapsulate([packed]) if packed else _stored(number).tobytes()
    dataset["PixelData"].VR = "OB" if packed else "OW"
    dataset["PixelData"].is_undefined_length = bool(packed)
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _stored(number: int) -> np.ndarray:
    return (hu()[number % SLICES] + 1024).astype(np.uint16)


def dicom() -> list[Seed]:
    """Single slices, plain and compressed."""
    seeds = [
        Seed("a.dcm", dicom_file(syntax=syntax))
        for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
    ]
    seeds += [Seed("a.dcm", dicom_file(0, *coded)) for coded in _coded()]
    plain = dicom_file(syntax=DeflatedExplicitVRLittleEndian)
    start = 132 + 12 + int.from_bytes(plain[140:144], "little")  # of what is deflated
    head, body = plain[:start], zlib.decompress(plain[start:], -zlib.MAX_WBITS)

    def deflate(data: bytes) -> bytes:
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        return head + packer.compress(data) + packer.flush()

    return [*seeds, Seed("a.dcm", body, deflate)]


def _coded() -> Iterator[tuple[str, bytes]]:
    """Yield transfer syntaxes, each with the pixels of a slice in it."""
    yield RLELossless, rle_encode(_stored(0))
    yield JPEGLSLossless, bytes(jpeg_ls.encode(_stored(0)))
    for compressor in ("JPEG", "JPEG2000"):
        image = sitk.GetImageFromArray(_stored(0)[None])
        with tempfile.TemporaryDirectory() as folder:
            path, writer = str(Path(folder, "a.dcm")), sitk.ImageFileWriter()
            writer.SetFileName(path)
            writer.SetCompressor(compressor)
            writer.UseCompressionOn()
            writer.Execute(image)
            dataset = pydicom.dcmread(path)
        (packed,) = generate_frames(dataset.PixelData, number_of_frames=1)
        yield dataset.file_meta.TransferSyntaxUID, packed


def rle_encode(pixels: np.ndarray) -> bytes:
    """Return 16-bit pixels as DICOM's RLE, nothing repeated: two segments of high and low bytes."""
    segments = []
    for plane in (pixels >> 8, pixels & 255):
        data = plane.astype(np.uint8).tobytes()
        parts = [data[i : i + 128] for i in range(0, len(data), 128)]
        segments.append(b"".join(bytes([len(part) - 1]) + part for part in parts))
        segments[-1] += bytes(len(segments[-1]) % 2)
    starts = [2, 64, 64 + len(segments[0])]
    return struct.pack("<16L", *starts, *[0] * 13) + b"".join(segments)


def zips() -> list[Seed]:
    """A zip of a series and of what lies beside."""

    def dump(files: dict) -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                plain = data if isinstance(data, bytes) else str(data).encode()
                archive.writestr(str(name), plain)
        return stream.getvalue()

    series = {f"scan/{z}.dcm": dicom_file(z) for z in range(SLICES)}
    volume = _written(sitk.GetImageFromArray(hu()), "a.mhd", False)
    more = (*series.values(), b"", b"NRRD0004\n", dicom_file()[:500])
    return [Seed("a.zip", series, dump, values=more), Seed("b.zip", volume, dump, values=more)]


def images() -> list[Seed]:
    """Slices and masks in every format that is taken for an image."""
    grey = ((hu()[0] + 1000) / 5).astype(np.uint8)
    seeds = []
    for suffix in (".png", ".jpg", ".bmp", ".tif", ".webp"):
        for mode in ("L", "RGB", "RGBA", "P"):
            image = Image.fromarray(grey).convert(mode)
            exif = image.getexif()
            exif[274] = 6  # orientation: turned by 90 degrees
            for more in ({}, {"exif": exif}):
                stream = io.BytesIO()
                try:
                    image.save(stream, Image.registered_extensions()[suffix], **more)
                except OSError:  # no such mode in this format
                    continue
                seeds.append(Seed(f"a{suffix}", stream.getvalue()))
    return seeds


def png() -> bytes:
    """Return a slice as other files name it."""
    stream = io.BytesIO()
    Image.fromarray(np.full((SIDE, SIDE), 90, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def coco() -> dict:
    """Return lesions in COCO's format, as polygons, runs and strings of runs."""
    square, runs = [[1.0, 1.0, 9.0, 1.0, 9.0, 9.0, 1.0, 9.0]], [17, 3, 13, 3, 220]
    text = mask_util.frPyObjects({"size": [SIDE, SIDE], "counts": runs[:1] + [5, 234]}, SIDE, SIDE)
    text["counts"] = text["counts"].decode()
    masks: tuple = (square, {"size": [SIDE, SIDE], "counts": runs}, text, [[*square[0]], [2.0] * 8])
    return {
        "info": {"description": "made up"},
        "images": [
            {"id": 1, "file_name": "a.png", "height": SIDE, "width": SIDE, "patient": "p1"},
            {"id": 2, "file_name": "b.png", "height": SIDE, "width": SIDE, "scan": "s2"},
        ],
        "categories": [{"id": 1, "name": "GGO"}, {"id": 2, "name": "C"}],
        "annotations": [
            {
                **{"id": k + 1, "image_id": 1 + k % 2, "category_id": 1 + k % 2, "iscrowd": 0},
                **{"bbox": [1.0, 1.0, 8.0, 8.0], "area": 64.0, "segmentation": mask},
            }
            for k, mask in enumerate(masks)
        ],
    }


def dump_json(content: Any) -> bytes:
    return json.dumps(content).encode("utf-8", "surrogatepass")
