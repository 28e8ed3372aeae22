"""Windows: HU to 8 bit and back, names, and what is refused."""

import logging

import numpy as np
import pytest

from ctmasknet.data.classes import WINDOW_LEVEL, WINDOW_WIDTH
from ctmasknet.data.window import LUNG, WINDOWS, Window, say_windowed_once


def test_lung_is_the_papers_window():
    assert WINDOWS["lung"] == LUNG == Window(WINDOW_WIDTH, WINDOW_LEVEL) == Window(1500, -600)
    assert (LUNG.low, LUNG.high) == (-1350, 150)


def test_known_values():
    hu = np.array([[-2000, -1350, -1347, -600, 149, 150, 3000]])
    # -1347: 3 * 0.17 = 0.51; -600: 127.5, rounded to even; 149: 254.83
    assert LUNG.to_uint8(hu).tolist() == [[0, 0, 1, 128, 255, 255, 255]]
    assert Window(255, 127.5).to_uint8(np.array([[3.4, 3.6, 254.4]])).tolist() == [[3, 4, 254]]


@pytest.mark.parametrize("dtype", [np.int32, np.float32, np.float64])
@pytest.mark.parametrize("window", WINDOWS.values(), ids=str)
def test_every_type_gives_the_same_bytes(dtype, window):
    hu = np.arange(-1500, 3000, dtype=np.int16).reshape(3, 30, 50)
    grey = window.to_uint8(hu)
    assert grey.dtype == np.uint8 and grey.shape == hu.shape
    assert np.array_equal(grey, window.to_uint8(hu.astype(dtype)))
    assert np.array_equal(grey[1], window.to_uint8(hu[1]))


@pytest.mark.parametrize("window", [*WINDOWS.values(), Window(256, 0.3), Window(4096, 1024)])
def test_back_and_forth_keeps_every_grey_value(window):
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    hu = window.to_hu(grey)
    assert hu.dtype == np.int16
    assert np.array_equal(window.to_uint8(hu), grey)


def test_what_cannot_be_undone_is_refused():
    for window in (Window(80, 40), Window(1000, 32700)):
        with pytest.raises(ValueError, match="cannot be turned back"):
            window.to_hu(np.zeros((2, 2), np.uint8))


def test_nan_is_refused():
    with pytest.raises(ValueError, match="1 values that are not numbers"):
        LUNG.to_uint8(np.array([[0, np.nan]]))


def test_parse():
    assert Window.parse("lung") is LUNG
    assert Window.parse(" Lung ") is LUNG
    assert Window.parse(LUNG) is LUNG
    assert Window.parse(str(Window(350, 50.5))) == Window(350, 50.5)
    for text in ("mediastinm", "1500", "1,2,3", "", "a,b"):
        with pytest.raises(ValueError, match=rf"window '{text}': expected WIDTH,LEVEL.*lung"):
            Window.parse(text)
    with pytest.raises(ValueError, match="did you mean 'mediastinum'"):
        Window.parse("mediastinm")
    for text in ("0,-600", "-5,0", "nan,0", "1500,inf"):
        with pytest.raises(ValueError, match="expected a width above 0"):
            Window.parse(text)


def test_windowed_is_said_once(caplog):
    say_windowed_once.cache_clear()
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            say_windowed_once()
    assert len(caplog.records) == 1
    assert "width 1500, level -600 HU" in caplog.text
